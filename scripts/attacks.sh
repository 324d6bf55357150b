#!/bin/sh
# attacks.sh COMMAND...: runs the attacks of tests/attacks with COMMAND, which runs `cargo test`, against a daemon on a router in
# network namespaces. It prints the result of each, and fails if an attack succeeds or cannot be tried.
set -eu

table=$(mktemp)
trap 'rm -f "$table"' EXIT
status=0
# The daemon's log is printed only if an attack succeeds.
KETUK_ATTACKS=$table RUST_BACKTRACE=0 "$@" >"$table.log" 2>&1 || status=$?
[ $status = 0 ] || cat "$table.log" >&2
rm -f "$table.log"
echo '| attacker | tries | result |'
echo '| --- | --- | --- |'
sort "$table"
[ -s "$table" ] || status=1
if [ $status = 0 ]; then
	echo "$(wc -l <"$table") attacks, none succeeded"
else
	echo "AN ATTACK SUCCEEDED, or could not be tried: see above" >&2
fi
exit $status
