# make demo    a client, a stranger, a router and a LAN host in network namespaces: shut, knock, open, shut again
# make test    every test that runs on this machine
# make test-fresh   both on new Debians: FRESH="trixie:user bookworm:root" says which, and for whom
# make lint    formatting, clippy, documentation
# make fuzz    made-up packets, files and answers of the kernel
# make bench   ketukd beside knockd and fwknopd, in figures: benches/results.md
# Each installs what it needs with apt where it may, or says exactly what is missing.

CARGO = scripts/cargo.sh

# The real programs that the tests run.
TEST_NEEDS = cc=gcc ip=iproute2 nft=nftables iptables=iptables ip6tables=iptables ipset=ipset conntrack=conntrack \
	knock=knockd nmap=nmap nc=netcat-openbsd telnet=telnet socat=socat tcpreplay=tcpreplay \
	fwknop=fwknop-client fwknopd=fwknop-server knockd=knockd fail2ban-server=fail2ban \
	editcap=wireshark-common ss=iproute2 newuidmap=uidmap unshare=util-linux setpriv=util-linux \
	python3=python3 ufw=ufw firewalld=firewalld dbus-daemon=dbus-daemon

# A build from scratch is the usual one here and in CI: without what an incremental one needs, target is half as large.
export CARGO_INCREMENTAL ?= 0

.PHONY: all demo test test-uci test-all test-small test-fresh lint

all:
	$(CARGO) build --release

demo:
	@scripts/need.sh cc=gcc ip=iproute2 nft=nftables knock=knockd nmap=nmap nc=netcat-openbsd socat=socat unshare=util-linux
	@$(CARGO) --version
	@[ -x target/release/ketukd ] || echo "building ketukd and ketuk: about 2 minutes the first time"
	@$(CARGO) build --release
	@scripts/root.sh scripts/demo.sh

# Every part runs, whatever becomes of the others.
test:
	@scripts/parts.sh test-uci test-all test-small

# The parser against the real libuci, which is built from the source that the crate libuci-sys carries. In the same directory as
# the rest: what both need is built once.
test-uci:
	@scripts/need.sh cc=gcc
	@$(CARGO) --version
	@[ -d target/debug ] || echo "building the parser and libuci: about 1 minute the first time"
	$(CARGO) test --manifest-path tests/libuci/Cargo.toml --target-dir target

# Most tests wait for the network, not for the processor.
test-all:
	@scripts/need.sh $(TEST_NEEDS)
	@$(CARGO) --version
	@ls target/debug/deps/knock-* >/dev/null 2>&1 || echo "building ketuk and its tests: about 3 minutes the first time"
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} scripts/root.sh $(CARGO) test --no-fail-fast

# What a build without Cargo's features says of what it lacks.
test-small:
	@scripts/need.sh cc=gcc
	$(CARGO) test --no-default-features --lib

# Every make test-fresh makes new machines. Those of a second one for the same Debian know nothing of the first.
FRESH ?= bookworm:root trixie:user

test-fresh:
	@scripts/fresh.sh $(FRESH)

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --no-default-features -- -D warnings
	CUSTOM_LIBFUZZER_PATH=/not/linked/libfuzzer.a $(CARGO) clippy --manifest-path fuzz/Cargo.toml --bins -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --no-deps --document-private-items

include scripts/install.mk
include scripts/router.mk
include scripts/client.mk
include web/page.mk
include openwrt/luci.mk
include benches/bench.mk
include fuzz/fuzz.mk
