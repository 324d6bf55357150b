#!/usr/bin/env python3
"""Cuts everything off ELF programs that no segment loads, section headers too, as OpenWrt's sstrip does: on MIPS
strip(1) leaves a fifth of the file behind (.pdr).

usage: scripts/sstrip.py PROGRAM...
"""

import struct
import sys
from pathlib import Path


def cut(data):
    """The program without the bytes after its last segment."""
    assert data[:4] == b"\x7fELF", "no ELF file"
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    # Elf32_Ehdr and Elf64_Ehdr from e_phoff on, and p_offset and p_filesz in their program headers (elf(5)).
    at, header = (32, "QQIHHHHHH") if wide else (28, "IIIHHHHHH")
    offset, _, flags, size, entry, count, *_ = struct.unpack_from(order + header, data, at)
    segment = (order + "QQQQ", 8) if wide else (order + "IIII", 4)
    end = offset + entry * count
    for index in range(count):
        start, _, _, length = struct.unpack_from(segment[0], data, offset + entry * index + segment[1])
        end = max(end, start + length)
    kept = bytearray(data[:end])
    struct.pack_into(order + header, kept, at, offset, 0, flags, size, entry, count, 0, 0, 0)
    return bytes(kept)


for name in sys.argv[1:]:
    path = Path(name)
    path.write_bytes(cut(path.read_bytes()))
