#!/bin/busybox sh
# A router with a small form of fw4's table. It is the first process of the booted kernel.

. /machine.sh
firewall() { nft list ruleset; }

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
