#!/bin/sh
# Boots real kernels of routers' processors with the packaged daemon and client and the real nft, and knocks.
# guest.sh or guest-iptables.sh runs inside.
#
# usage: tests/qemu/run.sh MACHINE...
#   mipsel   Debian's 4kc-malta kernel, on a 24Kc
#   armhf    Debian's armmp kernel, on a Cortex-A7 (qemu-system-arm -M virt)
#   arm64    Debian's kernel, on a Cortex-A53
#   arm64-iptables   the same without nf_tables: the daemon's own chains, by the real iptables of the older kind and ipset
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
IPTABLES_MODULES="crc32c_generic veth iptable_filter ip6table_filter iptable_nat xt_conntrack xt_tcpudp xt_multiport xt_comment xt_nat xt_set
ip_set_hash_net"
PACKAGES="nftables busybox-static iptables ipset"

# debian ARCH KERNEL: unpacks the kernel, nft and busybox of another architecture into the cache, by an apt
# that knows nothing of this machine's packages. Two machines may need the same.
debian() { (
	debs=$cache/debian-$1
	exec 9>"$debs.lock"
	flock 9
	[ "$(cat "$debs/complete" 2>/dev/null)" != "$PACKAGES" ] || return 0
	rm -rf "$debs"
	mkdir -p "$debs/state/lists/partial" "$debs/cache/archives/partial" "$debs/root" "$debs/kernel"
	set -- "$1" "$2" -q -o Dir::State="$debs/state" -o Dir::Cache="$debs/cache" -o Dir::State::status=/dev/null \
		-o APT::Architecture="$1" -o APT::Architectures::="$1" -o APT::Sandbox::User=root
	arch=$1 meta=$2
	shift 2
	apt-get "$@" update >/dev/null || fail "apt-get update for $arch"
	# shellcheck disable=SC2086 # several packages
	apt-get "$@" -y --no-install-recommends --download-only install $PACKAGES >/dev/null ||
		fail "cannot get $PACKAGES for $arch"
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
	echo "$PACKAGES" >"$debs/complete"
); }

# modules DIR NAME...: the files of these modules and of all that they need, in the order in which they load.
modules() {
	dir=$1
	shift
	for name; do
		line=$(grep "/$name\.ko[^:]*:" "$dir/modules.dep" || true)
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
		debs=$cache/debian-${1%-*} wanted=$MODULES
		[ "$1" = "${1%-iptables}" ] || wanted=$IPTABLES_MODULES
		cp -a "$debs/root/lib" "$debs/root/usr" "$tree/"
		for extra in bin sbin lib64; do
			[ ! -d "$debs/root/$extra" ] || cp -a "$debs/root/$extra" "$tree/"
		done
		rm -rf "$tree/usr/share"
		release=$(basename "$debs"/kernel/lib/modules/*)
		# shellcheck disable=SC2086 # several modules
		modules "$debs/kernel/lib/modules/$release" $wanted >"$work/list"
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
	cp "$here/machine.sh" "$here/fw4.nft" "$tree/"
	case $1 in
	*-iptables)
		# dpkg would make these links, to the kind that needs nf_tables.
		for name in iptables ip6tables iptables-save ip6tables-save iptables-restore ip6tables-restore; do
			ln -sf xtables-legacy-multi "$tree/usr/sbin/$name"
		done
		cp "$here/iptables.uci" "$tree/etc/config/ketuk"
		cp "$here/guest-iptables.sh" "$tree/init"
		;;
	*)
		cp "$here/ketuk.uci" "$tree/etc/config/ketuk"
		cp "$here/guest.sh" "$tree/init"
		;;
	esac
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
	arm64 | arm64-iptables)
		debian arm64 linux-image-arm64
		image "$machine" aarch64_cortex-a53
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
