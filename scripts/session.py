#!/usr/bin/env python3
"""Draws docs/session.svg from a real run of scripts/demo.sh: the parts in which a client is refused, knocks, gets in, and is
shut out again.

usage: scripts/session.py COMMAND... > docs/session.svg     COMMAND runs the demonstration, and must succeed
"""

import re
import subprocess
import sys
from html import escape

# The beginnings of the titles of the parts that the picture shows.
PARTS = ("Nobody gets in", "The client knocks", "Three seconds later")
# Pixels: a character of a 14 px monospaced font, a line, the margin, and the bar with the three dots.
CHARACTER, LINE, MARGIN, BAR = 8.4, 20, 20, 34

PROMPT = re.compile(r"(client|stranger|router)\$ (.*)")


def shown(output):
    """The lines of the parts, with an empty one between two parts."""
    lines, wanted = [], False
    for line in output.splitlines():
        if line.startswith("# "):
            wanted = line[2:].startswith(PARTS)
            if wanted and lines:
                lines.append("")
        if wanted and line.strip():
            lines.append(line.strip())
    return lines


def text(line):
    """A line in its colours."""
    if line.startswith("# "):
        return f'<tspan fill="#8ab4f8" font-weight="bold">{escape(line)}</tspan>'
    if prompt := PROMPT.fullmatch(line):
        host, command = (escape(part) for part in prompt.groups())
        return f'<tspan fill="#7ee787">{host}$</tspan> <tspan fill="#ffffff">{command}</tspan>'
    if line == "(refused)":
        return f'<tspan fill="#ff938a">{line}</tspan>'
    return escape(line)


def draw(lines):
    """The picture, as wide as its longest line. textLength makes a line equally wide in every font."""
    width = round(max(map(len, lines)) * CHARACTER) + 2 * MARGIN
    height = BAR + LINE * len(lines) + MARGIN
    label = "A session: the client knocks and is let in, the stranger is not, three seconds later the door is shut"
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
    yield '<rect width="100%" height="100%" rx="8" fill="#1b1f27"/>'
    yield '<circle cx="20" cy="18" r="6" fill="#ff5f57"/><circle cx="40" cy="18" r="6" fill="#febc2e"/><circle cx="60" cy="18" r="6" fill="#28c840"/>'
    yield '<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="14" fill="#d5dae3" xml:space="preserve">'
    for number, line in enumerate(lines, 1):
        if line:
            length = round(len(line) * CHARACTER, 1)
            yield f'<text x="{MARGIN}" y="{BAR + LINE * number}" textLength="{length}" lengthAdjust="spacingAndGlyphs">{text(line)}</text>'
    yield "</g>\n</svg>"


def main():
    output = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, check=True, text=True).stdout
    lines = shown(output)
    for part in PARTS:
        if not any(line[2:].startswith(part) for line in lines):
            sys.exit(f"session.py: the demonstration has no part '{part}'")
    print("\n".join(draw(lines)))


if __name__ == "__main__":
    main()
