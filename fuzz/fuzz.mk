# make fuzz      each fuzz target for FUZZ_SECONDS (60), with cargo-fuzz and libFuzzer; what it finds is kept in fuzz/corpus

FUZZ_SECONDS = 60

.PHONY: fuzz

# RUSTC_BOOTSTRAP: coverage is asked for with an option that only a nightly compiler takes by itself.
fuzz:
	@scripts/need.sh c++=g++
	@command -v cargo-fuzz >/dev/null || { echo "make fuzz: cargo-fuzz is needed: cargo install cargo-fuzz" >&2; exit 1; }
	for target in packets configuration imports netlink secrets; do \
		mkdir -p fuzz/corpus/$$target; \
		case $$target in configuration) seeds=uci/examples ;; imports) seeds=tests/import ;; *) seeds= ;; esac; \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target $$seeds -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 || exit 1; \
	done
