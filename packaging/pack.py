#!/usr/bin/env python3
"""Makes packages of the programs that scripts/cross.sh built. The same commit gives the same bytes.

usage: packaging/pack.py [--bin DIR] [--out DIR] [--arch ARCH]... [--built] [ipk|apk|deb]...
       packaging/pack.py --native DIR [--out DIR]

  ipk   for opkg, OpenWrt 24.10 and before: the same as OpenWrt's ipkg-build makes
  apk   for OpenWrt 25.12 and later: by `apk mkpkg` of apk-tools 3. If that is not installed, a message says so
  deb   for hosts that are no routers: by dpkg-deb
Without a kind it makes all of them. With --native it makes a deb for this machine alone, of the programs in DIR, which Cargo
linked with this machine's C library. The router's web page and its translations are an ipk and an apk for all architectures.
"""

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).resolve().parent))
import licences
from contents import DAEMON_TEXT, KETUK, KETUK_IMPORT, KETUKD, LUCI, ROOT, TRANSLATIONS

RELEASE = "1"

# OpenWrt's architectures, and the target that is built for each. One binary serves several architectures, because it depends
# on no library, and all of these processors run code for mips_24kc.
OPENWRT = {
    "mips_24kc": "mips-unknown-linux-musl",
    "mipsel_24kc": "mipsel-unknown-linux-musl",
    "arm_cortex-a7_neon-vfpv4": "armv7-unknown-linux-musleabihf",
    "aarch64_cortex-a53": "aarch64-unknown-linux-musl",
    "aarch64_generic": "aarch64-unknown-linux-musl",
    "x86_64": "x86_64-unknown-linux-musl",
}
DEBIAN = {
    "amd64": "x86_64-unknown-linux-musl",
    "arm64": "aarch64-unknown-linux-musl",
    "armhf": "armv7-unknown-linux-musleabihf",
}

# The scripts that each package of OpenWrt runs after its installation and before its removal.
POSTINST = """#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
default_postinst $0 $@
"""
PRERM = """#!/bin/sh
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
default_prerm $0 $@
"""


def version():
    """The version in Cargo.toml."""
    return re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]


def commit_time():
    """The time of the commit, in seconds. Every file of a package has this time."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    if (ROOT / ".git").exists():
        git = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
        return int(subprocess.run(git, check=True, capture_output=True, text=True).stdout)
    # A source archive gives its files the commit's time.
    return int((ROOT / "Cargo.toml").stat().st_mtime)


def tar(members, time):
    """A tar of [(path, content, mode)], without a content for a directory, as GNU tar makes it with --format=gnu
    --numeric-owner of files that are root's. opkg reads no pax headers: it would record the package and
    unpack nothing."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, content, mode in members:
            member = tarfile.TarInfo(path)
            member.mtime, member.mode = time, mode
            member.uname = member.gname = ""
            if content is None:
                # tarfile would take the slash away again.
                member.type, member.name = tarfile.DIRTYPE, path.rstrip("/")
                archive.addfile(member)
            elif isinstance(content, PurePosixPath):
                member.type, member.linkname = tarfile.SYMTYPE, str(content)
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def compress(data):
    """gzip without a name and a time."""
    return gzip.compress(data, 9, mtime=0)


def tree(files):
    """The members of a tar of `.`: every directory before what is in it, by name."""
    directories = {str(parent) for path, _, _ in files for parent in Path(path).parents}
    members = [(path.rstrip("/") + "/", None, 0o755) for path in directories] + list(files)
    members = sorted(members, key=lambda member: [part for part in member[0].split("/") if part])
    return [("." + path, content, mode) for path, content, mode in members]


def control(package, arch, size, time):
    """The control file, its fields in the order that OpenWrt's own packages have."""
    fields = {
        "Package": package.name,
        "Version": f"{version()}-r{RELEASE}",
        "Depends": ", ".join(package.depends) or None,
        "Source": package.feed,
        "SourceName": package.name,
        "License": "MIT OR Apache-2.0",
        "Section": package.section,
        "Require-User": package.user,
        "SourceDateEpoch": time,
        "Architecture": arch,
        "Installed-Size": size,
        "Description": package.text,
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value is not None)


def ipk(package, arch, binaries, out, time):
    """As ipkg-build: a gzip'd tar (and no ar) of ./debian-binary, ./data.tar.gz, ./control.tar.gz."""
    data = tar(tree(package.read(binaries)), time)
    scripts = [("/control", control(package, arch, len(data), time), 0o644)]
    if package.conffiles:
        scripts.append(("/conffiles", "".join(f"{path}\n" for path in package.conffiles), 0o644))
    scripts.append(("/postinst", POSTINST, 0o755))
    scripts.append(("/prerm", PRERM, 0o755))
    for name, own in package.scripts.items():
        # OpenWrt's scripts call the package's own script under another name. After a removal there is no such call.
        scripts.append((f"/{name}" if name == "postrm" else f"/{name}-pkg", f"#!/bin/sh\n{own}", 0o755))
    scripts = tar(tree([(path, text.encode(), mode) for path, text, mode in scripts]), time)
    parts = [
        ("./debian-binary", b"2.0\n", 0o644),
        ("./data.tar.gz", compress(data), 0o644),
        ("./control.tar.gz", compress(scripts), 0o644),
    ]
    path = out / f"{package.name}_{version()}-r{RELEASE}_{arch}.ipk"
    path.write_bytes(compress(tar(parts, time)))
    return path


def apk(package, arch, binaries, out, time):
    """By apk-tools 3, with the files and scripts that OpenWrt's build adds."""
    name, path = package.name, out / f"{package.name}-{version()}-r{RELEASE}.{arch}.apk"
    with tempfile.TemporaryDirectory() as directory:
        staged, scripts = Path(directory, "root"), Path(directory, "scripts")
        scripts.mkdir()
        files = package.read(binaries)
        state = f"/lib/apk/packages/{name}"
        listed = "".join(f"{path}\n" for path, _, _ in files)
        files.append((f"{state}.list", listed.encode(), 0o644))
        if package.user:
            files.append((f"{state}.rusers", f"{package.user}\n".encode(), 0o644))
        if package.conffiles:
            lines = "".join(f"{path}\n" for path in package.conffiles)
            files.append((f"{state}.conffiles", lines.encode(), 0o644))
            # sysupgrade reads these to find files that were edited and must be kept.
            kept = [(path, hashlib.sha256(text).hexdigest()) for path, text, _ in files if path in package.conffiles]
            lines = "".join(f"{path} {digest}\n" for path, digest in kept)
            files.append((f"{state}.conffiles_static", lines.encode(), 0o644))
        stage(files, staged, time)
        # The package names the owners of its files. The user who runs this is root in this namespace.
        names, mine = Path(directory, "names/etc"), staged.stat()
        names.mkdir(parents=True)
        (names / "passwd").write_text(f"root:x:{mine.st_uid}:{mine.st_gid}:::\n")
        (names / "group").write_text(f"root:x:{mine.st_gid}:\n")
        command = ["apk", "mkpkg", "--files", str(staged), "--output", str(path), "--root", str(names.parent)]
        for field in (
            f"name:{name}",
            f"version:{version()}-r{RELEASE}",
            f"description:{package.text}",
            f"arch:{arch}",
            "license:MIT OR Apache-2.0",
            f"origin:{package.feed}",
            *([f"depends:{' '.join(package.depends)}"] if package.depends else []),
        ):
            command += ["--info", field]
        prelude = '#!/bin/sh\n[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0\n'
        prelude += f'. ${{IPKG_INSTROOT}}/lib/functions.sh\nexport root="${{IPKG_INSTROOT}}"\nexport pkgname="{name}"\n'
        install = f"{prelude}add_group_and_user\ndefault_postinst\n{package.scripts.get('postinst', '')}"
        bodies = {
            "post-install": install,
            "post-upgrade": install.replace("#!/bin/sh\n", "#!/bin/sh\nexport PKG_UPGRADE=1\n", 1),
            "pre-deinstall": f"{prelude}default_prerm\n",
        }
        if "postrm" in package.scripts:
            bodies["post-deinstall"] = f"#!/bin/sh\n{package.scripts['postrm']}"
        for kind, body in bodies.items():
            (scripts / kind).write_text(body)
            command += ["--script", f"{kind}:{scripts / kind}"]
        subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": str(time)})
    return path


def deb(arch, binaries, out, time, depends):
    """Daemon and client in one: what `make install` installs, by dpkg-deb. Not enabled: without a door there is nothing to
    do."""
    path = out / f"ketuk_{version()}-{RELEASE}_{arch}.deb"
    with tempfile.TemporaryDirectory() as directory:
        staged = Path(directory)
        install = ["make", "-s", "-C", str(ROOT), "install", f"DESTDIR={staged}", "PREFIX=/usr", f"BIN={binaries.resolve()}"]
        subprocess.run(install, check=True, env={**os.environ, "MAKEFLAGS": ""})
        copyright = licences.copyright().encode()
        stage([("/usr/share/doc/ketuk/copyright", copyright, 0o644)], staged, time)
        size = sum(path.stat().st_size for path in staged.rglob("*") if path.is_file()) // 1024 + 1
        fields = (
            f"Package: ketuk\nVersion: {version()}-{RELEASE}\nArchitecture: {arch}\n"
            f"Maintainer: The ketuk authors <ketuk@localhost>\nInstalled-Size: {size}\nDepends: {', '.join(depends)}\n"
            f"Section: net\nPriority: optional\nDescription: {DAEMON_TEXT}\n"
            " ketukd listens for knocks and opens doors in nftables sets; ketuk knocks.\n"
        )
        scripts = [(name, (ROOT / "packaging/debian" / name).read_bytes()) for name in ("postinst", "prerm", "postrm")]
        files = [
            ("/DEBIAN/conffiles", b"/etc/config/ketuk\n", 0o644),
            ("/DEBIAN/control", fields.encode(), 0o644),
            *((f"/DEBIAN/{name}", text, 0o755) for name, text in scripts),
        ]
        stage(files, staged, time)
        build = ["dpkg-deb", "-Zxz", "--root-owner-group", "--build", directory, str(path)]
        env = {**os.environ, "SOURCE_DATE_EPOCH": str(time)}
        subprocess.run(build, check=True, env=env, stdout=subprocess.DEVNULL)
    return path


def native(binaries, out, time):
    """The deb for this machine, and for machines whose C library is not older."""
    text = b"".join((binaries / name).read_bytes() for name in ("ketukd", "ketuk", "ketuk-import"))
    versions = [tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBC_([0-9.]*[0-9])", text)]
    depends = ["adduser"]
    if versions:
        depends += [f"libc6 (>= {'.'.join(map(str, max(versions)))})", "libgcc-s1"]
    arch = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()
    return deb(arch, binaries, out, time, depends)


def stage(files, directory, time):
    """Writes files with their modes and one time."""
    for path, content, mode in files:
        to = directory / path.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, PurePosixPath):
            to.symlink_to(content)
        else:
            to.write_bytes(content)
            to.chmod(mode)
    for path in [directory, *directory.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
        os.utime(path, (time, time), follow_symlinks=False)


def has_apk():
    """Whether there is an apk of version 3."""
    if not shutil.which("apk"):
        return False
    said = subprocess.run(["apk", "--version"], capture_output=True, text=True, check=False).stdout
    return said.startswith("apk-tools 3")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, default=ROOT / "target/cross", help="cargo's target directory")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where the packages go")
    parser.add_argument("--arch", action="append", help="only this of OpenWrt's architectures; may be repeated")
    parser.add_argument("--built", action="store_true", help="only for the targets whose programs are built")
    parser.add_argument("--native", type=Path, help="make a deb for this machine alone, of the programs in this directory")
    parser.add_argument("kinds", nargs="*", choices=[[], "ipk", "apk", "deb"])
    options = parser.parse_args()
    kinds = options.kinds or ["ipk", "apk", "deb"]
    time = commit_time()

    def is_wanted(target):
        return not options.built or (options.bin / target / "router/ketukd").exists()

    openwrt = {
        arch: target
        for arch, target in OPENWRT.items()
        if (not options.arch or arch in options.arch) and is_wanted(target)
    }
    options.out.mkdir(parents=True, exist_ok=True)
    if options.native:
        print(native(options.native, options.out, time))
        return

    def directory(target):
        found = options.bin / target / "router"
        if not (found / "ketukd").exists():
            sys.exit(f"pack.py: {found}/ketukd is not there: scripts/cross.sh {target} builds it")
        return found

    def make(build, any_arch):
        for arch, target in openwrt.items():
            for package in (KETUKD, KETUK, KETUK_IMPORT):
                print(build(package, arch, directory(target), options.out, time))
        for package in (LUCI, *TRANSLATIONS):
            print(build(package, any_arch, None, options.out, time))

    if "ipk" in kinds:
        make(ipk, "all")
    if "apk" in kinds and has_apk():
        make(apk, "noarch")
    elif "apk" in kinds:
        message = "pack.py: no .apk: apk-tools 3 is not installed here (it is on OpenWrt 25.12 and Alpine 3.23)"
        if "apk" in options.kinds:
            sys.exit(message)
        print(message, file=sys.stderr)
    if "deb" in kinds:
        for arch, target in DEBIAN.items():
            if not is_wanted(target):
                continue
            print(deb(arch, directory(target), options.out, time, ["adduser"]))


if __name__ == "__main__":
    main()
