#!/bin/sh
# Builds for big-endian MIPS what no distribution packages for it: busybox from Debian's source, and the stand-in for nft
# (see nft-standin.c). Prints the directory that they are in. The build takes a few minutes. busybox is kept in the cache.
# usage: be-userland.sh [CACHE]      (default ${XDG_CACHE_HOME:-~/.cache}/ketuk)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/ketuk}
built=$cache/userland-mips
host=mips-linux-gnu
need="gcc-mips-linux-gnu libc6-dev-mips-cross linux-libc-dev-mips-cross make dpkg-dev bzip2 xz-utils"
# shellcheck disable=SC2086 # several packages
dpkg -s $need >/dev/null 2>&1 || apt-get install -y -qq --no-install-recommends $need >&2
mkdir -p "$built"

if [ ! -x "$built/busybox" ]; then
	build=$(mktemp -d "$cache/userland-XXXXXX")
	trap 'rm -rf "$build"' EXIT
	log=$cache/be-userland.log

	# A separate apt, which asks this machine's mirrors for sources.
	mkdir -p "$build/apt/lists/partial" "$build/sources"
	for list in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
		[ -f "$list" ] || continue
		sed -e 's/^Types: deb$/Types: deb-src/' -e 's/^deb /deb-src /' "$list" >"$build/sources/$(basename "$list")"
	done
	apt() {
		apt-get -q -o Dir::State="$build/apt" -o Dir::Etc::sourcelist=/dev/null \
			-o Dir::Etc::sourceparts="$build/sources" -o APT::Sandbox::User=root "$@"
	}
	(
		cd "$build"
		apt update
		apt source busybox
		cd busybox-*/
		make defconfig
		# tc needs older kernel headers.
		sed -i -e 's/.*CONFIG_STATIC[ =].*/CONFIG_STATIC=y/' -e 's/^CONFIG_TC=y/# CONFIG_TC is not set/' .config
		nice make -j"$(nproc)" CROSS_COMPILE=$host- SKIP_STRIP=y
		$host-strip -o "$built/busybox" busybox
	) >"$log" 2>&1 || {
		tail -20 "$log" >&2
		exit 1
	}
fi
$host-gcc -Os -static -Wall -o "$built/nft" "$here/nft-standin.c"
echo "$built"
