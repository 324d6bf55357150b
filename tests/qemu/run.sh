#!/bin/sh
# Boots real kernels of routers' processors with the packaged daemon and client and the real nft, and knocks.
# guest.sh runs inside.
#
# usage: tests/qemu/run.sh MACHINE...
#   mipsel   Debian's 4kc-malta kernel, on a 24Kc
#   armhf    Debian's armmp kernel, on a Cortex-A7 (qemu-system-arm -M virt)
#   arm64    Debian's kernel, on a Cortex-A53
#   mips     the kernel that be-kernel.sh and the userland that be-userland.sh build, on a big-endian 24Kc
#
# Kernels and Debian's packages are kept in KETUK_CACHE (default ${XDG_CACHE_HOME:-~/.cache}/ketuk). The programs come from
# the packages in dist/, which make packages makes.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/tests/qemu
cache=${KETUK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ketuk}
mkdir -p "$cache"
export PATH="$PATH:/usr/sbin:/sbin"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
	echo "run.sh: $*" >&2
	exit 1
}

# The parts that Debian's kernels have as modules. The other parts are built in.
MODULES="crc32c_generic nf_tables nf_conntrack nft_ct nft_reject_inet veth"

# debian ARCH KERNEL: unpacks the kernel, nft and busybox of another architecture into the cache, by an apt
# that knows nothing of this machine's packages.
debian() {
	debs=$cache/debian-$1
	[ ! -e "$debs/complete" ] || return 0
	rm -rf "$debs"
	mkdir -p "$debs/state/lists/partial" "$debs/cache/archives/partial" "$debs/root" "$debs/kernel"
	set -- "$1" "$2" -q -o Dir::State="$debs/state" -o Dir::Cache="$debs/cache" -o Dir::State::status=/dev/null \
		-o APT::Architecture="$1" -o APT::Architectures::="$1" -o APT::Sandbox::User=root
	arch=$1 meta=$2
	shift 2
	apt-get "$@" update >/dev/null || fail "apt-get update for $arch"
	apt-get "$@" -y --no-install-recommends --download-only install nftables busybox-static >/dev/null ||
		fail "cannot get nftables and busybox-static for $arch"
	image=$(apt-cache "$@" depends "$meta" | sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -1)
	(cd "$debs/cache" && apt-get "$@" download "$image" >/dev/null) || fail "cannot get $image for $arch"
	for deb in "$debs"/cache/archives/*.deb; do
		dpkg-deb -x "$deb" "$debs/root"
	done
	dpkg-deb -x "$debs"/cache/linux-image-*.deb "$debs/kernel"
	for release in "$debs"/kernel/lib/modules/*; do
		depmod -b "$debs/kernel" "$(basename "$release")" 2>/dev/null
	done
	rm -rf "$debs/state" "$debs/cache"
	touch "$debs/complete"
}

# modules DIR: the files of $MODULES and of all that they need, in the order in which they load.
modules() {
	for name in $MODULES; do
		line=$(grep "/$name\.ko[^:]*:" "$1/modules.dep" || true)
		# There is no such file, so the module is built in.
		[ -n "$line" ] || continue
		# The kernel needs the last module of a line in modules.dep first.
		for file in ${line#*:}; do echo "$file"; done | tac
		echo "${line%%:*}"
	done | awk '!seen[$0]++'
}

# image MACHINE IPK_ARCH: makes the initramfs in $work/initrd.
image() {
	tree=$work/$1
	mkdir -p "$tree/bin" "$tree/sbin" "$tree/etc/config" "$tree/lib/modules"
	if [ "$1" = mips ]; then
		userland=$("$here/be-userland.sh" "$cache")
		cp "$userland/busybox" "$tree/bin/busybox"
		cp "$userland/nft" "$tree/sbin/nft"
	else
		debs=$cache/debian-$1
		cp -a "$debs/root/lib" "$debs/root/usr" "$tree/"
		for extra in bin sbin lib64; do
			[ ! -d "$debs/root/$extra" ] || cp -a "$debs/root/$extra" "$tree/"
		done
		rm -rf "$tree/usr/share"
		release=$(basename "$debs"/kernel/lib/modules/*)
		modules "$debs/kernel/lib/modules/$release" >"$work/list"
		while read -r file; do
			cp "$debs/kernel/lib/modules/$release/$file" "$tree/lib/modules/"
		done <"$work/list"
		sed 's|.*/||' "$work/list" >"$tree/modules"
	fi
	for package in ketukd ketuk; do
		ipk=$(ls "$root"/dist/"$package"_*_"$2".ipk 2>/dev/null) || fail "no $package for $2 in dist/: make cross packages"
		mkdir -p "$work/ipk"
		tar -xzf "$ipk" -C "$work/ipk"
		tar -xzf "$work/ipk/data.tar.gz" -C "$tree"
	done
	cp "$here/ketuk.uci" "$tree/etc/config/ketuk"
	cp "$here/fw4.nft" "$tree/fw4.nft"
	cp "$here/guest.sh" "$tree/init"
	chmod 755 "$tree/init"
	(cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"
}

# boot LOG QEMU ARGUMENT...
boot() {
	log=$1
	shift
	nice timeout 600 "$@" -m 256 -nic none -vga none -nographic -no-reboot -initrd "$work/initrd" </dev/null >"$log" 2>&1 || true
}

# try MACHINE: boots it, and prints what it says. Fails if a knock did not do what it should.
try() {
	machine=$1
	work=$work/$machine
	log=$work/log
	mkdir "$work"
	start=$(date +%s)
	case $machine in
	mipsel)
		debian mipsel linux-image-4kc-malta
		image mipsel mipsel_24kc
		boot "$log" qemu-system-mipsel -M malta -cpu 24Kc -kernel "$cache"/debian-mipsel/kernel/boot/vmlinu* \
			-append "console=ttyS0 rdinit=/init panic=-1 quiet"
		;;
	armhf)
		debian armhf linux-image-armmp
		image armhf arm_cortex-a7_neon-vfpv4
		boot "$log" qemu-system-arm -M virt -cpu cortex-a7 -kernel "$cache"/debian-armhf/kernel/boot/vmlinu* \
			-append "console=ttyAMA0 rdinit=/init panic=-1 quiet"
		;;
	arm64)
		debian arm64 linux-image-arm64
		image arm64 aarch64_cortex-a53
		boot "$log" qemu-system-aarch64 -M virt -cpu cortex-a53 -kernel "$cache"/debian-arm64/kernel/boot/vmlinu* \
			-append "console=ttyAMA0 rdinit=/init panic=-1 quiet"
		;;
	mips)
		kernel=$("$here/be-kernel.sh" "$cache")
		image mips mips_24kc
		boot "$log" qemu-system-mips -M malta -cpu 24Kc -kernel "$kernel" \
			-append "console=ttyS0 rdinit=/init panic=-1 quiet"
		;;
	*) fail "no machine $machine" ;;
	esac
	echo "--- $machine, $(($(date +%s) - start)) s"
	cat "$log"
	grep -q "ketuk-qemu: PASS" "$log"
}

# Each machine has one processor, so all are tried at once.
tried=
for machine; do
	(try "$machine") >"$work/$machine.out" 2>&1 &
	tried="$tried $machine:$!"
done
failed=
for pair in $tried; do
	wait "${pair#*:}" || failed="$failed ${pair%:*}"
	cat "$work/${pair%:*}.out"
done
[ -z "$failed" ] || fail "failed:$failed"
