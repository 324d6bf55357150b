# What each guest of the booted kernels begins with, as the first process: the file systems, the kernel's modules, and a router
# with a WAN device, beside a host outside in another namespace. A guest has a function `firewall`, which prints its rules.
# The last line of a guest says PASS or FAIL.
# shellcheck shell=sh

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
	firewall 2>/dev/null | head -60
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

# enters ADDRESS [PORT]: whether a connection gets in. It does not use wget, because Debian's static one crashes.
enters() { printf 'GET / HTTP/1.0\r\n\r\n' | out nc -w 2 "$1" "${2:-22}" 2>/dev/null | grep -q "come in"; }
# from ADDRESS COMMAND...: runs a command with another of the client's IPv4 addresses.
from() {
	out ip route replace 192.0.2.0/24 dev veth0 src "$1"
	shift
	"$@"
	local status=$?
	out ip route replace 192.0.2.0/24 dev veth0 src 192.0.2.2
	return $status
}
