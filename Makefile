# make demo    a client, a stranger, a router and a LAN host in network namespaces: shut, knock, open, shut again
# make test    every test that runs on this machine
# make lint    formatting, clippy, documentation
# make fuzz    made-up packets, files and answers of the kernel
# make bench   ketukd beside knockd and fwknopd, in figures: benches/results.md
# Each installs what it needs with apt where it may, or says exactly what is missing.

CARGO = scripts/cargo.sh

# The real programs that the tests run.
TEST_NEEDS = cc=gcc ip=iproute2 nft=nftables iptables=iptables ip6tables=iptables ipset=ipset conntrack=conntrack \
	knock=knockd nmap=nmap nc=netcat-openbsd telnet=telnet socat=socat tcpreplay=tcpreplay \
	fwknop=fwknop-client ss=iproute2 unshare=util-linux setpriv=util-linux python3=python3

.PHONY: all demo test test-uci lint

all:
	$(CARGO) build --release

demo:
	@scripts/need.sh cc=gcc ip=iproute2 nft=nftables knock=knockd nmap=nmap nc=netcat-openbsd socat=socat unshare=util-linux
	@$(CARGO) build --release --quiet
	@scripts/root.sh scripts/demo.sh

# Most tests wait for the network, not for the processor.
test: test-uci
	@scripts/need.sh $(TEST_NEEDS)
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} scripts/root.sh $(CARGO) test
	$(CARGO) test --no-default-features --lib

# The parser against the real libuci, which is built from the source that the crate libuci-sys carries.
test-uci:
	@scripts/need.sh cc=gcc cmake=cmake clang=clang '/usr/lib/llvm*/lib/libclang*.so*=libclang-dev' '/usr/include/json-c/json.h=libjson-c-dev'
	$(CARGO) test --manifest-path tests/libuci/Cargo.toml

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --no-default-features -- -D warnings
	CUSTOM_LIBFUZZER_PATH=/not/linked/libfuzzer.a $(CARGO) clippy --manifest-path fuzz/Cargo.toml --bins -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --no-deps --document-private-items

include scripts/router.mk
include openwrt/luci.mk
include benches/bench.mk
include fuzz/fuzz.mk
