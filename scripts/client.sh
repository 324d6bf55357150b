#!/bin/sh
# client.sh build TARGET | check TARGET...: builds ketuk for another system, or has the compiler check it.
#
# A target may have no compiled standard library on this machine. Then the library's source is needed: a rustup nightly with rust-src,
# or Debian's rustc-web, cargo-web and rust-web-src. A check needs no linker. Debian's mingw-w64 links for Windows.
set -eu
cd "$(dirname "$0")/.."

what=$1
shift
nightly=$(rustup run nightly rustc --print sysroot 2>/dev/null || true)
if [ -n "$nightly" ] && [ -d "$nightly/lib/rustlib/src/rust/library/std" ]; then
	RUSTC=$nightly/bin/rustc cargo=$nightly/bin/cargo
else
	scripts/need.sh /usr/bin/cargo=cargo-web /usr/bin/rustc=rustc-web /usr/lib/rustlib/src/rust/library/std=rust-web-src
	RUSTC=/usr/bin/rustc cargo=/usr/bin/cargo
	export RUSTC_BOOTSTRAP=1
fi
export RUSTC
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUSTFLAGS="-C link-self-contained=no"
for target; do
	"$cargo" "$what" --locked --release --no-default-features --bin ketuk --target "$target" --target-dir target/client -Z build-std=std,panic_abort
done
