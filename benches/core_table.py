#!/usr/bin/env python3
"""Puts criterion's figures (--output-format bencher, on standard input) after the table in results.md."""

import pathlib
import re
import sys

HEADING = "\n## One packet in the core\n"
# The heading of make soak's table, which this script keeps.
SOAK = "\n## The soak\n"


def main():
    line = re.compile(r"^test (.+) \.\.\. bench:\s+([\d,]+) ns/iter \(\+/- ([\d,]+)\)")
    figures = [found.groups() for found in map(line.match, sys.stdin) if found]
    if not figures:
        sys.exit("criterion measured nothing: scripts/cargo.sh bench --manifest-path benches/Cargo.toml says why")
    rows = "".join(f"| {name} | {ns} ns | {spread} ns |\n" for name, ns, spread in figures)
    path = pathlib.Path(sys.argv[1])
    measured, heading, soak = path.read_text().partition(SOAK) if path.exists() else ("", "", "")
    before = measured.partition(HEADING)[0]
    path.write_text(f"{before}{HEADING}\n| what | time | spread |\n| --- | --- | --- |\n{rows}{heading}{soak}")


if __name__ == "__main__":
    main()
