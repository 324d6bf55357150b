#!/usr/bin/env python3
"""Writes the manual pages ketukd(8), ketuk(1) and ketuk(5), gzipped, the same bytes for the same commit.

usage: packaging/man.py DIR       writes DIR/man1/ketuk.1.gz, DIR/man5/ketuk.5.gz, DIR/man8/ketukd.8.gz

The first two pages are made from the texts of --help in src/cli/help and src/client/help, the last one from docs/configuration.md.
"""

import gzip
import re
import sys
import textwrap
import time
from pathlib import Path

from pack import ROOT, commit_time, version

# Characters that have another meaning in roff. A dot that begins a line has one too: see `wrapped`.
ESCAPES = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
WIDTH = 78
# The bold words of a usage.
COMMAND, OPTION = r"^ketukd?(?: [a-z]+)?", r"(?<![\w-])--?[\w-]+"
# Columns whose names need not stand before their cells.
MEANINGS = ("meaning", "why", "/etc/config/ketuk")
SECTIONS = {1: "User Commands", 5: "File Formats", 8: "System Administration"}
PAGES = {"ketukd(8)": "the daemon", "ketuk(1)": "the client", "ketuk(5)": "/etc/config/ketuk, the configuration"}


def escaped(text):
    return "".join(ESCAPES.get(character, character) for character in text)


def argument(text):
    """An argument of a macro."""
    return '"' + escaped(text).replace('"', r"\(dq") + '"'


def wrapped(line):
    """Lines of a paragraph that is roff already."""
    lines = textwrap.wrap(line, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [rf"\&{line}" if line.startswith(".") else line for line in lines]


def text(line, bold=r"(?!)"):
    """The lines of a paragraph. What `bold` matches is set in bold."""
    pieces = re.split(f"({bold})", " ".join(line.split()))
    return wrapped("".join(f"\\fB{escaped(piece)}\\fR" if n % 2 else escaped(piece) for n, piece in enumerate(pieces)))


def entry(term, meaning):
    """A term, which is one line whatever its length, and its meaning."""
    return [".TP", " ".join(term), *meaning]


def example(lines):
    return [".PP", ".RS 4", ".EX", *(rf"\&{line}" if line.startswith(".") else line for line in map(escaped, lines)), ".EE", ".RE"]


def header(name, section, purpose):
    """The head of a page, up to the section NAME."""
    date = time.strftime("%Y-%m-%d", time.gmtime(commit_time()))
    title = [f'.TH {name.upper()} {section} {date} "ketuk {version()}" "{SECTIONS[section]}"', ".SH NAME"]
    # Justified lines would have wide gaps.
    return [*title, *text(f"{name} - {purpose}"), ".ad l"]


def footer(name, section):
    """The other pages."""
    others = [page for page in PAGES if page != f"{name}({section})"]
    return [".SH SEE ALSO", *text(", ".join(f"{page}: {PAGES[page]}" for page in others))]


class Help:
    """A text of --help: usage, paragraphs, entries of a term and its meaning, an example, exit codes."""

    def __init__(self, source):
        self.usage, self.paragraphs, self.entries, self.example, self.codes = [], [], [], None, None
        for block in source.strip().split("\n\n"):
            if block.startswith("usage: "):
                # The description of a usage follows it.
                lines = [line[len("usage: ") :] for line in block.splitlines()]
                self.usage = [tuple(re.split("   +", line, maxsplit=1)) for line in lines]
            elif block.startswith("  "):
                self.entries += [re.split("  +", line.strip(), maxsplit=1) for line in block.splitlines()]
            elif block.startswith("example: "):
                self.example = block.removeprefix("example: ").splitlines()
            elif block.startswith("exit codes: "):
                self.codes = re.findall(r"(\d) (.*?)(?:, (?=\d)|$)", block.removeprefix("exit codes: "))
            else:
                self.paragraphs.append(block)

    def body(self):
        """The paragraphs, the entries, the example."""
        lines = []
        for paragraph in self.paragraphs:
            lines += [".PP", *text(paragraph)]
        for term, meaning in self.entries:
            lines += entry(text(term, OPTION), text(meaning))
        if self.example:
            lines += [".PP", "Example:", *example(self.example)]
        return lines

    def synopsis(self):
        lines = []
        for n, (usage, *_) in enumerate(self.usage):
            lines += [".br"] if n else []
            lines += text(usage, f"{COMMAND}|{OPTION}")
        return lines


def manual(name, section, folder, commands):
    """The page of a program, whose texts of --help are in the folder."""
    program = Help((ROOT / folder / "all.txt").read_text())
    intro = program.paragraphs.pop(0)
    lines = header(name, section, intro.removeprefix(f"{name} ").rstrip("."))
    program.paragraphs = [paragraph for paragraph in program.paragraphs if paragraph != "{commands}"]
    lines += [".SH SYNOPSIS", *program.synopsis(), ".SH DESCRIPTION", *text(intro)]
    for usage, *does in program.usage:
        for meaning in does:
            lines += entry(text(usage, COMMAND), text(meaning))
    lines += [".SH OPTIONS", *program.body(), ".SH COMMANDS"]
    for command in commands:
        one = Help((ROOT / folder / f"{command}.txt").read_text())
        lines += [f".SS {command}", *one.synopsis(), *one.body()]
    lines.append(".SH EXIT STATUS")
    for code, meaning in program.codes:
        lines += entry([code], text(meaning))
    return lines + footer(name, section)


def commands(source):
    """The names of the commands in their order, as the program lists them."""
    return re.findall(r'\("(\w+)", include_str!\("help/\1\.txt"\)\)', (ROOT / source).read_text())


def inline(line):
    """The lines of a paragraph of Markdown: links without their addresses, code in bold."""
    line = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(line.split()))
    pieces = re.split(r"`([^`]*)`", line)
    plain = lambda piece: escaped(re.sub(r"\*(\w[^*]*)\*", r"\1", piece))
    return wrapped("".join(f"\\fB{escaped(piece)}\\fR" if n % 2 else plain(piece) for n, piece in enumerate(pieces)))


def table(rows):
    """An entry for each row: the first cell, then the meaning, then the other cells with the names of their columns."""
    names, _, *rows = ([cell.strip() for cell in re.split(r" \|(?= )", row.strip().strip("|"))] for row in rows)
    lines = []
    for row in rows:
        cells = [(name, cell) for name, cell in zip(names, row, strict=True) if cell][1:]
        meaning = [cell for name, cell in cells if name in MEANINGS]
        more = [f"{name.capitalize()}: {cell}." for name, cell in cells if name not in MEANINGS]
        lines += entry(inline(row[0]), inline(" ".join([*meaning, *more])))
    return lines


def markdown(source):
    """The body of a page, of the Markdown that docs/configuration.md uses."""
    lines = []
    for block in re.findall(r"```[\s\S]*?\n```|[^\n]+(?:\n(?!```)[^\n]+)*", source):
        first = block.split(" ", 1)[0]
        if block.startswith("```"):
            lines += example(block.splitlines()[1:-1])
        elif first in ("##", "###", "####"):
            title = block.removeprefix(first).strip().replace("`", "")
            lines += [".PP", f"\\fB{escaped(title)}\\fR"] if first == "####" else [f".{'SH' if first == '##' else 'SS'} {argument(title)}"]
        elif block.startswith("|"):
            lines += table(block.splitlines())
        elif block.startswith("- "):
            for item in re.split(r"\n- ", block[2:]):
                lines += [r".IP \(bu 2", *inline(item)]
        else:
            lines += [".PP", *inline(block)]
    return lines


def configuration():
    title, body = (ROOT / "docs/configuration.md").read_text().split("\n", 1)
    assert title == "# Configuration"
    return [*header("ketuk", 5, "the configuration of ketukd(8)"), ".SH DESCRIPTION", *markdown(body), *footer("ketuk", 5)]


def main(directory):
    pages = {
        "man8/ketukd.8": manual("ketukd", 8, "src/cli/help", commands("src/cli/help.rs")),
        "man1/ketuk.1": manual("ketuk", 1, "src/client/help", commands("src/client/help.rs")),
        "man5/ketuk.5": configuration(),
    }
    for name, lines in pages.items():
        path = Path(directory, f"{name}.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        # A heading begins a paragraph.
        starts = zip(lines, ["", *lines])
        lines = [line for line, before in starts if line != ".PP" or not before.startswith((".SH", ".SS"))]
        path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), 9, mtime=0))
        path.chmod(0o644)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(sys.argv[1])
