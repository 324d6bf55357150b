"""The packages, read back by programs that did not write them: GNU tar, gzip, bsdtar, dpkg-deb."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("pack", ROOT / "packaging/pack.py")
pack = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
# pack.py has put its directory on the path.
import lmo

# Any time and any bytes are right here: these tests do not look into the programs.
TIME = 1_700_000_000
TARGETS = sorted({*pack.OPENWRT.values(), *pack.DEBIAN.values()})

# Called with: mkpkg --files DIRECTORY --output PACKAGE --root DIRECTORY ...
APK = """#!/bin/sh
[ "$1" = mkpkg ] || { echo apk-tools 3.0.0; exit 0; }
tar -cf "$5" -C "$3" .
printf '%s\\n' "$@" >"$5.told"
for word; do
	case "$word" in post-*:*) cp "${word#*:}" "$5.${word%%:*}";; esac
done
cp "$7/etc/passwd" "$5.passwd"
cp "$7/etc/group" "$5.group"
"""

# The part of OpenWrt's script that a package's scripts call when apk runs them.
FUNCTIONS = """add_group_and_user() { :; }
default_postinst() { /etc/init.d/ketuk start; }
"""


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, **options).stdout


# The files that `make page` builds.
PAGE = ["knock-192.png", "knock-512.png", "knock-worker.js", "knock.html", "knock.webmanifest"]


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        base = Path(cls.directory.name)
        for target in TARGETS:
            (base / "bin" / target / "router").mkdir(parents=True)
            for name in ("ketukd", "ketuk", "ketuk-import"):
                (base / "bin" / target / "router" / name).write_bytes(f"{name} for {target}\n".encode() * 99)
        cls.out = cls.make(base, base / "one")
        cls.base = base

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    @staticmethod
    def make(base, out, umask=0o022):
        command = [sys.executable, ROOT / "packaging/pack.py", "--bin", base / "bin", "--out", out, "ipk", "deb"]
        before = os.umask(umask)
        try:
            run(*command, env={**os.environ, "SOURCE_DATE_EPOCH": str(TIME)})
        finally:
            os.umask(before)
        return out

    def ipk(self, package, arch, out=None):
        [path] = (out or self.out).glob(f"{package}_*_{arch}.ipk")
        return path

    def unpack(self, path):
        """The three members of the archive, read by GNU tar."""
        to = Path(tempfile.mkdtemp(dir=self.base))
        run("tar", "-xzf", path, "-C", to)
        return to

    def test_a_package_for_each_architecture(self):
        names = sorted(path.name for path in self.out.iterdir())
        version = pack.version()
        ipks = [f"{name}_{version}-r1_{arch}.ipk" for name in ("ketuk", "ketukd", "ketuk-import") for arch in pack.OPENWRT]
        ipks += [f"{name}_{version}-r1_all.ipk" for name in ("luci-app-ketuk", "luci-i18n-ketuk-id")]
        debs = [f"ketuk_{version}-1_{arch}.deb" for arch in ("amd64", "arm64", "armhf")]
        self.assertEqual(names, sorted(ipks + debs))

    def test_only_what_is_built(self):
        some = self.base / "some"
        shutil.copytree(self.base / "bin/mipsel-unknown-linux-musl", some / "mipsel-unknown-linux-musl")
        command = [sys.executable, ROOT / "packaging/pack.py", "--bin", some, "--out", self.base / "some-dist", "ipk", "deb"]
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertIn("scripts/cross.sh mips-unknown-linux-musl builds it", refused.stderr)
        run(*command, "--built")
        names = {path.name.split("-r1_")[-1] for path in (self.base / "some-dist").iterdir()}
        self.assertEqual(names, {"mipsel_24kc.ipk", "all.ipk"})

    def test_the_outer_archive(self):
        path = self.ipk("ketukd", "mipsel_24kc")
        # The magic number, deflate, no flags (so no name and nothing else), no time.
        self.assertEqual(path.read_bytes()[:8], b"\x1f\x8b\x08\0\0\0\0\0")
        listing = run("tar", "--numeric-owner", "--utc", "-tvzf", path, text=True).splitlines()
        self.assertEqual([line.split()[-1] for line in listing], ["./debian-binary", "./data.tar.gz", "./control.tar.gz"])
        for line in listing:
            self.assertTrue(line.startswith("-rw-r--r-- 0/0 "), line)
            self.assertIn(" 2023-11-14 22:13 ", line)
        self.assertEqual((self.unpack(path) / "debian-binary").read_text(), "2.0\n")

    def test_what_the_daemon_installs(self):
        data = self.unpack(self.ipk("ketukd", "mips_24kc")) / "data.tar.gz"
        self.assertEqual(data.read_bytes()[:8], b"\x1f\x8b\x08\0\0\0\0\0")
        # bsdtar is another reader than GNU tar.
        listing = run("bsdtar", "--numeric-owner", "-tvzf", data, text=True).splitlines()
        entries = [(line.split()[0], line.split()[2:4], line.split()[-1]) for line in listing]
        self.assertEqual(
            [(mode, name) for mode, _, name in entries],
            [
                ("drwxr-xr-x", "./"),
                ("drwxr-xr-x", "./etc/"),
                ("drwxr-xr-x", "./etc/capabilities/"),
                ("-rw-r--r--", "./etc/capabilities/ketuk.json"),
                ("drwxr-xr-x", "./etc/config/"),
                ("-rw-------", "./etc/config/ketuk"),
                ("drwxr-xr-x", "./etc/init.d/"),
                ("-rwxr-xr-x", "./etc/init.d/ketuk"),
                ("drwxr-xr-x", "./etc/uci-defaults/"),
                ("-rwxr-xr-x", "./etc/uci-defaults/50-ketuk"),
                ("drwxr-xr-x", "./usr/"),
                ("drwxr-xr-x", "./usr/sbin/"),
                ("-rwxr-xr-x", "./usr/sbin/ketukd"),
                ("drwxr-xr-x", "./usr/share/"),
                ("drwxr-xr-x", "./usr/share/ketuk/"),
                ("-rwxr-xr-x", "./usr/share/ketuk/firewall.include"),
            ],
        )
        self.assertEqual({tuple(owner) for _, owner, _ in entries}, {("0", "0")})
        binary = run("tar", "-xzOf", data, "./usr/sbin/ketukd")
        self.assertEqual(binary, b"ketukd for mips-unknown-linux-musl\n" * 99)

    def test_the_client_installs_one_file(self):
        data = self.unpack(self.ipk("ketuk", "x86_64")) / "data.tar.gz"
        names = run("tar", "-tzf", data, text=True).split()
        self.assertEqual(names, ["./", "./usr/", "./usr/bin/", "./usr/bin/ketuk"])

    def test_control(self):
        parts = self.unpack(self.ipk("ketukd", "aarch64_cortex-a53"))
        control = parts / "control.tar.gz"
        listing = run("bsdtar", "-tvzf", control, text=True).splitlines()
        self.assertEqual(
            [(line.split()[0], line.split()[-1]) for line in listing],
            [
                ("drwxr-xr-x", "./"),
                ("-rw-r--r--", "./conffiles"),
                ("-rw-r--r--", "./control"),
                ("-rwxr-xr-x", "./postinst"),
                ("-rwxr-xr-x", "./postinst-pkg"),
                ("-rwxr-xr-x", "./postrm"),
                ("-rwxr-xr-x", "./prerm"),
            ],
        )
        text = run("tar", "-xzOf", control, "./control", text=True)
        fields = dict(line.split(": ", 1) for line in text.splitlines())
        self.assertEqual(fields["Package"], "ketukd")
        self.assertEqual(fields["Version"], f"{pack.version()}-r1")
        self.assertEqual(fields["Architecture"], "aarch64_cortex-a53")
        self.assertEqual(fields["Require-User"], "ketuk:ketuk")
        self.assertEqual(fields["SourceDateEpoch"], str(TIME))
        # ipkg-build takes the length of data.tar.
        size = len(run("gzip", "-dc", parts / "data.tar.gz"))
        self.assertEqual(fields["Installed-Size"], str(size))
        # The program is static. If a package depended on something that a router lacks, opkg would report a wrong architecture.
        self.assertNotIn("Depends", fields)
        self.assertEqual(run("tar", "-xzOf", control, "./conffiles", text=True), "/etc/config/ketuk\n")

    def test_what_the_page_installs(self):
        data = self.unpack(self.ipk("luci-app-ketuk", "all")) / "data.tar.gz"
        listing = run("bsdtar", "--numeric-owner", "-tvzf", data, text=True).splitlines()
        self.assertEqual({tuple(line.split()[2:4]) for line in listing}, {("0", "0")})
        files = [(line.split()[0], line.split(maxsplit=8)[-1]) for line in listing if not line.startswith("d")]
        self.assertEqual(
            files,
            [
                # The link leads into /usr/sbin, by the same path as in the source.
                ("lrwxrwxrwx", "./usr/libexec/rpcd/ketuk -> ../../../usr/sbin/ketukd"),
                ("-rw-r--r--", "./usr/share/luci/menu.d/luci-app-ketuk.json"),
                ("-rw-r--r--", "./usr/share/rpcd/acl.d/luci-app-ketuk.json"),
                ("-rw-r--r--", "./usr/share/ucode/luci/controller/ketuk.uc"),
                ("-rw-r--r--", "./www/ketuk/index.html"),
                ("-rw-r--r--", "./www/luci-static/resources/ketuk/daemon.js"),
                ("-rw-r--r--", "./www/luci-static/resources/ketuk/findings.js"),
                ("-rw-r--r--", "./www/luci-static/resources/ketuk/page.js"),
                ("-rw-r--r--", "./www/luci-static/resources/ketuk/rules.js"),
                ("-rw-r--r--", "./www/luci-static/resources/view/ketuk/doors.js"),
                ("-rw-r--r--", "./www/luci-static/resources/view/ketuk/status.js"),
                ("-rw-r--r--", "./www/luci-static/resources/view/ketuk/users.js"),
                ("-rw-r--r--", "./www/luci-static/resources/view/status/include/75_ketuk.js"),
            ],
        )
        directories = {line.split()[0] for line in listing if line.startswith("d")}
        self.assertEqual(directories, {"drwxr-xr-x"})
        menu = run("tar", "-xzOf", data, "./usr/share/luci/menu.d/luci-app-ketuk.json")
        self.assertEqual(menu, (ROOT / "openwrt/luci-app-ketuk/root/usr/share/luci/menu.d/luci-app-ketuk.json").read_bytes())

    def test_the_page_finds_the_daemon(self):
        """On a router, rpcd's plugin is a link to the daemon, by the daemon's path on the router."""
        root = Path(tempfile.mkdtemp(dir=self.base))
        for package, arch in (("ketukd", "x86_64"), ("luci-app-ketuk", "all")):
            run("bsdtar", "-xf", self.unpack(self.ipk(package, arch)) / "data.tar.gz", "-C", root)
        self.assertEqual((root / "usr/libexec/rpcd/ketuk").resolve(), (root / "usr/sbin/ketukd").resolve())
        self.assertTrue((root / "usr/libexec/rpcd/ketuk").is_file())

    def test_control_of_the_page(self):
        depends = {"luci-app-ketuk": "luci-base, luci-lib-uqr, ketukd, ketuk-import", "luci-i18n-ketuk-id": "luci-app-ketuk"}
        for package, wanted in depends.items():
            control = self.unpack(self.ipk(package, "all")) / "control.tar.gz"
            text = run("tar", "-xzOf", control, "./control", text=True)
            fields = dict(line.split(": ", 1) for line in text.splitlines())
            self.assertEqual(fields["Package"], package)
            self.assertEqual(fields["Architecture"], "all")
            self.assertEqual(fields["Depends"], wanted)
            self.assertEqual(fields["Section"], "luci")
            self.assertEqual(fields["Source"], "feeds/luci/applications/luci-app-ketuk")
            scripts = run("tar", "-tzf", control, text=True).split()
            self.assertEqual("./postinst-pkg" in scripts, package == "luci-app-ketuk")
            self.assertIn("./postrm", scripts)

    def root(self, *directories):
        """A root for a package's script, with these directories and the commands of busybox that the scripts call."""
        root = Path(tempfile.mkdtemp(dir=self.base))
        for directory in ("bin", *directories):
            (root / directory).mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), root / "bin/busybox")
        for applet in ("sh", "cat", "rm"):
            (root / "bin" / applet).symlink_to("busybox")
        return root

    def test_luci_hears_of_the_page(self):
        """The package's own script in a root of its own, with busybox; rpcd's script is a stand-in."""
        control = self.unpack(self.ipk("luci-app-ketuk", "all")) / "control.tar.gz"
        root = self.root("etc/init.d", "tmp/luci-modulecache")
        (root / "postinst").write_bytes(run("tar", "-xzOf", control, "./postinst-pkg"))
        (root / "etc/init.d/rpcd").write_text('#!/bin/sh\necho "$@" >>/tmp/rpcd\n')
        (root / "etc/init.d/rpcd").chmod(0o755)
        (root / "dev").mkdir()
        (root / "dev/null").touch()
        stale = [root / "tmp/luci-indexcache.1.json", root / "tmp/luci-modulecache/1"]
        for path in stale:
            path.touch()
        # In an image that is being built, the script prints nothing.
        run("/usr/sbin/chroot", root, "/bin/sh", "/postinst", env={"PATH": "/bin", "IPKG_INSTROOT": "/image"})
        self.assertTrue(all(path.exists() for path in stale))
        self.assertFalse((root / "tmp/rpcd").exists())
        run("/usr/sbin/chroot", root, "/bin/sh", "/postinst", env={"PATH": "/bin"})
        self.assertFalse(any(path.exists() for path in stale))
        self.assertEqual((root / "tmp/rpcd").read_text(), "reload\n")

    def test_the_translation(self):
        data = self.unpack(self.ipk("luci-i18n-ketuk-id", "all")) / "data.tar.gz"
        listing = run("bsdtar", "-tvzf", data, text=True).splitlines()
        files = [(line.split()[0], line.split()[-1]) for line in listing if not line.startswith("d")]
        tell, catalogue = "./etc/uci-defaults/luci-i18n-ketuk-id", "./usr/lib/lua/luci/i18n/ketuk.id.lmo"
        self.assertEqual(files, [("-rw-r--r--", tell), ("-rw-r--r--", catalogue)])
        self.assertEqual(
            run("tar", "-xzOf", data, tell, text=True),
            "uci set luci.languages.id='Bahasa Indonesia (Indonesian)'; uci commit luci\n",
        )
        po = (ROOT / "openwrt/luci-app-ketuk/po/id/ketuk.po").read_text()
        self.assertEqual(run("tar", "-xzOf", data, catalogue), lmo.compile_po(po))

    def test_the_tars_are_what_gnu_tar_makes(self):
        """The archive is byte for byte the one that tar makes with ipkg-build's options."""
        for package, arch in (("ketukd", "mipsel_24kc"), ("luci-app-ketuk", "all"), ("luci-i18n-ketuk-id", "all")):
            self.as_gnu_tar(self.unpack(self.ipk(package, arch)))

    def as_gnu_tar(self, parts):
        for member in ("data", "control"):
            ours = run("gzip", "-dc", parts / f"{member}.tar.gz")
            tree = Path(tempfile.mkdtemp(dir=self.base))
            run("tar", "-xpf", "-", "-C", tree, input=ours)
            tree.chmod(0o755)
            theirs = run(
                "tar", "--format=gnu", "--numeric-owner", "--owner=0", "--group=0", "--sort=name",
                "-cpf", "-", f"--mtime=@{TIME}", ".", cwd=tree,
            )
            self.assertEqual(ours, theirs, member)

    def test_no_pax_headers(self):
        """opkg would record the package and unpack nothing."""
        for path in self.out.glob("*.ipk"):
            parts = self.unpack(path)
            for member in ("data", "control"):
                self.assertNotIn(b"\x00ustar\x0000", run("gzip", "-dc", parts / f"{member}.tar.gz"))

    def test_a_second_build_is_the_same(self):
        again = self.make(self.base, self.base / "two", umask=0o077)
        digest = lambda out: {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}
        self.assertEqual(digest(self.out), digest(again))

    def test_deb(self):
        [path] = self.out.glob("*_arm64.deb")
        listing = run("dpkg-deb", "-c", path, text=True).splitlines()
        files = {line.split()[-1]: line.split()[:2] for line in listing if line.startswith("-")}
        links = [" ".join(line.split()[-3:]) for line in listing if line.startswith("l")]
        self.assertEqual(
            links,
            [
                "./usr/share/bash-completion/completions/ketukd -> ketuk",
                "./usr/share/fish/vendor_completions.d/ketukd.fish -> ketuk.fish",
            ],
        )
        self.assertEqual({owner for _, owner in files.values()}, {"root/root"})
        modes = {path: mode for path, (mode, _) in files.items()}
        texts = {path: modes.pop(path) for path in list(modes) if path.startswith("./usr/share/doc/ketuk/")}
        self.assertEqual(
            modes,
            {
                "./etc/config/ketuk": "-rw-------",
                "./usr/bin/ketuk": "-rwxr-xr-x",
                "./usr/lib/systemd/system/ketukd.service": "-rw-r--r--",
                "./usr/sbin/ketuk-import": "-rwxr-xr-x",
                "./usr/sbin/ketukd": "-rwxr-xr-x",
                "./usr/share/bash-completion/completions/ketuk": "-rw-r--r--",
                "./usr/share/fish/vendor_completions.d/ketuk.fish": "-rw-r--r--",
                "./usr/share/ketuk/complete": "-rwxr-xr-x",
                "./usr/share/man/man1/ketuk.1.gz": "-rw-r--r--",
                "./usr/share/man/man5/ketuk.5.gz": "-rw-r--r--",
                "./usr/share/man/man8/ketukd.8.gz": "-rw-r--r--",
                "./usr/share/zsh/vendor-completions/_ketuk": "-rw-r--r--",
                **{f"./usr/share/ketuk/page/{name}": "-rw-r--r--" for name in PAGE},
            },
        )
        self.assertEqual(set(texts.values()), {"-rw-r--r--"})
        examples = {f"./usr/share/doc/ketuk/examples/{path.name}" for path in (ROOT / "uci/examples").iterdir()}
        self.assertLess(examples | {"./usr/share/doc/ketuk/copyright", "./usr/share/doc/ketuk/packages.md"}, set(texts))
        copyright = run("sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -xO ./usr/share/doc/ketuk/copyright', "sh", path, text=True)
        # ketuk's licences, and those of the crates, with the notices that must be kept.
        for text in ("Apache License", "The ketuk contributors", "heapless 0.", "subtle 2.", "Redistributions in binary form"):
            self.assertTrue(text in copyright, text)
        # Code that only tests and the compiler need is not in the programs.
        for crate in ("proptest", "serde_derive", "syn"):
            self.assertNotRegex(copyright, rf"(?m)^{crate} [0-9]")
        field = lambda name: run("dpkg-deb", "-f", path, name, text=True).strip()
        self.assertEqual((field("Package"), field("Architecture")), ("ketuk", "arm64"))
        binary = run("sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -xO ./usr/sbin/ketukd', "sh", path)
        self.assertEqual(binary, b"ketukd for aarch64-unknown-linux-musl\n" * 99)

    def test_deb_scripts(self):
        """The scripts' calls of systemctl, which is a stand-in, and the files of the service that are left after a removal."""
        [path] = self.out.glob("*_arm64.deb")
        scripts, tools = Path(tempfile.mkdtemp(dir=self.base)), Path(tempfile.mkdtemp(dir=self.base))
        run("dpkg-deb", "-e", path, scripts)
        for name in ("systemctl", "getent", "chown", "chmod"):
            (tools / name).write_text('#!/bin/sh\necho "${0##*/} $*"\n')
            (tools / name).chmod(0o755)
        machine = (
            "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /etc/systemd && mkdir -p /run/systemd/system /run/ketuk\n"
            "wants=/etc/systemd/system/multi-user.target.wants && mkdir -p $wants && ln -s nowhere $wants/ketukd.service\n"
            'sh "$@" && { [ ! -d /run/ketuk ] || echo /run/ketuk; ls $wants; }'
        )
        env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}

        def call(script, *arguments):
            # The script has a network of its own, because it deletes ketuk's rules from the kernel.
            words = ["unshare", "--mount", "--net", "sh", "-c", machine, "sh", scripts / script, *arguments]
            lines = run(*words, text=True, env=env).splitlines()
            return [line for line in lines if not line.startswith(("getent", "chown", "chmod"))]

        stays = ["/run/ketuk", "ketukd.service"]
        self.assertEqual(call("postinst", "configure", ""), ["systemctl daemon-reload", *stays])
        upgraded = ["systemctl daemon-reload", "systemctl try-restart ketukd.service", *stays]
        self.assertEqual(call("postinst", "configure", "0.0.1-1"), upgraded)
        self.assertEqual(call("prerm", "upgrade", "0.2.0-1"), stays)
        self.assertEqual(call("prerm", "remove"), ["systemctl stop ketukd.service", *stays])
        self.assertEqual(call("postrm", "upgrade", "0.2.0-1"), ["systemctl daemon-reload", *stays])
        self.assertEqual(call("postrm", "remove"), ["systemctl daemon-reload", "ketukd.service"])
        self.assertEqual(call("postrm", "purge"), ["systemctl daemon-reload", "/run/ketuk"])

    def test_a_deb_for_this_machine_needs_its_libraries(self):
        """The package depends on the C library whose symbols the programs use, or a newer one, as with dpkg-shlibdeps."""
        support.binary("ketukd")
        out = self.base / "native"
        run(sys.executable, ROOT / "packaging/pack.py", "--native", ROOT / "target/debug", "--out", out, env=self.env())
        [path] = out.iterdir()
        self.assertEqual(run("dpkg-deb", "-f", path, "Architecture"), run("dpkg", "--print-architecture"))
        symbols = run("objdump", "-T", ROOT / "target/debug/ketukd", ROOT / "target/debug/ketuk", text=True)
        newest = max((tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_([0-9.]+)", symbols)))
        depends = run("dpkg-deb", "-f", path, "Depends", text=True).strip()
        self.assertEqual(depends, f"adduser, libc6 (>= {'.'.join(map(str, newest))}), libgcc-s1")

    def env(self):
        return {**os.environ, "SOURCE_DATE_EPOCH": str(TIME)}

    def test_make_install_and_uninstall(self):
        """The files go to the given directories. An existing configuration stays as it is."""
        binaries = self.base / "bin/x86_64-unknown-linux-musl/router"
        to = Path(tempfile.mkdtemp(dir=self.base))
        make = lambda target: run("make", "-C", ROOT, target, f"DESTDIR={to}", "PREFIX=/opt/ketuk", f"BIN={binaries}", env={**os.environ, "MAKEFLAGS": ""})
        files = lambda: {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()}
        make("install")
        unit = to / "opt/ketuk/lib/systemd/system/ketukd.service"
        self.assertLess({"opt/ketuk/sbin/ketukd", "opt/ketuk/bin/ketuk", "etc/config/ketuk", "opt/ketuk/share/doc/ketuk/examples/ssh.uci"}, files())
        self.assertIn("ExecStart=/opt/ketuk/sbin/ketukd run ", unit.read_text())
        self.assertNotIn("/usr/sbin", unit.read_text())
        (to / "etc/config/ketuk").write_text("mine")
        make("install")
        self.assertEqual((to / "etc/config/ketuk").read_text(), "mine")
        make("uninstall")
        self.assertEqual(files(), {"etc/config/ketuk"})

    def test_the_source_archive_builds(self):
        """The archive builds without git. It uses this tree's target directory, so that the crates need not be built again."""
        to = Path(tempfile.mkdtemp(dir=self.base))
        run("make", "-C", ROOT, "dist", f"DIST={to}", env={**os.environ, "MAKEFLAGS": ""})
        [archive] = to.iterdir()
        run("tar", "-xzf", archive, "-C", to)
        source = to / f"ketuk-{pack.version()}"
        run(source / "scripts/cargo.sh", "build", "--locked", "--quiet", "--target-dir", ROOT / "target", cwd=source)
        programs = to / "programs"
        programs.mkdir()
        for name in ("ketukd", "ketuk", "ketuk-import"):
            shutil.copy(ROOT / "target/debug" / name, programs)
        env = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
        run(sys.executable, source / "packaging/pack.py", "--native", programs, "--out", to / "dist", env=env)
        [package] = (to / "dist").iterdir()
        time = run("git", "-C", ROOT, "log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%d %H:%M", text=True, env={**env, "TZ": "UTC"})
        self.assertIn(time.strip(), run("dpkg-deb", "-c", package, text=True, env={**env, "TZ": "UTC"}))

    def apks(self, out, path="", user=()):
        """The packages for x86-64 and for all architectures, made by the apk in `path`."""
        command = [*user, sys.executable, ROOT / "packaging/pack.py", "--bin", self.base / "bin", "--out", out, "--arch", "x86_64", "apk"]
        run(*command, env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "SOURCE_DATE_EPOCH": str(TIME)})
        return out

    def told_apks(self):
        """The packages of a stand-in for apk-tools. It writes down how it was called, and packs the files into a tar."""
        path = Path(tempfile.mkdtemp(dir=self.base))
        (path / "apk").write_text(APK)
        (path / "apk").chmod(0o755)
        return self.apks(path / "out", path)

    def test_what_apk_tools_is_told(self):
        out = self.told_apks()
        version = f"{pack.version()}-r1"
        wanted = {"ketuk": "x86_64", "ketukd": "x86_64", "ketuk-import": "x86_64", "luci-app-ketuk": "noarch", "luci-i18n-ketuk-id": "noarch"}
        packages = {name: out / f"{name}-{version}.{arch}.apk" for name, arch in wanted.items()}
        self.assertEqual(sorted(out.glob("*.apk")), sorted(packages.values()))
        for name, package in packages.items():
            told = Path(f"{package}.told").read_text().splitlines()
            self.assertIn(f"name:{name}", told)
            self.assertIn(f"arch:{wanted[name]}", told)
            self.assertEqual([line for line in told if line.startswith("depends:")], {
                "luci-app-ketuk": ["depends:luci-base luci-lib-uqr ketukd ketuk-import"],
                "luci-i18n-ketuk-id": ["depends:luci-app-ketuk"],
                "ketuk-import": ["depends:ketukd"],
            }.get(name, []))
            listing = run("bsdtar", "-tvf", package, text=True).splitlines()
            files = [line.split(maxsplit=8)[-1] for line in listing if not line.startswith("d")]
            listed = run("tar", "-xOf", package, f"./lib/apk/packages/{name}.list", text=True).split()
            self.assertEqual(sorted(f".{path}" for path in listed), sorted(
                file.split(" -> ")[0] for file in files if not file.startswith("./lib/apk/")
            ))
            self.assertEqual("./usr/libexec/rpcd/ketuk -> ../../../usr/sbin/ketukd" in files, name == "luci-app-ketuk")
            script = Path(f"{package}.post-install").read_text()
            self.assertTrue(script.startswith("#!/bin/sh\n[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0\n"))
            self.assertEqual("/etc/init.d/rpcd reload" in script, name == "luci-app-ketuk")

    def test_an_apk_tells_sysupgrade_what_has_been_edited(self):
        [path] = self.told_apks().glob("ketukd-*.apk")
        sums = run("tar", "-xOf", path, "./lib/apk/packages/ketukd.conffiles_static", text=True)
        digest = hashlib.sha256((ROOT / "openwrt/ketuk/files/ketuk.config").read_bytes()).hexdigest()
        self.assertEqual(sums, f"/etc/config/ketuk {digest}\n")

    def test_an_apk_belongs_to_root(self):
        """The package is the same for every user who packs it: apk takes the names of owners and groups from the given root."""
        [path] = self.told_apks().glob("ketukd-*.apk")
        self.assertEqual(Path(f"{path}.passwd").read_text(), f"root:x:{os.getuid()}:{os.getgid()}:::\n")
        self.assertEqual(Path(f"{path}.group").read_text(), f"root:x:{os.getgid()}:\n")

    @unittest.skipUnless(pack.has_apk(), "apk-tools 3 is not installed")
    def test_a_real_apk(self):
        """apk-tools reads the packages back. Another user makes the same packages."""
        shared = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, shared)
        shared.chmod(0o777)
        self.base.chmod(0o755)
        ours = self.apks(self.base / "real")
        theirs = self.apks(shared / "out", user=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        for path in ours.iterdir():
            dump = run("apk", "adbdump", path, text=True)
            owners = {line.split(":")[1].strip() for line in dump.splitlines() if line.strip().startswith(("user:", "group:"))}
            self.assertEqual(owners, {"root"}, path)
            self.assertEqual(path.read_bytes(), (theirs / path.name).read_bytes(), path)

    def test_an_upgrade_restarts_the_daemon(self):
        """At an upgrade apk does not stop the service, and procd's start leaves the old program running. An installation starts it
        once."""
        [path] = self.told_apks().glob("ketukd-*.apk")
        root = self.root("etc/init.d", "lib")
        (root / "lib/functions.sh").write_text(FUNCTIONS)
        (root / "etc/init.d/ketuk").write_text('#!/bin/sh\necho "$@" >>/called\n')
        (root / "etc/init.d/ketuk").chmod(0o755)
        for script, calls in (("post-install", "start\n"), ("post-upgrade", "start\nrestart\n")):
            shutil.copy(f"{path}.{script}", root / "script")
            run("/usr/sbin/chroot", root, "/bin/sh", "/script", env={"PATH": "/bin"})
            self.assertEqual((root / "called").read_text(), calls, script)
            (root / "called").unlink()

    def test_an_explicit_apk_without_apk_tools_fails_and_says_so(self):
        command = [sys.executable, ROOT / "packaging/pack.py", "--bin", self.base / "bin", "--out", self.base / "apk", "apk"]
        path = Path(tempfile.mkdtemp(dir=self.base))
        for program in ("git", "dpkg-deb"):
            (path / program).symlink_to(f"/usr/bin/{program}")
        done = subprocess.run(command, env={"PATH": str(path), "SOURCE_DATE_EPOCH": "1"}, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("apk-tools 3 is not installed", done.stderr)


if __name__ == "__main__":
    unittest.main()
