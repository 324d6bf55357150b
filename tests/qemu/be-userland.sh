#!/bin/sh
# Builds busybox and nft for big-endian MIPS, static, from Debian's sources: no distribution packages them.
# Prints the directory that they are in. A few minutes, once: it is kept in the cache.
# usage: be-userland.sh [CACHE]      (default ${XDG_CACHE_HOME:-~/.cache}/ketuk)
set -eu

cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/ketuk}
done=$cache/userland-mips
host=mips-linux-gnu

if [ ! -x "$done/nft" ]; then
	need="gcc-mips-linux-gnu libc6-dev-mips-cross linux-libc-dev-mips-cross make bison flex dpkg-dev pkg-config bzip2 xz-utils"
	# shellcheck disable=SC2086 # several packages
	dpkg -s $need >/dev/null 2>&1 || apt-get install -y -qq --no-install-recommends $need >&2
	mkdir -p "$cache"
	build=$(mktemp -d "$cache/userland-XXXXXX")
	trap 'rm -rf "$build"' EXIT
	log=$cache/be-userland.log
	exec 3>"$log"

	# An apt of its own, which asks this machine's mirrors for sources.
	mkdir -p "$build/apt/lists/partial" "$build/apt/sources" "$build/usr" "$done"
	for list in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
		[ -f "$list" ] || continue
		sed -e 's/^Types: deb$/Types: deb-src/' -e 's/^deb /deb-src /' "$list" >"$build/apt/sources/$(basename "$list")"
	done
	apt() {
		apt-get -q -o Dir::State="$build/apt" -o Dir::Etc::sourcelist=/dev/null \
			-o Dir::Etc::sourceparts="$build/apt/sources" -o APT::Sandbox::User=root "$@" >&3 2>&3
	}
	cd "$build"
	apt update
	apt source libmnl libnftnl nftables busybox
	make="nice make -j$(nproc)"

	export PKG_CONFIG_LIBDIR="$build/usr/lib/pkgconfig"
	export CFLAGS=-Os # Debian's libc for mips has hard float, which the kernel emulates.
	for library in libmnl libnftnl; do
		(cd "$library"-*/ && ./configure --host=$host --prefix="$build/usr" --enable-static --disable-shared &&
			$make install) >&3 2>&3
	done
	(cd nftables-*/ && ./configure --host=$host --prefix="$build/usr" --enable-static --disable-shared --without-cli \
		--with-mini-gmp --disable-man-doc && $make LDFLAGS=-all-static) >&3 2>&3
	$host-strip -o "$build/nft" nftables-*/src/nft
	(
		cd busybox-*/
		$make defconfig
		sed -i -e 's/.*CONFIG_STATIC[ =].*/CONFIG_STATIC=y/' -e 's/^CONFIG_TC=y/# CONFIG_TC is not set/' \
			-e 's/.*CONFIG_FEATURE_PREFER_APPLETS.*/CONFIG_FEATURE_PREFER_APPLETS=y/' .config
		$make CROSS_COMPILE=$host-
	) >&3 2>&3
	cp busybox-*/busybox "$build/nft" "$done/"
fi
echo "$done"
