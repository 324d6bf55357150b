#!/bin/sh
# windows.sh KETUKD KETUK.EXE: the Windows client under wine, in one network namespace, against ketukd in another: a plain
# sequence, a packet and a relay.
set -eu
if [ "${1:-}" != inside ]; then
	ketukd=$(readlink -f "$1") client=$(readlink -f "$2")
	exec unshare --net --mount --pid --fork --kill-child "$0" inside "$ketukd" "$client"
fi
ketukd=$2 client=$3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mount -t proc none /proc
mkdir -p /run/netns && mount -t tmpfs none /run/netns
ip netns add router
ip link set lo up
ip link add eth0 type veth peer name wan0 netns router
ip addr add 198.51.100.10/24 dev eth0
ip link set eth0 up
ip -n router link set lo up
ip -n router addr add 198.51.100.1/24 dev wan0
ip -n router link set wan0 up
inside() { ip netns exec router "$@"; }

key=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
cat >"$dir/ketuk" <<END
config globals
	option backend 'nft'
	option nft_table 'inet filter'
	option trust_clock '1'
config door 'plain'
	list sequence '7000'
	list sequence '8000:udp'
	list sequence '9000'
	option proto 'tcp'
	option dest_port '2222'
config door 'ssh'
	option proto 'tcp'
	option dest_port '2222'
config user 'alice'
	option key '$key='
	list door 'ssh'
END
chmod 600 "$dir/ketuk"
inside nft -f - <<END
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established accept
	}
}
END
"$ketukd" ruleset --config "$dir/ketuk" --table 'inet filter' --zone none >"$dir/ruleset"
inside nft -f "$dir/ruleset"
inside "$ketukd" run --config "$dir/ketuk" --socket "$dir/socket" --device wan0 2>"$dir/log" &
inside python3 -c '
import socket
server = socket.create_server(("198.51.100.1", 2222))
while True:
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"heard " + connection.makefile("rb").read())
' &

status() { "$ketukd" status --json --socket "$dir/socket" 2>/dev/null; }
# until TEXT: waits until the status has this text.
until_status() {
	tries=0
	until status | grep -q "$1"; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || { echo "windows.sh: the status never had $1" >&2; cat "$dir/log" >&2; exit 1; }
		sleep 0.1
	done
}
until_status '"grants"'
# Packets that were made before the daemon started are not taken.
sleep 2

export WINEPREFIX="$dir/wine" WINEDEBUG=-all KETUK_PROFILES="$(printf 'Z:%s' "$dir/profiles" | tr / '\\')"
# A stand-in for a library of Windows 10 that wine before 9 lacks. It makes random numbers with the older function.
cat >"$dir/prng.c" <<END
#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T len) { return RtlGenRandom(data, len); }
END
x86_64-w64-mingw32-gcc -shared -o "$dir/bcryptprimitives.dll" "$dir/prng.c" -ladvapi32
cp "$client" "$dir/ketuk.exe"
client=$dir/ketuk.exe

ketuk() { wine "$client" "$@" </dev/null; }

ketuk --version | grep '^ketuk [0-9]'
ketuk -v 198.51.100.1 7000,8000:udp 9000 | tr -d '\r' >"$dir/said"
printf 'hitting tcp 198.51.100.1:7000\nhitting udp 198.51.100.1:8000\nhitting tcp 198.51.100.1:9000\n' | diff - "$dir/said"
until_status '"door":"plain","address":"198.51.100.10"'
"$ketukd" close plain --socket "$dir/socket" >/dev/null
ketuk add "ketuk://alice@198.51.100.1/ssh:2222?key=$key" home >/dev/null
echo hello | wine "$client" connect home 2222 | grep -q '^heard hello'
until_status '"door":"ssh","address":"198.51.100.10"'
wineserver -k 2>/dev/null || true
echo "windows.sh: a sequence, a packet and a relay by $(basename "$client") under $(wine --version)"
