#!/bin/sh
# Runs the programs of scripts/cross.sh under qemu's user emulation, for every target, and on request the library's unit tests,
# which take long to build. qemu-user has no netfilter sockets, so tests/qemu tests the firewall.
#
# usage: tests/cross.sh            CROSS_TESTS="TARGET..." names the targets of unit tests, for example mips-unknown-linux-musl
set -eu
cd "$(dirname "$0")/.."

dir=${CROSS_TARGET:-target/cross}
passed=0
failed=0
check() {
	if "$@" >/tmp/ketuk-cross.$$ 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $*"
		cat /tmp/ketuk-cross.$$
	fi
	rm -f /tmp/ketuk-cross.$$
}

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
prints_version() { [ "$("$@" --version)" = "$version" ]; }
# A wrong file is refused, and the error names the place.
refuses() {
	printf "config door 'a'\n\toption dest_prot '22'\n" >"/tmp/ketuk-cross.$$.uci"
	status=0
	said=$("$@" check --config "/tmp/ketuk-cross.$$.uci" 2>&1) || status=$?
	rm -f "/tmp/ketuk-cross.$$.uci"
	[ "$status" = 2 ] && case $said in *uci:2:9:*) ;; *) false ;; esac
}
# The same ruleset on each processor as on this one.
same_ruleset() {
	"$@" ruleset --fw4 --config tests/router/ketuk.uci | cmp - tests/router/ruleset.txt
}
# The import of a knockd.conf gives the same configuration as on this processor.
same_import() {
	"$@" tests/import/manual.conf 2>/dev/null | cmp - tests/import/manual.uci
}
# The program needs no library, has no path of the machine that built it, and uses no FPU if the processor has none.
is_clean() {
	! grep -aq "$PWD\|$HOME/\.cargo\|$HOME/\.rustup" "$1" && ! readelf -lW "$1" | grep -q INTERP
}

for program in "$dir"/*-linux-*/router/ketukd; do
	built=$(dirname "$program")
	target=$(basename "$(dirname "$built")")
	case $target in
	armv7-* | arm-*) emulator=qemu-arm-static ;;
	*) emulator=qemu-${target%%-*}-static ;;
	esac
	echo "$target: $(readelf -hW "$built/ketukd" | sed -n 's/ *Flags: *//p')"
	check prints_version "$emulator" "$built/ketukd"
	for example in uci/ketuk uci/examples/*.uci; do
		check "$emulator" "$built/ketukd" check --config "$example"
	done
	check refuses "$emulator" "$built/ketukd"
	check same_ruleset "$emulator" "$built/ketukd"
	check "$emulator" "$built/ketuk" --version
	check same_import "$emulator" "$built/ketuk-import"
	for name in ketukd ketuk ketuk-import; do
		check is_clean "$built/$name"
	done
done

for target in ${CROSS_TESTS:-}; do
	scripts/cross.sh -t "$target"
	for program in "$dir/$target"/debug/deps/ketuk_core-* "$dir/$target"/debug/deps/ketuk_protocol-*; do
		[ -x "$program" ] && [ -f "$program" ] || continue
		echo "$target: $(basename "$program")"
		check "qemu-${target%%-*}-static" "$program"
	done
	for program in "$dir/$target"/debug/deps/ketuk-*; do
		[ -x "$program" ] && [ -f "$program" ] || continue
		echo "$target: $(basename "$program")"
		# Tests that need the kernel's netlink run on the booted kernels.
		check "qemu-${target%%-*}-static" "$program" config:: firewall:: linux::filter linux::bpf \
			--skip namespace --skip listeners --skip network_has_two_ends --skip longest_renewal --skip only_the_headers_turn
	done
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
