# make client-windows       builds ketuk.exe with Debian's mingw-w64: target/client/x86_64-pc-windows-gnu/release/ketuk.exe
# make test-client-windows  tries ketuk.exe under wine, against ketukd
# make check-client         has the compiler check the client for macOS and Android

.PHONY: client-windows test-client-windows check-client

client-windows:
	@scripts/need.sh x86_64-w64-mingw32-gcc=gcc-mingw-w64-x86-64
	scripts/client.sh build x86_64-pc-windows-gnu

test-client-windows: client-windows
	@scripts/need.sh wine=wine /usr/lib/wine/wine64=wine64 ip=iproute2 nft=nftables unshare=util-linux python3=python3
	@$(CARGO) build --quiet
	scripts/root.sh tests/windows.sh target/debug/ketukd target/client/x86_64-pc-windows-gnu/release/ketuk.exe

check-client:
	scripts/client.sh check aarch64-apple-darwin aarch64-linux-android
