#!/usr/bin/env bash
# deb.sh ROOT PACKAGE: installs the .deb on the Debian whose root directory is ROOT, with its own systemd as process 1, in
# namespaces of its own; uses it as its owner would; and takes it off again. ROOT needs systemd, nftables, iproute2, adduser.
set -euo pipefail

root=$1 package=$2
here=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" = 0 ] || { echo "deb.sh needs root" >&2; exit 1; }

log=$(mktemp)
cp "$package" "$root/ketuk.deb"
container=ketuk unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child \
	"$here/scripts/inside.sh" "$root" /lib/systemd/systemd >"$log" 2>&1 </dev/null &
keeper=$!
# Process 1 takes no SIGTERM for an end.
trap 'kill -9 $keeper 2>/dev/null; wait $keeper 2>/dev/null || true; rm -f "$log" "$root/ketuk.deb"' EXIT

until_true() { # until_true SECONDS COMMAND...
	local tries=$(($1 * 10))
	shift
	for ((; tries > 0; tries--)); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	return 1
}
init=
is_up() { # a unit that wants the kernel's modules may have failed, which is no matter here
	init=$(pgrep -P $keeper) && [ -S "/proc/$init/root/run/systemd/private" ] || return 1
	case $(on systemctl is-system-running) in
	running | degraded) ;;
	*) return 1 ;;
	esac
}
on() { # on COMMAND...: runs a command on the machine
	nsenter -t "$init" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb "$@"
}
until_true 60 is_up || { cat "$log" >&2; on systemctl --failed; exit 1; }

passed=0 failed=0
check() { # check WHAT COMMAND...: counts whether a command succeeds
	local what=$1
	shift
	if said=$("$@" 2>&1); then
		passed=$((passed + 1))
		echo "ok      $what"
	else
		failed=$((failed + 1))
		printf 'FAILED  %s: %s\n%s\n' "$what" "$*" "$said"
	fi
}
fails() { ! "$@"; }
says() { # says TEXT COMMAND...: whether a command prints this text, however it ends
	local text=$1 said
	shift
	said=$("$@" 2>&1) || true
	echo "$said"
	[[ $said == *"$text"* ]]
}
journal() { on journalctl --no-pager --boot --unit ketukd; }
configure() { on sh -c 'cat >/etc/config/ketuk'; }
ruleset() { on nft list ruleset; }

# --- a network: somebody outside, and a firewall

on ip netns add outside
on ip link add wan0 type veth peer name eth0 netns outside
on ip address add 192.0.2.1/24 dev wan0
on ip link set wan0 up
on ip -n outside address add 192.0.2.2/24 dev eth0
on ip -n outside link set eth0 up
on nft -f - <<'NFT'
table inet filter {
	chain input { type filter hook input priority filter; policy drop; ct state established accept; }
}
NFT
before=$(ruleset)

door="
config globals 'globals'
	option backend 'nft'
	option nft_table 'inet filter'
	list device 'wan0'
	option on_stop 'keep'

config door 'ssh'
	list sequence '7000'
	list sequence '8000:udp'
	list sequence '9000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '600'
"

# --- what comes with it

check "it installs" on dpkg -i /ketuk.deb
check "it is not enabled" says disabled on systemctl is-enabled ketukd
check "the examples are there" on ketukd check --config /usr/share/doc/ketuk/examples/ssh.uci
check "its licences are there" on grep -q 'Apache License' /usr/share/doc/ketuk/copyright
check "the crates' licences are there" on grep -q 'heapless.*MIT OR Apache-2.0' /usr/share/doc/ketuk/copyright
check "its configuration is right as it comes" on ketukd check

# --- a configuration that is wrong

configure <<<"config door 'ssh'"$'\n\toption dest_prot 22'
check "a wrong configuration does not start" fails on systemctl start ketukd
check "the journal names the place" says /etc/config/ketuk:2:9 journal
sleep 6
check "it is not tried again" says NRestarts=0 on systemctl show ketukd -p NRestarts
check "it has failed" on systemctl is-failed ketukd

# --- a door

configure <<<"$door"
on sh -c "ketukd ruleset --zone none | nft -f -"
check "it starts" on systemctl enable --now ketukd
check "its commands find it" says 'door ssh' on ketukd status
on ip netns exec outside ketuk 192.0.2.1 7000 8000:udp 9000 || true
check "a knock opens" until_true 10 says 192.0.2.2 on nft list set inet filter ketuk_ssh_4

# --- a reload

configure <<<"$door"$'\n\toption dest_prot 22'
check "a reload with a wrong configuration fails" fails on systemctl reload ketukd
check "the daemon goes on" on systemctl is-active ketukd
check "who is in stays in" says 192.0.2.2 on ketukd status
configure <<<"${door/on_stop/$'log_file \'/var/log/ketuk.log\'\n\toption on_stop'}"
check "a reload is done" on systemctl reload ketukd
check "a file that cannot be written says what to change" says ReadWritePaths=/var/log journal
configure <<<"${door/on_stop/$'log_file \'/var/log/ketuk/log\'\n\toption on_stop'}"
check "in its own directory it is written" on sh -c 'systemctl restart ketukd && grep "starting up" /var/log/ketuk/log'
check "a restart keeps who is in" says 192.0.2.2 on ketukd status

# --- off again

on ketukd open ssh 192.0.2.7 0 || true
check "it is removed" on dpkg -P ketuk
check "nothing is left in the kernel" diff <(echo "$before") <(ruleset)
check "no process is left" fails on pgrep ketukd
check "nothing is left of the service" fails on systemctl cat ketukd
for left in /etc/config /etc/systemd/system/multi-user.target.wants/ketukd.service /run/ketuk /var/log/ketuk /var/lib/ketuk \
	/usr/share/doc/ketuk /usr/sbin/ketukd; do
	check "$left is gone" fails on ls -d $left
done

[ "$failed" = 0 ] || journal | tail -40
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
