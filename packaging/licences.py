"""The licences of the programs' parts: ketuk's own, and those of the crates, from each crate's files."""

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINE = "\n\n" + "-" * 78 + "\n\n"


def crates():
    """Cargo's data about every crate that is linked into a program, by name."""
    command = [ROOT / "scripts/cargo.sh", "metadata", "--format-version=1", "--locked"]
    command.append("--filter-platform=x86_64-unknown-linux-musl")
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    needs = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
    found, todo = set(), list(metadata["workspace_members"])
    while todo:
        here = todo.pop()
        # A procedural macro stays in the compiler, and so do its dependencies.
        is_macro = any("proc-macro" in target["kind"] for target in packages[here]["targets"])
        if here not in found and not is_macro:
            found.add(here)
            # Crates that only tests or build scripts need are left out.
            todo += [need["pkg"] for need in needs[here] if any(kind["kind"] is None for kind in need["dep_kinds"])]
    others = [packages[crate] for crate in found if packages[crate]["source"]]
    return sorted(others, key=lambda crate: (crate["name"], crate["version"]))


def texts(crate):
    """The licence under which a crate is used: MIT's where there is a choice."""
    names = ("LICENSE", "LICENCE", "COPYING")
    files = Path(crate["manifest_path"]).parent.iterdir()
    files = sorted(path for path in files if path.is_file() and path.name.upper().startswith(names))
    files = [path for path in files if "MIT" in path.name.upper()] or files
    found = [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]
    return found or ["The crate carries no text of it. Its authors: " + ", ".join(crate["authors"])]


def copyright():
    """The text of a package's copyright file."""
    parts = [(ROOT / name).read_text().strip() for name in ("LICENSE", "LICENSE-MIT", "LICENSE-APACHE")]
    parts.append("The programs contain Rust's standard library (MIT or Apache-2.0) and these crates:")
    for crate in crates():
        title = f"{crate['name']} {crate['version']}: {crate['license']}"
        parts.append("\n\n".join([title, *texts(crate)]))
    return LINE.join(parts) + "\n"


if __name__ == "__main__":
    print(copyright(), end="")
