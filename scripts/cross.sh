#!/bin/sh
# Builds ketukd, ketuk and ketuk-import for routers: static, with musl, and small. The same commit gives the same bytes.
#
# usage: scripts/cross.sh [-t | -m] [TARGET...]     default: every target below
#   -t   build the library's unit tests instead (with debug assertions, not small)
#   -m   build without Cargo's features, for the smallest flash; the programs go to TARGET/small
#
# Half of these targets come without a compiled standard library, so its source is needed: Debian's rustc-web, cargo-web and
# rust-web-src, or a rustup nightly with rust-src. zig links, and contains musl.
# Routers with MIPS and ARM have little flash. For them LLVM's own linker (version 21 or later) links, because it orders functions so
# that they compress well: Debian's lld-22, or the nightly's. The script installs missing programs with apt-get and pip if it can.
# Otherwise it names them.
#
# KETUK_CACHE    the directory for zig (default ${XDG_CACHE_HOME:-~/.cache}/ketuk)
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

# The compiler. It must have the source of std.
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
	# With this, a stable compiler accepts the unstable options below.
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

# own_linker: puts LLVM's linker into $lld.
own_linker() {
	host=$($RUSTC -vV | sed -n 's/^host: //p')
	lld=$cache/ld.lld
	if [ -x "$sysroot/lib/rustlib/$host/bin/rust-lld" ]; then
		ln -sfn "$sysroot/lib/rustlib/$host/bin/rust-lld" "$lld"
	else
		command -v ld.lld-22 >/dev/null || apt-get install -y -qq --no-install-recommends lld-22 >&2 ||
			fail "cannot install lld-22: try apt-get update"
		ln -sfn "$(command -v ld.lld-22)" "$lld"
	fi
	"$lld" --help | grep -q bp-compression-sort || fail "LLVM's linker is too old, 21 is needed: $("$lld" --version)"
	echo "cross.sh: $("$lld" --version)" >&2
}

# musl TARGET: puts musl's start file and libraries into $musl.
musl() {
	# zig's names of the targets, as cargo-zigbuild uses them.
	case $1 in
	mips*) machine="${1%%-*}-linux-musleabi" ;;
	armv7*) machine='arm-linux-musleabihf -mcpu=generic+v7a+vfp3-d32+thumb2-neon' ;;
	arm-*) machine='arm-linux-musleabi -mcpu=generic+v6+strict_align' ;;
	*) machine=${1%%-*}-linux-musl ;;
	esac
	musl=$cache/musl-$ZIG/$1
	[ ! -e "$musl/complete" ] || return 0
	mkdir -p "$musl"
	echo 'int main(void) { return 0; }' >"$musl/main.c"
	# zig makes the libraries when it links, and prints their paths.
	said=$(cd "$musl" && ZIG_VERBOSE_LINK=1 "$zig/bin/python3" -m ziglang cc -target $machine -Oz -s -fno-sanitize=all main.c -o main -lunwind 2>&1) ||
		fail "zig cannot link for $1: $said"
	for file in $(echo "$said" | grep '^ld.lld' | tail -1); do
		case $file in
		*/crt1.o | */lib*.a) cp "$file" "$musl/" ;;
		esac
	done
	[ -e "$musl/crt1.o" ] || fail "$1: zig's link has no crt1.o"
	# Some functions of libc are in zig's own library, or in its compiler's.
	(cd "$musl" && mv libc.a libmusl.a && printf '%s\n' 'create libc.a' 'addlib libmusl.a' 'addlib libzigc.a' \
		'addlib libcompiler_rt.a' save end | "$zig/bin/python3" -m ziglang ar -M) || fail "$1: cannot join musl's libraries"
	touch "$musl/complete"
}

# own_link TARGET: has LLVM's linker make a program that compresses well: sets $flags, $build and $cargo.
own_link() {
	own_linker
	musl "$1"
	build=build cargo=$CARGO
	# Position-independent code is a quarter larger on MIPS, because every call goes through a table.
	flags="$flags -C linker=$lld -C linker-flavor=ld.lld -C target-feature=+crt-static -L native=$musl
		-C link-arg=$musl/crt1.o -C relocation-model=static"
	# The linker merges equal functions, and puts similar ones side by side, so that they compress well. It makes no relro
	# segment: only a dynamic linker would protect those pages, and there is none.
	flags="$flags -C link-arg=-O2 -C link-arg=--icf=all -C link-arg=--bp-compression-sort=function
		-C link-arg=--no-rosegment -C relro-level=off"
	# With these options LLVM's code repeats itself more, and compresses better.
	for option in -pre-RA-sched=source -disable-lsr -disable-machine-licm -regalloc=basic -disable-machine-cse \
		-disable-block-placement -disable-machine-sink -enable-shrink-wrap=false -min-jump-table-entries=8; do
		flags="$flags -C llvm-args=$option"
	done
	# LLVM merges equal ends of blocks. Without this option it looks at no more than 150 blocks that jump to one place.
	for option in -enable-tail-merge=1 -tail-merge-threshold=2000; do
		flags="$flags -C llvm-args=$option"
	done
}

# One time stamp, and no path of this machine, so that the bytes are the same everywhere.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
remap="--remap-path-prefix=$PWD=ketuk --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo
--remap-path-prefix=$sysroot=rust --remap-path-prefix=$(readlink -f "$sysroot/lib/rustlib/src/rust")=rust"
# zig has the start files. Without this option rustc would also link its own.
common="-C link-self-contained=no $(echo $remap)"
# The small forms of SHA-256 and AES. The unrolled forms are some 15 kB larger, and a knock has only a few blocks.
common="$common --cfg sha2_backend_soft=\"compact\" --cfg aes_backend_soft=\"compact\""

for target; do
	flags= cargo=$zig/bin/cargo-zigbuild
	if [ -n "$tests" ]; then
		what="test --no-run --lib -Z build-std=std,panic_unwind,test"
		case $target in
		mips*) flags="-C relocation-model=static" ;;
		esac
	else
		build=zigbuild
		export CARGO_PROFILE_ROUTER_PANIC=immediate-abort
		# Nothing unwinds, and nothing prints a place in the source. The ciphers are in their small forms, without the
		# processor's special instructions, because the daemon reads one packet at a time.
		flags='-C force-unwind-tables=no -Z location-detail=none --cfg sha2_backend="soft" --cfg sha2_backend_soft="compact"
			--cfg aes_backend="soft" --cfg aes_backend_soft="compact" --cfg chacha20_backend="soft" --cfg poly1305_backend="soft"'
		case $target in
		mips*)
			own_link "$target"
			flags="$flags -C link-arg=--entry=__start -C link-arg=-zmax-page-size=16384"
			# Without the first option LLVM leaves half of its delay slots empty.
			for option in -disable-mips-df-forward-search=false -disable-mips-df-succbb-search=false -mips-tail-calls=1; do
				flags="$flags -C llvm-args=$option"
			done
			;;
		# Thumb-2, which every ARMv7 has: a quarter smaller.
		armv7*)
			own_link "$target"
			flags="$flags -C target-feature=+thumb-mode"
			;;
		arm-* | aarch64*) own_link "$target" ;;
		esac
		what="$build --bins $features --profile router -Z build-std=std,panic_abort -Z build-std-features=optimize_for_size"
		what="$what -Z panic-immediate-abort"
	fi
	RUSTFLAGS="$common $(echo $flags)" "$cargo" $what --locked --target-dir "$dir" --target "$target" ||
		fail "$target: the build failed"
	[ -z "$tests" ] || continue
	built=$dir/$target/router
	if [ -n "$features" ]; then
		mkdir -p "$dir/$target/small"
		mv "$built/ketukd" "$built/ketuk" "$dir/$target/small/"
		built=$dir/$target/small
	fi
	for program in ketukd ketuk ketuk-import; do
		[ ! -f "$built/$program" ] || python3 scripts/sstrip.py "$built/$program"
	done
done
