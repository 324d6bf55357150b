# make demo        shows a client, a stranger, a router and a LAN host in network namespaces: shut, knock, open, shut again
# make session     draws a part of the demonstration: docs/session.svg
# make test        runs every test that this machine can run
# make test-fresh  runs make demo and make test on new Debians; FRESH="trixie:user bookworm:root" names the Debians and the users
# make attacks     carries out the attacks of docs/threat-model.md on a daemon in network namespaces, and prints a table of the results
# make soak        runs two routers for SECONDS (600), with faults at random, and prints a table of the losses and their reasons
# make test-soak   runs the soak for two minutes, and prints its table only if a promise is broken
# make lint        checks formatting, the code (clippy) and the documentation
# make deny        checks licences, sources, duplicates and advisories of the crates
# make fuzz        gives made-up packets, files and answers of the kernel to the program
# make bench       measures ketukd beside knockd and fwknopd: benches/results.md
# Each installs missing packages with apt if it may. Otherwise it names them.

CARGO = scripts/cargo.sh

# The real programs that the tests run.
TEST_NEEDS = cc=gcc ip=iproute2 nft=nftables iptables=iptables ip6tables=iptables ipset=ipset conntrack=conntrack \
	knock=knockd nmap=nmap nc=netcat-openbsd telnet=telnet socat=socat tcpreplay=tcpreplay \
	fwknop=fwknop-client fwknopd=fwknop-server knockd=knockd fail2ban-server=fail2ban gpg=gnupg gpg-agent=gpg-agent \
	editcap=wireshark-common ss=iproute2 newuidmap=uidmap unshare=util-linux setpriv=util-linux \
	python3=python3 mosquitto=mosquitto mosquitto_pub=mosquitto-clients openssl=openssl busybox=busybox-static \
	ufw=ufw firewalld=firewalld dbus-daemon=dbus-daemon promtool=prometheus lua5.1=lua5.1 mandoc=mandoc \
	/usr/share/bash-completion/bash_completion=bash-completion zsh=zsh fish=fish \
	script=bsdutils zbarimg=zbar-tools

# Most builds here and in CI begin with nothing. Without the files of incremental builds, target is half as large.
export CARGO_INCREMENTAL ?= 0

.PHONY: all demo session attacks soak test test-soak test-uci test-fko test-all test-small test-fresh lint

all:
	$(CARGO) build --release

demo:
	@scripts/need.sh cc=gcc ip=iproute2 nft=nftables knock=knockd nmap=nmap nc=netcat-openbsd socat=socat unshare=util-linux
	@$(CARGO) --version
	@[ -x target/release/ketukd ] || echo "building ketukd and ketuk: about 2 minutes the first time"
	@$(CARGO) build --release
	@scripts/root.sh scripts/demo.sh

# Draws the picture in README.md from a run.
session:
	@scripts/need.sh cc=gcc ip=iproute2 nft=nftables knock=knockd nmap=nmap nc=netcat-openbsd socat=socat unshare=util-linux python3=python3
	@$(CARGO) build --release
	scripts/session.py scripts/root.sh scripts/demo.sh >target/session.svg && mv target/session.svg docs/session.svg

ATTACK_NEEDS = cc=gcc ip=iproute2 nft=nftables conntrack=conntrack knock=knockd nmap=nmap tcpreplay=tcpreplay fwknop=fwknop-client \
	unshare=util-linux

attacks:
	@scripts/need.sh $(ATTACK_NEEDS)
	@$(CARGO) --version
	@ls target/debug/deps/attacks-* >/dev/null 2>&1 || echo "building ketukd and the attacks: about 3 minutes the first time"
	@$(CARGO) test --quiet --no-run --test attacks
	@RUST_TEST_THREADS=$${RUST_TEST_THREADS:-2} scripts/root.sh scripts/attacks.sh $(CARGO) test --test attacks

SOAK_NEEDS = cc=gcc ip=iproute2 nft=nftables conntrack=conntrack faketime=faketime prlimit=util-linux unshare=util-linux

soak:
	@scripts/need.sh $(SOAK_NEEDS)
	@$(CARGO) --version
	@ls target/debug/deps/soak-* >/dev/null 2>&1 || echo "building ketukd and the soak: about 3 minutes the first time"
	@$(CARGO) test --quiet --no-run --test soak
	@scripts/root.sh $(CARGO) test --quiet --test soak

# Runs two minutes of the soak, and prints its table only if a promise is broken.
test-soak:
	@scripts/need.sh $(SOAK_NEEDS)
	@$(CARGO) test --quiet --no-run --test soak
	@log=$$(mktemp) && trap 'rm -f "$$log"' EXIT && \
		if SECONDS=120 scripts/root.sh $(CARGO) test --quiet --test soak >"$$log" 2>&1; \
		then echo "soak: two minutes, every promise was kept"; else cat "$$log"; exit 1; fi

# Every part runs, also if others fail.
test:
	@scripts/parts.sh test-uci test-fko test-all test-small

# Compares the parser with the real libuci, which is built from the source in the crate libuci-sys. It uses the same target
# directory as the other tests, so that their common crates are built once.
test-uci:
	@scripts/need.sh cc=gcc
	@$(CARGO) --version
	@[ -d target/debug ] || echo "building the parser and libuci: about 1 minute the first time"
	$(CARGO) test --manifest-path tests/libuci/Cargo.toml --target-dir target

# Compares the reader of fwknop's packets with the real libfko.
test-fko:
	@scripts/need.sh cc=gcc /usr/include/fko.h=libfko3-dev
	@$(CARGO) --version
	$(CARGO) test --manifest-path tests/libfko/Cargo.toml --target-dir target

# Most tests wait for the network, not for the processor.
test-all:
	@scripts/need.sh $(TEST_NEEDS)
	@$(CARGO) --version
	@ls target/debug/deps/knock-* >/dev/null 2>&1 || echo "building ketuk and its tests: about 3 minutes the first time"
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} scripts/root.sh $(CARGO) test --no-fail-fast

# Tests the messages of a build without Cargo's features.
test-small:
	@scripts/need.sh cc=gcc
	$(CARGO) test --no-default-features --lib

# Each run makes new machines, so two runs at a time do not share one.
FRESH ?= bookworm:root trixie:user

test-fresh:
	@scripts/fresh.sh $(FRESH)

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --test soak -- -D warnings
	$(CARGO) clippy --no-default-features -- -D warnings
	CUSTOM_LIBFUZZER_PATH=/not/linked/libfuzzer.a $(CARGO) clippy --manifest-path fuzz/Cargo.toml --bins -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --no-deps --document-private-items

# Licences, sources and duplicates of the crates, and advisories about them (which needs the network).
deny:
	@command -v cargo-deny >/dev/null || { echo "make deny: cargo-deny is needed: cargo install cargo-deny" >&2; exit 1; }
	cargo deny check

include scripts/install.mk
include scripts/router.mk
include scripts/client.mk
include scripts/fleet.mk
include web/page.mk
include openwrt/luci.mk
include benches/bench.mk
include fuzz/fuzz.mk
