#!/usr/bin/env bash
# run.sh SECONDS TARGET...: runs each fuzz target on its seeds, and then for SECONDS on inputs that libFuzzer makes of them. It
# fails if a target fails, or if the seeds reach less of the program than fuzz/floors.txt says (fuzz/reach.sh).
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=$1
shift
scripts/need.sh c++=g++ addr2line=binutils
# The options for the coverage that guides libFuzzer. They are stable. cargo-fuzz sets them too, but needs a nightly compiler.
# Without position-independent code the addresses of the running program are those of its debug information.
RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Coverflow-checks -Crelocation-model=static -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
	RUSTFLAGS+=" -Cllvm-args=-sanitizer-coverage-$option"
done
export RUSTFLAGS
host=$(rustc -vV | sed -n 's/^host: //p')
scripts/cargo.sh build --release --manifest-path fuzz/Cargo.toml --target "$host"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0 passed=0
for target; do
	program=fuzz/target/$host/release/$target seeds=$work/$target found=fuzz/corpus/$target
	mkdir -p "$seeds" "$found"
	# One input a line, in base 64.
	number=0
	while read -r line; do
		number=$((number + 1))
		base64 -d <<<"$line" >"$seeds/$number"
	done <"fuzz/seeds/$target"
	case $target in
	configuration) cp uci/examples/* "$seeds" ;;
	imports) find tests/import -type f -exec cp {} "$seeds" \; ;;
	esac
	if ! "$program" -runs=0 -timeout=10 -print_full_coverage=1 -print_funcs=0 "$seeds" >"$work/log" 2>&1; then
		tail -20 "$work/log"
		failed=$((failed + 1))
		continue
	fi
	if ! fuzz/reach.sh "$target" "$program" "$work/log"; then
		failed=$((failed + 1))
		continue
	fi
	if [ "$seconds" -gt 0 ] &&
		! "$program" -max_total_time="$seconds" -max_len=2048 -timeout=10 -artifact_prefix="$found/" "$found" "$seeds" >"$work/log" 2>&1; then
		tail -20 "$work/log"
		failed=$((failed + 1))
		continue
	fi
	[ "$seconds" = 0 ] || grep DONE "$work/log"
	passed=$((passed + 1))
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
