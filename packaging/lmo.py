#!/usr/bin/env python3
"""Compiles a gettext translation for LuCI. The result is byte for byte that of LuCI's po2lmo.

usage: packaging/lmo.py INPUT.po OUTPUT.lmo

The file begins with the texts, each padded to four bytes. The index follows: four numbers for each text, sorted by key. The
last number is the place where the index begins. All numbers are big-endian and 32 bits wide. A key is the hash of the
message's id.
"""

import re
import struct
import sys
from pathlib import Path

WORD = 0xFFFF_FFFF
# The byte between a context and an id, and the byte between an id and the number of a plural form.
CONTEXT, PLURAL = b"\x01", b"\x02"
FIELD = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr)(?:\[(\d)\])? *(".*")')


def sfh(data):
    """Paul Hsieh's SuperFastHash, begun with the length. The last odd byte counts as a signed one."""
    if not data:
        return 0
    value = len(data)
    whole, tail = data[: len(data) & ~3], data[len(data) & ~3 :]
    for low, high in struct.iter_unpack("<HH", whole):
        value = (value + low) & WORD
        value = ((value << 16) ^ (high << 11) ^ value) & WORD
        value = (value + (value >> 11)) & WORD
    signed = int.from_bytes(tail[-1:], "little", signed=True)
    if len(tail) == 3:
        value += int.from_bytes(tail[:2], "little")
        value = (value ^ (value << 16) ^ (signed << 18)) & WORD
        value += value >> 11
    elif len(tail) == 2:
        value += int.from_bytes(tail, "little")
        value = (value ^ (value << 11)) & WORD
        value += value >> 17
    elif tail:
        value += signed
        value = (value ^ (value << 10)) & WORD
        value += value >> 1
    for left, right in ((3, 5), (4, 17), (25, 6)):
        value = (value ^ (value << left)) & WORD
        value = (value + (value >> right)) & WORD
    return value


def messages(po):
    """[{field: text}] in the order of the file; the translations are at "msgstr0" and, if there are plural forms, "msgstr1" and so on. A context or
    an id begins a message. A quote and a backslash lose their escape; po2lmo leaves all others as they are."""
    found, into = [{}], None
    for number, line in enumerate(po.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if begins := FIELD.fullmatch(line):
            field, form, line = begins.groups()
            into = f"{field}{form or 0}" if field == "msgstr" else field
            if field == "msgctxt" or field == "msgid" and found[-1].keys() != {"msgctxt"}:
                found.append({})
            found[-1][into] = ""
        elif into is None or not re.fullmatch('".*"', line):
            raise ValueError(f"line {number}: neither a field nor a text: {line}")
        found[-1][into] += re.sub(r'\\(["\\])', r"\1", line[1:-1])
    return found[1:]


def entries(message):
    """(key, number of plural forms, text) of each text that a message brings: none if it is not translated."""
    key = message.get("msgid", "").encode()
    if not key:
        # The head of the file. LuCI reads its rule for plurals at key 0.
        rule = re.search(r"(?:^|\\n)Plural-Forms: (.*?)\\n", message.get("msgstr0", ""))
        return [(0, 0, rule[1].encode())] if rule else []
    if "msgctxt" in message:
        key = message["msgctxt"].encode() + CONTEXT + key
    forms = [text.encode() for field, text in message.items() if field.startswith("msgstr")]
    if "msgid_plural" in message:
        keys = [sfh(key + PLURAL + str(form).encode()) for form in range(len(forms))]
    else:
        keys = [sfh(key)]
    return [(key, len(forms), text) for key, text in zip(keys, forms, strict=True) if text and key != sfh(text)]


def compile_po(po):
    """The content of the .lmo for the text of a .po."""
    texts, index = b"", {}
    for message in messages(po):
        for key, number, text in entries(message):
            if key in index:
                raise ValueError(f"two messages have the hash {key:08x}: {message['msgid']}")
            index[key] = struct.pack(">4I", key, number, len(texts), len(text))
            texts += text + bytes(-len(text) % 4)
    return texts + b"".join(index[key] for key in sorted(index)) + struct.pack(">I", len(texts))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: lmo.py INPUT.po OUTPUT.lmo")
    Path(sys.argv[2]).write_bytes(compile_po(Path(sys.argv[1]).read_text(encoding="utf-8")))
