#!/bin/sh
# Builds ketukd and ketuk for routers: static, against musl, small, the same bytes for the same commit.
#
# usage: scripts/cross.sh [-t | -m] [TARGET...]     default: every target below
#   -t   build the library's unit tests instead (with debug assertions, not small)
#   -m   leave out what Cargo's features may leave out, for the smallest flash
#
# Half of these targets come without a compiled standard library, so that its source is needed: Debian's
# rustc-web, cargo-web and rust-web-src, or a rustup nightly with rust-src. zig links and brings musl.
# What is missing is installed where that is possible (apt-get and pip), else named.
#
# KETUK_CACHE    where zig is kept (default ${XDG_CACHE_HOME:-~/.cache}/ketuk)
# CROSS_TARGET   cargo's target directory (default target/cross)
set -eu
cd "$(dirname "$0")/.."

ALL="mips-unknown-linux-musl mipsel-unknown-linux-musl armv7-unknown-linux-musleabihf
arm-unknown-linux-musleabi aarch64-unknown-linux-musl x86_64-unknown-linux-musl"
ZIG=0.15.2
ZIGBUILD=0.24.1

tests= features=
case ${1:-} in
-t) tests=y; shift ;;
-m) features=--no-default-features; shift ;;
esac
[ $# -gt 0 ] || set -- $ALL
cache=${KETUK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ketuk}
dir=${CROSS_TARGET:-target/cross}

fail() {
	echo "cross.sh: $*" >&2
	exit 1
}

# The compiler: whichever has the source of std.
nightly=$(rustup run nightly rustc --print sysroot 2>/dev/null || true)
if [ -n "$nightly" ] && [ -d "$nightly/lib/rustlib/src/rust/library/std" ]; then
	RUSTC=$nightly/bin/rustc CARGO=$nightly/bin/cargo
else
	if ! [ -d /usr/lib/rustlib/src/rust/library/std ] || ! [ -x /usr/bin/cargo ]; then
		# Old lists may have a compiler that is too old.
		{ scripts/need.sh -u && scripts/need.sh -i rustc-web cargo-web rust-web-src; } ||
			fail "the source of std is needed: Debian's rust-web-src, or rustup toolchain install nightly -c rust-src"
	fi
	RUSTC=/usr/bin/rustc CARGO=/usr/bin/cargo
	# The unstable options below are wanted from a stable compiler.
	export RUSTC_BOOTSTRAP=1
fi
export RUSTC CARGO
sysroot=$($RUSTC --print sysroot)

# The linker, and musl.
zig=$cache/zig-$ZIG-$ZIGBUILD
if ! [ -x "$zig/bin/cargo-zigbuild" ]; then
	python3 -m venv "$zig" && "$zig/bin/pip" install -q "ziglang==$ZIG" "cargo-zigbuild==$ZIGBUILD" ||
		fail "cannot install ziglang $ZIG and cargo-zigbuild $ZIGBUILD with pip"
fi
PATH=$zig/bin:$PATH
echo "cross.sh: $($RUSTC --version), $($CARGO --version), zig $ZIG, cargo-zigbuild $ZIGBUILD" >&2

# One time stamp, and no path of this machine.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
remap="--remap-path-prefix=$PWD=ketuk --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo
--remap-path-prefix=$sysroot=rust --remap-path-prefix=$(readlink -f "$sysroot/lib/rustlib/src/rust")=rust"
# zig brings the start files; what rustc brings of its own would be linked beside them.
common="-C link-self-contained=no $(echo $remap)"
# The small forms of SHA-256 and AES: unrolled they are some 15 kB larger, and a knock is a few blocks.
common="$common --cfg sha2_backend_soft=\"compact\" --cfg aes_backend_soft=\"compact\""

for target; do
	flags=
	if [ -n "$tests" ]; then
		what="test --no-run --lib -Z build-std=std,panic_unwind,test"
		case $target in
		mips*) flags="-C relocation-model=static" ;;
		esac
	else
		what="zigbuild --bins $features --profile router -Z build-std=std,panic_abort -Z build-std-features=optimize_for_size"
		what="$what -Z panic-immediate-abort"
		export CARGO_PROFILE_ROUTER_PANIC=immediate-abort
		# Nothing unwinds. The ciphers' small forms, not those for the processor's special instructions: one packet
		# at a time is read.
		flags='-C force-unwind-tables=no --cfg sha2_backend="soft" --cfg sha2_backend_soft="compact"
			--cfg aes_backend="soft" --cfg aes_backend_soft="compact" --cfg chacha20_backend="soft" --cfg poly1305_backend="soft"'
		# Code for any address costs a quarter more on MIPS, where flash is smallest: every function and
		# every call go through a table.
		# LLVM leaves half of its delay slots empty unless it is told to look further.
		case $target in
		mips*)
			flags="$flags -C relocation-model=static -C link-arg=-Wl,-z,max-page-size=16384
				-C llvm-args=-disable-mips-df-forward-search=false
				-C llvm-args=-disable-mips-df-succbb-search=false -C llvm-args=-mips-tail-calls=1"
			;;
		# Thumb-2, which every ARMv7 has: a quarter smaller.
		armv7*) flags="$flags -C target-feature=+thumb-mode" ;;
		esac
	fi
	RUSTFLAGS="$common $(echo $flags)" "$zig/bin/cargo-zigbuild" $what --locked --target-dir "$dir" --target "$target" ||
		fail "$target: the build failed"
	[ -n "$tests" ] || python3 scripts/sstrip.py "$dir/$target/router/ketukd" "$dir/$target/router/ketuk"
done
