#!/usr/bin/env python3
"""Measures the routers' binaries, and holds them against openwrt/sizes.txt.

usage: scripts/sizes.py [--record] [DIR]      DIR is cargo's target directory, default target/cross

A program that is more than 5 % larger than recorded fails. --record writes the table anew instead; targets that are
not built keep their line. The aim for mipsel's ketukd is printed, see docs/size.md.
"""

import gzip
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "openwrt/sizes.txt"
GROWTH = 1.05
# The aim, in bytes: the file, and gzipped as opkg carries it.
AIMS = {("mipsel-unknown-linux-musl", "ketukd"): (256_000, 110_000)}
HEAD = "# Bytes of each program, and gzipped (-9n). Written by scripts/sizes.py --record.\n"


def measure(directory):
    """{(target, program): (bytes, gzipped)}"""
    found = {}
    for path in sorted(directory.glob("*-linux-*/router/ketuk*")):
        if path.suffix == "" and path.is_file():
            data = path.read_bytes()
            found[path.parent.parent.name, path.name] = (len(data), len(gzip.compress(data, 9, mtime=0)))
    return found


def recorded():
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {(row[0], row[1]): (int(row[2]), int(row[3])) for row in rows}


def main(arguments):
    record = "--record" in arguments
    rest = [argument for argument in arguments if argument != "--record"]
    found, before = measure(Path(rest[0]) if rest else ROOT / "target/cross"), recorded()
    if not found:
        sys.exit("sizes.py: nothing is built: run scripts/cross.sh")
    faults = []
    for key, sizes in found.items():
        was = before.get(key)
        print(f"{key[0]:32} {key[1]:7} {sizes[0]:8} {sizes[1]:8}", *(f"(recorded {was[0]} {was[1]})" for was in [was] if was))
        if not record and not was:
            print(f"sizes.py: {key[0]} {key[1]} is not in {TABLE.name}: record it")
        if not record and was and any(now > GROWTH * then for now, then in zip(sizes, was)):
            faults.append(f"{key[0]} {key[1]} grew by more than 5 %: {was} -> {sizes}")
        if key in AIMS and any(now > aim for now, aim in zip(sizes, AIMS[key])):
            print(f"sizes.py: {key[0]} {key[1]} is above its aim of {AIMS[key]} bytes")
    if record:
        rows = sorted({**before, **found}.items())
        TABLE.write_text(HEAD + "".join(f"{t:32} {p:7} {size:8} {packed:8}\n" for (t, p), (size, packed) in rows))
    for fault in faults:
        print(f"sizes.py: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
