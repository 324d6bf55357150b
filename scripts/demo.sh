#!/usr/bin/env bash
# A demonstration in network namespaces: shut, knock, open, shut again. Run it with `make demo`.
#
#   client   198.51.100.10 --.
#                             isp ---- wan0 router lan0 ---- nas 192.168.1.10
#   stranger 192.0.2.10    --'     203.0.113.1
#
# It fails if a step does not have the stated result. The namespaces and everything in them end with the script.
set -euo pipefail

cd "$(dirname "$0")/.."

# The script has its own mounts, network and processes. So every process that it starts ends with it.
if [ -z "${KETUK_DEMO:-}" ]; then
	KETUK_DEMO=1 exec unshare --mount --net --pid --fork --kill-child --mount-proc "$0"
fi
work=$(mktemp -d)
mount -t tmpfs tmpfs /run
mkdir /run/netns
trap 'rm -rf "$work"' EXIT

PATH=$PWD/${BIN:-target/release}:$PATH
bold='' green='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' green=$'\e[32m' plain=$'\e[0m'; fi

at() { # at HOST COMMAND...: runs a command on a host
	local host=$1
	shift
	nsenter --net="/run/netns/$host" -- "$@"
}
title() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
show() { # show HOST COMMAND...: the same, and shows what a person would type
	printf '%s%s$%s %s\n' "$green" "$1" "$plain" "${*:2}"
	at "$@"
}
fail() {
	echo "the demonstration failed: $*" >&2
	[ ! -e "$work/log" ] || sed 's/^/  log: /' "$work/log" >&2
	exit 1
}
greeting() { # greeting HOST PORT: what a TCP connection to the router gets, within a second
	at "$1" timeout 1 nc -w1 203.0.113.1 "$2" </dev/null 2>/dev/null || true
}
connects() { # connects HOST PORT WHO: shows that this host is greeted by WHO
	printf '%s%s$%s nc 203.0.113.1 %s\n' "$green" "$1" "$plain" "$2"
	local said
	said=$(greeting "$1" "$2")
	echo "${said:-(no answer)}"
	[ "$said" = "hello from the $3" ] || fail "$1 should have reached the $3 at port $2"
}
refused() { # refused HOST PORT: shows that this host is not let in
	printf '%s%s$%s nc 203.0.113.1 %s\n' "$green" "$1" "$plain" "$2"
	[ -z "$(greeting "$1" "$2")" ] || fail "$1 should not have got in at port $2"
	echo "(refused)"
}
until_logged() { # until_logged TEXT: waits for a line of the daemon's log
	for _ in $(seq 200); do
		grep -q "$1" "$work/log" && return
		sleep 0.05
	done
	fail "the daemon did not say: $1"
}

# --- the hosts

for host in client stranger isp router nas; do
	ip netns add $host
	at $host ip link set lo up
done
wire() { # wire HOST DEVICE ADDRESS OTHER DEVICE ADDRESS
	ip -n "$1" link add "$2" type veth peer name "$5" netns "$4"
	ip -n "$1" address add "$3" dev "$2"
	ip -n "$4" address add "$6" dev "$5"
	ip -n "$1" link set "$2" up
	ip -n "$4" link set "$5" up
}
wire isp client0 198.51.100.254/24 client eth0 198.51.100.10/24
wire isp stranger0 192.0.2.254/24 stranger eth0 192.0.2.10/24
wire isp router0 203.0.113.254/24 router wan0 203.0.113.1/24
wire router lan0 192.168.1.1/24 nas eth0 192.168.1.10/24
ip -n client route add default via 198.51.100.254
ip -n stranger route add default via 192.0.2.254
ip -n router route add default via 203.0.113.254
ip -n nas route add default via 192.168.1.1
for host in isp router; do at $host sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'; done

serve() { # serve HOST PORT WHO
	at "$1" socat "TCP-LISTEN:$2,fork,reuseaddr" "SYSTEM:echo hello from the $3" &
}
serve router 22 router
serve nas 443 NAS

# --- the router: a firewall as OpenWrt has it, and ketukd

cat >"$work/config" <<'UCI'
config globals 'globals'
	list device 'wan0'

config door 'ssh'
	list sequence '24817'
	list sequence '51203:udp'
	list sequence '38466'
	option proto 'tcp'
	option dest_port '22'
	option open_time '3'

config door 'nas'
	list sequence '19544'
	list sequence '62738'
	list sequence '30221'
	option proto 'tcp'
	option src_dport '8443'
	option dest_ip '192.168.1.10'
	option dest_port '443'
	option open_time '3'
UCI
at router nft -f tests/fixtures/router.nft
at router sh -c "ketukd ruleset --config '$work/config' | nft -f -"
at router ketukd run --config "$work/config" --socket "$work/socket" 2>"$work/log" &
for _ in $(seq 200); do
	[ -S "$work/socket" ] && break
	sleep 0.05
done
[ -S "$work/socket" ] || fail "ketukd did not start"

title "The router's configuration"
grep -v '^$' "$work/config"

title "A port scan finds nothing"
show stranger nmap -n -Pn --max-retries 0 -T5 --host-timeout 5s -p 22,443,8443,24817,38466,51203 203.0.113.1 | tee "$work/scan"
! grep -q ' open ' "$work/scan" || fail "the scan found an open port"

title "Nobody gets in"
refused client 22
refused stranger 22

title "The client knocks, and is let in. The stranger is not"
show client ketuk -v 203.0.113.1 24817 51203:udp 38466
until_logged 'ssh: OPEN SESAME'
connects client 22 router
refused stranger 22
printf '%srouter$%s nft list set inet fw4 ketuk_ssh_4\n' "$green" "$plain"
at router nft list set inet fw4 ketuk_ssh_4 | tee "$work/set" | grep elements || fail "there is no element in the set"
grep -q '198.51.100.10' "$work/set" || fail "the client is not in the set"

title "Three seconds later the kernel has shut the door"
until_logged 'ssh: command timeout'
refused client 22

title "The same with Debian's knock, for a host on the LAN behind the router"
refused client 8443
show client knock -v -d 50 203.0.113.1 19544 62738 30221
until_logged 'nas: OPEN SESAME'
connects client 8443 NAS
refused stranger 8443
show router ketukd status --socket "$work/socket"
until_logged 'nas: command timeout'
refused client 8443

title "The daemon's log"
cat "$work/log"
echo
echo "${bold}All as it should be.${plain}"
