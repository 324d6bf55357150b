#!/bin/busybox sh
# The first process of the booted kernel. It makes a router with a WAN device, a host outside in another namespace, and
# a small form of fw4's table. The last line says PASS or FAIL.

export PATH=/bin:/sbin:/usr/bin:/usr/sbin
/bin/busybox mkdir -p /proc /sys /dev /tmp /var/run /var/log
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
echo 3 >/proc/sys/kernel/printk

finish() {
	echo "ketuk-qemu: $1"
	reboot -f
	env sleep 60
}
fail() {
	echo "not ok: $*"
	cat /tmp/ketukd.log
	nft list ruleset 2>/dev/null | head -60
	finish FAIL
}
ok() { echo "ok: $*"; }
seconds() { cut -d. -f1 /proc/uptime; }
# Waits until a command succeeds, for at most some seconds.
within() {
	local end=$(($(seconds) + $1))
	shift
	until "$@"; do
		[ "$(seconds)" -lt $end ] || return 1
		usleep 100000
	done
}
not() { ! "$@"; }
# Rss counts the pages. The kernel counts VmRSS in steps of up to 64 pages on each processor. It has no exact VmHWM.
memory() { cat /proc/"$daemon"/smaps_rollup /proc/"$daemon"/status | grep -E '^(Rss|VmHWM):' | tr -s '\t \n' ' '; }

# shellcheck disable=SC2013
for module in $(cat /modules 2>/dev/null); do
	insmod "/lib/modules/$module" || echo "no module $module"
done

uname -a
grep -E 'cpu model|model name|CPU implementer' /proc/cpuinfo | head -1

# The outside is a namespace of its own, which a process keeps.
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
mkfifo /tmp/never
unshare -n cat /tmp/never &
outside=$!
other_namespace() { [ -d /proc/$outside ] && [ "$(readlink /proc/$outside/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
within 10 other_namespace || fail "no second namespace"
out() { nsenter -t $outside -n "$@"; }
out sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'
ip link add wan0 type veth || fail "no veth"
ip link set veth0 netns $outside || fail "no veth for outside"
ip addr add 192.0.2.1/24 dev wan0
ip addr add 2001:db8::1/64 dev wan0
ip link set wan0 up
ip link set lo up
out ip addr add 192.0.2.2/24 dev veth0
out ip addr add 192.0.2.3/24 dev veth0
out ip addr add 2001:db8::2/64 dev veth0
out ip link set veth0 up

# The services of the router, and its firewall.
mkdir -p /www
echo "come in" >/www/index.html
httpd -p 22 -h /www
load() { nft -f /fw4.nft && ketukd ruleset | nft -f -; }
load || fail "nft does not load the ruleset"

ketukd --version || fail "no ketukd"
ketukd check || fail "the configuration"
ketukd run --device wan0 >/tmp/ketukd.log 2>&1 &
daemon=$!
within 20 test -S /var/run/ketuk.sock || fail "the daemon does not start"
echo "memory, idle: $(memory)"

# enters ADDRESS: whether a connection gets in. It does not use wget, because Debian's static one crashes.
enters() { printf 'GET / HTTP/1.0\r\n\r\n' | out nc -w 2 "$1" 22 2>/dev/null | grep -q "come in"; }
# from ADDRESS COMMAND...: runs a command with another of the client's IPv4 addresses.
from() {
	out ip route replace 192.0.2.0/24 dev veth0 src "$1"
	shift
	"$@"
	local status=$?
	out ip route replace 192.0.2.0/24 dev veth0 src 192.0.2.2
	return $status
}
in_set() { nft list set inet fw4 "ketuk_ssh_$1" | grep -q "$2"; }

not enters 192.0.2.1 || fail "open before the knock"
ok "shut before the knock"
out ketuk 192.0.2.1 7000 9000 8000:udp
not in_set 4 192.0.2.2 || fail "a wrong sequence opens"
ok "a wrong sequence opens nothing"

for host in 192.0.2.1,4,192.0.2.2 2001:db8::1,6,2001:db8::2; do
	IFS=, read -r address family mine <<-EOT
		$host
	EOT
	knocked=$(seconds)
	out ketuk "$address" 7000 8000:udp 9000 || fail "the client does not knock"
	within 5 in_set "$family" "$mine" || fail "IPv$family: the knock does not open"
	enters "$address" || fail "IPv$family: open, and a connect does not get in"
	ok "IPv$family: a knock opens, a connect gets in"
	if [ "$family" = 4 ]; then
		from 192.0.2.2 enters "$address" || fail "the way to change addresses does not work"
		not from 192.0.2.3 enters "$address" || fail "a stranger gets in"
	fi
	# The kernel's timer shuts the door, because the daemon is stopped now.
	kill -STOP $daemon
	within 30 not in_set "$family" "$mine" || fail "IPv$family: not shut after open_time"
	open=$(($(seconds) - knocked))
	[ $open -ge 14 ] || fail "IPv$family: shut after $open s, too early"
	not enters "$address" || fail "IPv$family: shut, and a connect gets in"
	kill -CONT $daemon
	ok "IPv$family: shut $open s after the first knock, the daemon asleep"
done

out ketuk 192.0.2.1 7000 8000:udp 9000
within 5 in_set 4 192.0.2.2 || fail "the second knock does not open"
nft delete table inet fw4
load || fail "nft does not load the ruleset again"
within 2 in_set 4 192.0.2.2 || fail "the door is not restored after the table was made anew"
ok "an open door survives a table that is deleted and loaded anew"

within 20 sh -c "ketukd status | tail -1" || fail "no status"
echo "memory, after: $(memory)"
kill $daemon
within 10 not test -d /proc/$daemon || fail "the daemon does not stop"
not in_set 4 192.0.2.2 || fail "a stop leaves the door open"
ok "a stop shuts"
finish PASS
