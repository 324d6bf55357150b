#!/usr/bin/env bash
# reach.sh TARGET PROGRAM LOG: prints the share of each module's lines that a fuzz target's inputs reached. LOG is what the
# program printed with -print_full_coverage=1. It fails if the inputs reach less than fuzz/floors.txt says, or no line of a file
# with ten lines or more.
#
# The lines are those at which a branch of the program begins. A branch of inlined library code belongs to the line that calls
# it. Code that the linker leaves out, because the target does not use it, does not count.
set -euo pipefail

target=$1 program=$2 log=$3 src=$PWD/src/
# U and the addresses of edges that were not reached, or C and those that were.
addresses=$(awk '/^[UC] 0x/ { for (i = 2; i <= NF; i++) print $1, $i }' "$log")
cut -d' ' -f2 <<<"$addresses" | addr2line -a -i -e "$program" | awk -v src="$src" '
	/^0x/ { if (NR > 1) print line; line = "-"; next }
	line == "-" && index($0, src) == 1 { line = substr($0, length(src) + 1); sub(/ .*/, "", line) }
	END { print line }' |
	paste -d' ' <(cut -c1 <<<"$addresses") - |
	awk -v target="$target" '
		FNR == NR { if ($1 == target) floor[$2] = $3; next }
		$1 == "C" { reached[$2] = 1 }
		{ lines[$2] }
		END {
			for (line in lines) {
				file = line
				sub(/:.*/, "", file)
				for (module in floor) if (index(file, module) == 1) {
					all[module]++
					all_of[file]++
					if (reached[line]) { some[module]++; some_of[file] = 1 }
				}
			}
			for (module in floor) {
				share = all[module] ? int(100 * some[module] / all[module]) : 0
				printf "%s: the inputs reach %d of %d lines in src/%s, %d %% (floor: %d %%)\n",
					target, some[module], all[module], module, share, floor[module]
				if (share < floor[module]) failed = 1
			}
			for (file in all_of) if (all_of[file] >= 10 && !some_of[file]) {
				printf "%s: the inputs do not reach src/%s\n", target, file
				failed = 1
			}
			exit failed
		}' fuzz/floors.txt -
