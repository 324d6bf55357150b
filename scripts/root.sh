#!/bin/sh
# root.sh COMMAND ARGUMENT...: runs a command with the rights to make network namespaces. Root has them. For other users the script
# makes a user namespace first.
set -eu

# On Debian an ordinary user's path lacks ip, nft and iptables.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
# Some tests hold a thousand connections, and need as many files.
ulimit -Sn 8192 2>/dev/null || true
[ "$(id -u)" = 0 ] && exec "$@"
# If there is newuidmap, and the user has the ids that useradd gives, the namespace has other users beside root.
map=--map-root-user
! unshare --user --map-root-user --map-auto true 2>/dev/null || map="--map-root-user --map-auto"
# shellcheck disable=SC2086 # two words
if ! unshare --user $map --mount --net true 2>/dev/null; then
	echo "this needs root, or user namespaces: run it with sudo, or allow them:" >&2
	echo "  sysctl -w kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)" >&2
	exit 1
fi
# shellcheck disable=SC2086
exec unshare --user $map --mount --net sh -c 'ip link set lo up && exec "$@"' sh "$@"
