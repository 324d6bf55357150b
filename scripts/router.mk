# make cross         builds ketukd, ketuk and ketuk-import for routers, static and small, and compares their sizes with the table;
#                    CROSS_TARGETS names some of the targets, also for make packages
# make sizes         builds the same and mipsel's small build, and writes the table anew
# make feed          makes dist/feed: the folders for OpenWrt's packages and luci feeds, with the hash of make dist's tarball
# make test-cross    runs every target's programs under qemu's user emulation; with CROSS_TESTS=TARGET its unit tests too
# make packages      makes dist/*.ipk, *.deb, and *.apk if apk-tools 3 is installed, of the programs of make cross
# make test-packages reads the packages back, and tests the service's script
# make test-qemu     knocks at booted MIPS and ARM kernels, also at one without nf_tables
# make test-qemu-be  knocks at a booted big-endian MIPS kernel, which it builds once

.PHONY: cross sizes feed test-cross packages test-packages test-qemu test-qemu-be

cross:
	@$(CARGO) --version
	@scripts/need.sh python3=python3 '/usr/lib/python3*/ensurepip=python3-venv'
	scripts/cross.sh $(CROSS_TARGETS)
	scripts/sizes.py

sizes:
	@scripts/need.sh python3=python3 '/usr/lib/python3*/ensurepip=python3-venv'
	scripts/cross.sh -m mipsel-unknown-linux-musl
	scripts/cross.sh
	scripts/sizes.py --record

feed: dist
	rm -rf dist/feed
	mkdir -p dist/feed/packages/net dist/feed/luci/applications
	cp -a openwrt/ketuk dist/feed/packages/net/
	rm dist/feed/packages/net/ketuk/files/postinst dist/feed/packages/net/ketuk/files/postrm
	cp -a openwrt/luci-app-ketuk dist/feed/luci/applications/
	sed -i "s/^PKG_HASH:=.*/PKG_HASH:=$$(sha256sum dist/ketuk-$(VERSION).tar.gz | cut -d' ' -f1)/" dist/feed/packages/net/ketuk/Makefile

test-cross:
	@scripts/need.sh qemu-mipsel-static=qemu-user-static readelf=binutils
	tests/cross.sh

packages: cross page
	@scripts/need.sh python3=python3 dpkg-deb=dpkg
	packaging/pack.py $(if $(CROSS_TARGETS),--built)

test-packages: page
	@scripts/need.sh python3=python3 bsdtar=libarchive-tools dpkg-deb=dpkg busybox=busybox-static unshare=util-linux nft=nftables ip=iproute2 ss=iproute2 iptables=iptables ip6tables=iptables ipset=ipset sysctl=procps strace=strace systemd-analyze=systemd objdump=binutils
	scripts/root.sh python3 -m unittest discover -s tests/router -v

test-qemu:
	@scripts/need.sh qemu-system-mipsel=qemu-system-mips qemu-system-aarch64=qemu-system-arm cpio=cpio depmod=kmod dpkg-deb=dpkg
	tests/qemu/run.sh mipsel arm64 arm64-iptables

test-qemu-be:
	@scripts/need.sh qemu-system-mips=qemu-system-mips cpio=cpio dpkg-deb=dpkg
	tests/qemu/run.sh mips
