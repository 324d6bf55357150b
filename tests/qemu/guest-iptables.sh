#!/bin/busybox sh
# A router whose kernel has no nf_tables, only the older iptables, and a host behind it. It is the first process of the booted
# kernel. The daemon makes its own chains there.

. /machine.sh
firewall() {
	for program in iptables ip6tables; do $program -S; $program -t nat -S; done
	ipset list
}

# The host behind the router.
mkfifo /tmp/never-inside
unshare -n cat /tmp/never-inside &
inside=$!
within 10 sh -c "[ \$(readlink /proc/$inside/ns/net) != \$(readlink /proc/self/ns/net) ]" || fail "no third namespace"
in_lan() { nsenter -t $inside -n "$@"; }
in_lan sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'
ip link add lan0 type veth || fail "no second veth"
ip link set veth0 netns $inside || fail "no veth for the LAN"
ip addr add 192.168.1.1/24 dev lan0
ip addr add 2001:db8:2::1/64 dev lan0
ip link set lan0 up
in_lan ip addr add 192.168.1.10/24 dev veth0
in_lan ip addr add 2001:db8:2::10/64 dev veth0
in_lan ip link set veth0 up
in_lan ip route add default via 192.168.1.1
in_lan ip -6 route add default via 2001:db8:2::1
out ip -6 route add 2001:db8:2::/64 via 2001:db8::1
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding

# The services, and the router's firewall. iptables keeps its lock in /run.
mkdir -p /run /www
echo "come in" >/www/index.html
httpd -p 22 -h /www
in_lan httpd -p 443 -h /www
for program in iptables ip6tables; do
	$program -P FORWARD DROP || fail "$program does not work"
	$program -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
done
! nft list ruleset 2>/dev/null || fail "this kernel has nf_tables"
before=$(iptables -S; ip6tables -S)

ketukd check || fail "the configuration"
begin() {
	ketukd run --device wan0 >>/tmp/ketukd.log 2>&1 &
	daemon=$!
	within 20 test -S /var/run/ketuk.sock || fail "the daemon does not start"
	within 20 sh -c 'ketukd status >/tmp/status' || fail "no status"
}
begin
echo "memory, idle: $(memory)"
iptables -S | grep -q ketuk_input || fail "the daemon has made no chain"

# shuts ADDRESS PORT FAMILY: waits until the port is shut after its time, and says how long it was open.
shuts() {
	within 40 not enters "$1" "$2" || fail "IPv$3: port $2 is not shut after open_time"
	open=$(($(seconds) - knocked))
	[ $open -ge 9 ] || fail "IPv$3: port $2 shut after $open s, too early"
	ok "IPv$3: port $2 shut $open s after the first knock"
}

for host in 192.0.2.1,22,4 2001:db8::1,22,6 192.0.2.1,8443,4 2001:db8:2::10,443,6; do
	IFS=, read -r address port family <<-EOT
		$host
	EOT
	router=192.0.2.1
	[ "$family" = 4 ] || router=2001:db8::1
	steps='7000 8000:udp 9000'
	[ "$port" = 22 ] || steps='7100 9100'
	not enters "$address" "$port" || fail "IPv$family: port $port is open before the knock"
	knocked=$(seconds)
	# shellcheck disable=SC2086 # several steps
	out ketuk $router $steps || fail "the client does not knock"
	within 10 enters "$address" "$port" || fail "IPv$family: the knock does not open port $port"
	ok "IPv$family: a knock opens port $port, a connect gets in"
	if [ "$family" = 4 ]; then
		from 192.0.2.2 enters "$address" "$port" || fail "the way to change addresses does not work"
		not from 192.0.2.3 enters "$address" "$port" || fail "a stranger gets in at port $port"
	fi
	shuts "$address" "$port" "$family"
done

# A crash, and the next start, which deletes the rules that nobody else would.
out ketuk 192.0.2.1 7000 8000:udp 9000
within 10 enters 192.0.2.1 22 || fail "the knock before the crash does not open"
kill -KILL $daemon
wait $daemon
not from 192.0.2.3 enters 192.0.2.1 22 || fail "a stranger gets in after a crash"
rm /var/run/ketuk.sock
begin
within 40 not enters 192.0.2.1 22 || fail "what a crash left is not shut"
ok "what a crash left is shut"

kill $daemon
within 20 not test -d /proc/$daemon || fail "the daemon does not stop"
not enters 192.0.2.1 22 || fail "a stop opens"
ketukd unload || fail "unload"
[ "$(iptables -S; ip6tables -S)" = "$before" ] || fail "unload leaves rules"
iptables -t nat -S | grep -q ketuk && fail "a rule of the table nat is left"
ok "a stop shuts, and unload leaves nothing"
finish PASS
