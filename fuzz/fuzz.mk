# make fuzz        runs each fuzz target on its seeds, then for FUZZ_SECONDS (60) with libFuzzer, and keeps new inputs in fuzz/corpus
# make fuzz-seeds  runs the seeds alone; each target must reach as much of its module as fuzz/floors.txt says

FUZZ_SECONDS ?= 60
FUZZ_TARGETS = decisions filter fwknop profiles configuration imports control netlink

.PHONY: fuzz fuzz-seeds

fuzz:
	@fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

fuzz-seeds:
	@fuzz/run.sh 0 $(FUZZ_TARGETS)
