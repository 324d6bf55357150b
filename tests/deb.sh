#!/usr/bin/env bash
# deb.sh ROOT PACKAGE: installs the .deb on the Debian whose root directory is ROOT, with its own systemd as process 1, in
# namespaces of its own. It uses the package as a server's owner would, and removes it. ROOT needs systemd, nftables, iproute2,
# adduser, procps and netcat-openbsd.
set -euo pipefail

root=$1 package=$2
here=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" = 0 ] || { echo "deb.sh needs root" >&2; exit 1; }

# shellcheck source=tests/machine.sh
. "$here/tests/machine.sh"
cp "$package" "$root/ketuk.deb"
trap 'machine_stop; rm -f "$root/ketuk.deb"' EXIT
machine_start "$root"

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
for page in man8/ketukd.8 man1/ketuk.1 man5/ketuk.5; do
	check "the manual page $page is in it" says "/usr/share/man/$page.gz" on dpkg -L ketuk
done

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
check "a reload that needs what the daemon has given up fails" fails on systemctl reload ketukd
check "it says that a restart is needed" says 'restart ketukd' journal
check "the restart is done" on systemctl restart ketukd
check "a file that cannot be written says what to change" says ReadWritePaths=/var/log journal
configure <<<"${door/on_stop/$'log_level \'info\'\n\toption on_stop'}"
check "a reload is done" on systemctl reload ketukd
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

# --- a server that has no firewall: the daemon's own table

on nft delete table inet filter
on sh -c 'while true; do nc -l -p 2222 </dev/null || sleep 0.1; done' >/dev/null 2>&1 &
answers() { on ip netns exec outside nc -z -w 1 192.0.2.1 2222; }
knocks() { on ip netns exec outside ketuk 192.0.2.1 24817 51203:udp 38466; }
check "the port answers" until_true 10 answers
check "it is installed again" on dpkg -i /ketuk.deb
configure <<<"
config door 'ssh'
	list sequence '24817'
	list sequence '51203:udp'
	list sequence '38466'
	option proto 'tcp'
	option dest_port '2222'
"
check "the port answers until the start" answers
check "it starts" on systemctl start ketukd
check "the port is shut" fails answers
knocks
check "a knock opens it" until_true 10 answers
check "it is reloaded" on systemctl reload ketukd
check "who is in stays in" answers
on nft flush ruleset
check "what is flushed is back" until_true 10 says 192.0.2.2 on nft list set inet ketuk ketuk_ssh_4
check "who was in is in" answers
on systemctl kill --signal=KILL ketukd
check "the daemon is killed, and started again" until_true 30 says NRestarts=1 on systemctl show ketukd -p NRestarts
check "it runs" until_true 30 on ketukd status
check "who was in is still in" says 192.0.2.2 on ketukd status
check "it stops" on systemctl stop ketukd
check "the port is shut without it" fails answers
check "who was in is out" fails says 192.0.2.2 ruleset
check "the table is taken away" on ketukd unload
check "the port answers as before" answers
check "it starts again" on systemctl start ketukd
check "the port is shut again" fails answers
configure <<<"config door 'ssh'"$'\n\toption dest_prot 22'
check "with a wrong configuration it cannot be restarted" fails on systemctl restart ketukd
check "the port stays shut" fails answers
check "it is removed" on dpkg -P ketuk
check "the port answers as at first" answers
check "nothing is left in the kernel" test -z "$(ruleset)"

[ "$failed" = 0 ] || journal | tail -40
report
