#!/bin/sh
# parts.sh TARGET...: makes each of these targets, even if others fail, and then prints the result of each. It fails if a target
# failed.
set -u

failed=0 passed=0 report=
start=$(date +%s)
for part; do
	echo "=== make $part ($(date +%T))"
	began=$(date +%s)
	if "${MAKE:-make}" --no-print-directory "$part"; then
		ended=passed
		passed=$((passed + 1))
	else
		ended=FAILED
		failed=$((failed + 1))
	fi
	report="$report$(printf '%-16s %-6s %4d s' "$part" $ended $(($(date +%s) - began)))
"
done
echo "=== in all $(($(date +%s) - start)) s"
printf '%s' "$report"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
