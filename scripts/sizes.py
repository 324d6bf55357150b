#!/usr/bin/env python3
"""Measures the programs for routers, and compares them with openwrt/sizes.txt.

usage: scripts/sizes.py [--record] [DIR]      DIR is cargo's target directory, default target/cross

Three measures: the file, gzipped as opkg carries it, and as an image's squashfs holds it. A program that is more than
5 % larger than recorded in any of them fails. --record writes the table anew instead; programs that are not built keep
their line. `make sizes` builds all and records. The aims for mipsel are printed where they are missed: docs/size.md.
"""

import gzip
import lzma
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "openwrt/sizes.txt"
GROWTH = 1.05
MEASURES = ("file", "gzip", "squashfs")
PROGRAMS = ("ketuk", "ketuk-import", "ketukd")
# The aims, in bytes: gzipped and in squashfs. The small build has none of Cargo's features.
MIPSEL = "mipsel-unknown-linux-musl"
AIMS = {(MIPSEL, "ketukd"): (262_000, 205_000), (MIPSEL, "ketukd-small"): (220_000, 172_000)}
HEAD = "# Bytes of each program: the file, gzipped (-9n), in squashfs (xz, 256 kB blocks). Written by scripts/sizes.py --record.\n"

# As OpenWrt calls mksquashfs: -comp xz -b 256k -Xpreset 9 -Xe -Xlc 0 -Xlp 2 -Xpb 2.
BLOCK = 256 * 1024
XZ = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 2, "pb": 2, "dict_size": BLOCK}]


def squashed(data):
    """The size of the file's blocks, each compressed separately."""
    blocks = (data[at : at + BLOCK] for at in range(0, len(data), BLOCK))
    return sum(len(lzma.compress(block, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=XZ)) for block in blocks)


def measure(directory):
    """{(target, program): (file, gzip, squashfs)}"""
    found = {}
    for folder, suffix in (("router", ""), ("small", "-small")):
        for path in sorted(directory.glob(f"*-linux-*/{folder}/*")):
            if path.name in PROGRAMS:
                data = path.read_bytes()
                sizes = (len(data), len(gzip.compress(data, 9, mtime=0)), squashed(data))
                found[path.parent.parent.name, path.name + suffix] = sizes
    return found


def recorded():
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {(target, program): tuple(map(int, sizes)) for target, program, *sizes in rows}


def main(arguments):
    record = "--record" in arguments
    rest = [argument for argument in arguments if argument != "--record"]
    found, before = measure(Path(rest[0]) if rest else ROOT / "target/cross"), recorded()
    if not found:
        sys.exit("sizes.py: nothing is built: run scripts/cross.sh")
    faults = []
    for key, sizes in found.items():
        was = before.get(key)
        numbers = " ".join(f"{size:8}" for size in sizes)
        print(f"{key[0]:32} {key[1]:12} {numbers}", *(f"(recorded {' '.join(map(str, was))})" for was in [was] if was))
        if not record and not was:
            print(f"sizes.py: {key[0]} {key[1]} is not in {TABLE.name}: record it")
        for measure_name, now, then in zip(MEASURES, sizes, was or sizes):
            if not record and now > GROWTH * then:
                faults.append(f"{key[0]} {key[1]} grew by more than 5 % ({measure_name}): {then} -> {now}")
        for measure_name, now, aim in zip(MEASURES[1:], sizes[1:], AIMS.get(key, ())):
            if now > aim:
                print(f"sizes.py: {key[0]} {key[1]} is above its aim ({measure_name}): {now} > {aim}")
    if record:
        rows = sorted({**before, **found}.items())
        TABLE.write_text(HEAD + "".join(f"{t:32} {p:12} {' '.join(f'{size:8}' for size in sizes)}\n" for (t, p), sizes in rows))
    for fault in faults:
        print(f"sizes.py: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
