# make bench    measures ketukd beside knockd and fwknopd, then the core alone: benches/results.md
#
# BENCH_KETUKD=FILE   the ketukd to measure (default: the one for routers, static, against musl)
# BENCH_FLAGS=--quick short runs that only show that the measurements work; their figures mean nothing

BENCH_TARGET := $(shell uname -m)-unknown-linux-musl
BENCH_KETUKD = target/cross/$(BENCH_TARGET)/router/ketukd
BENCH_RESULTS = benches/results.md
BENCH_FLAGS =
BENCH_NEEDS = cc=gcc python3=python3 ip=iproute2 nft=nftables iptables=iptables nmap=nmap knockd=knockd fwknopd=fwknop-server

BENCH_CORE = scripts/cargo.sh bench --quiet --manifest-path benches/Cargo.toml --bench core -- --output-format bencher 2>/dev/null | \
		python3 benches/core_table.py $(BENCH_RESULTS)

.PHONY: bench bench-core

bench:
	@[ "$$(id -u)" = 0 ] || { echo "make bench needs root: it makes network namespaces with names" >&2; exit 1; }
	@scripts/need.sh $(BENCH_NEEDS)
	@[ "$(BENCH_KETUKD)" != "target/cross/$(BENCH_TARGET)/router/ketukd" ] || scripts/cross.sh $(BENCH_TARGET)
	@scripts/cargo.sh build --release --quiet --manifest-path benches/Cargo.toml --bin load
	python3 benches/run.py --ketukd $(BENCH_KETUKD) --load benches/target/release/load --results $(BENCH_RESULTS) $(BENCH_FLAGS)
	$(BENCH_CORE)

# Measures the core alone, with criterion. Its figures follow the table.
bench-core:
	$(BENCH_CORE)
