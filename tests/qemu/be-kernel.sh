#!/bin/sh
# Builds the big-endian MIPS kernel that no distribution packages: Debian's source, malta-be.config.
# Prints the path of vmlinux. The build takes some ten minutes on two cores. The kernel is kept in the cache.
# usage: be-kernel.sh [CACHE]      (default ${XDG_CACHE_HOME:-~/.cache}/ketuk)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/ketuk}
config=$here/malta-be.config
kernel=$cache/vmlinux-malta-be-$(sha256sum "$config" | cut -c1-12)

if [ ! -f "$kernel" ]; then
	need="linux-source-6.1 gcc-mips-linux-gnu bc bison flex make xz-utils libssl-dev libelf-dev"
	dpkg -s $need >/dev/null 2>&1 || apt-get install -y -qq --no-install-recommends $need >&2
	mkdir -p "$cache"
	build=$(mktemp -d "$cache/linux-XXXXXX")
	trap 'rm -rf "$build"' EXIT
	tar -xf /usr/src/linux-source-6.1.tar.xz -C "$build" --strip-components=1
	make="nice make -C $build ARCH=mips CROSS_COMPILE=mips-linux-gnu- -j$(nproc)"
	$make KCONFIG_ALLCONFIG="$config" allnoconfig >&2
	# allnoconfig silently drops options whose dependencies are missing.
	for wanted in $(grep '^CONFIG' "$config"); do
		grep -qx "$wanted" "$build/.config" || echo "be-kernel.sh: the kernel has no $wanted" >&2
	done
	$make vmlinux >"$cache/be-kernel.log" 2>&1 || { tail -20 "$cache/be-kernel.log" >&2; exit 1; }
	mips-linux-gnu-strip -o "$kernel.new" "$build/vmlinux"
	mv "$kernel.new" "$kernel"
fi
echo "$kernel"
