#!/bin/sh
# run.sh PROGRAM ARGUMENT...: runs a program in network and mount namespaces of its own, in which the tests make their
# phone and router. /etc/hosts and /run/netns are theirs alone there.
set -eu
exec unshare --net --mount sh -eu -c '
	mkdir -p /run/netns
	mount -t tmpfs none /run/netns
	hosts=$(mktemp)
	mount --bind "$hosts" /etc/hosts
	rm "$hosts" 2>/dev/null || :
	exec "$@"' run "$@"
