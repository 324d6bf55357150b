"""The feed's Makefiles install the same files as the packaging tool packs."""

import json
import os
import re
import unittest

import support
import test_packages

# This module is in packaging/, which test_packages has put on the path.
import contents

pack = test_packages.pack


class Feed(unittest.TestCase):
    def setUp(self):
        self.makefiles = {name: (support.ROOT / f"openwrt/{name}/Makefile").read_text() for name in ("ketuk", "luci-app-ketuk")}

    def test_versions(self):
        for name, text in self.makefiles.items():
            self.assertIn(f"PKG_VERSION:={pack.version()}\n", text, name)
            self.assertIn(f"PKG_RELEASE:={pack.RELEASE}\n", text, name)

    def test_the_same_files(self):
        """The modes are the same: INSTALL_BIN is 0755, INSTALL_DATA 0644, INSTALL_CONF 0600."""
        modes = {"BIN": 0o755, "DATA": 0o644, "CONF": 0o600}
        packages = {"ketukd": contents.DAEMON, "ketuk": contents.CLIENT, "ketuk-import": contents.IMPORT}
        for name, files in packages.items():
            [install] = re.findall(rf"define Package/{name}/install\n(.*?)endef", self.makefiles["ketuk"], re.S)
            installed = {}
            for kind, source, path in re.findall(r"\$\(INSTALL_(BIN|DATA|CONF)\) (\S+) \$\(1\)(\S+)", install):
                source = source.replace("./files", "openwrt/ketuk/files").replace("$(PKG_INSTALL_DIR)/bin", "BIN")
                installed[path] = (source, modes[kind])
            self.assertEqual(installed, files)
            self.assertIn(f"--bin {name}", self.makefiles["ketuk"])

    def test_nothing_lies_there_that_is_not_installed(self):
        """The feed gets the files that a package installs, its scripts, and the files that the feed itself reads."""
        installed = {source for source, _ in contents.DAEMON.values()}
        scripts = {f"openwrt/ketuk/files/{name}" for name in ("postinst", "postrm")}
        own = {"openwrt/ketuk/Makefile", "openwrt/ketuk/test.sh"}
        found = {str(path.relative_to(support.ROOT)) for path in (support.ROOT / "openwrt/ketuk").rglob("*") if path.is_file()}
        self.assertEqual(found, {path for path in installed if path.startswith("openwrt/")} | scripts | own)

    def test_what_the_feeds_ask_of_a_newcomer(self):
        text = self.makefiles["ketuk"]
        for name in ("PKG_MAINTAINER", "PKG_SOURCE", "PKG_SOURCE_URL", "PKG_HASH", "PKG_LICENSE", "PKG_LICENSE_FILES"):
            self.assertRegex(text, rf"(?m)^{name}:=\S", name)
        self.assertRegex(text, r"(?m)^  URL:=\S")
        self.assertIn("include ../../lang/rust/rust-package.mk\n", text)
        self.assertIn("include ../../luci.mk\n", self.makefiles["luci-app-ketuk"])
        for forbidden in ("Build/Compile", "Build/Prepare", "../uci", "feeds/"):
            self.assertNotIn(forbidden, text)
        # rust-package.mk sets this variable anew.
        self.assertLess(text.index("rust-package.mk"), text.index("CARGO_PKG_ARGS+="))

    def test_the_profile_is_the_crates_own_in_the_feeds_environment(self):
        """The feed's rust-values.mk sets these values for the profile release, from which other profiles inherit."""
        [profile] = re.findall(r"(?m)^CARGO_PKG_PROFILE:=(.*)$", self.makefiles["ketuk"])
        env = {**os.environ, "RUSTC_BOOTSTRAP": "1"}
        env |= {"CARGO_PROFILE_RELEASE_PANIC": "unwind", "CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS": "true"}
        options = ["-Z", "unstable-options", "--unit-graph", "--profile", profile, "--bin", "ketukd"]
        done = support.run(support.ROOT / "scripts/cargo.sh", "build", *options, cwd=support.ROOT, env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        [program] = [unit["profile"] for unit in json.loads(done.stdout)["units"] if unit["target"]["name"] == "ketukd"]
        self.assertEqual((program["panic"], program["overflow_checks"]), ("abort", False))

    def test_the_walk_on_a_router_installs_what_the_page_depends_on(self):
        """A person copies these packages to the router, because no feed has them yet."""
        version = f"{pack.version()}-r{pack.RELEASE}"
        for document in ("docs/router.md", "docs/id/router.md"):
            text = (support.ROOT / document).read_text(encoding="utf-8")
            for name in {"ketukd", "ketuk-import"} & set(pack.LUCI.depends):
                self.assertIn(f"dist/{name}_{version}_mipsel_24kc.ipk", text)
                self.assertIn(f"dist/{name}-{version}.mipsel_24kc.apk", text)
                self.assertRegex(text, rf"(?m)^opkg remove .*\b{name}\b")

    def test_the_feeds_own_test_of_the_packages(self):
        """test.sh gets a package's name, after its installation."""
        router = support.Router((support.ROOT / "openwrt/ketuk/files/ketuk.config").read_bytes())
        self.addCleanup(router.end)
        router.put_program("usr/bin/ketuk", support.binary("ketuk"))
        router.put_program("usr/sbin/ketuk-import", support.binary("ketuk-import"))
        router.put("test.sh", (support.ROOT / "openwrt/ketuk/test.sh").read_bytes())
        for name in ("ketukd", "ketuk", "ketuk-import"):
            for version, code in ((pack.version(), 0), ("9.9.9", 1)):
                env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PKG_NAME": name, "PKG_VERSION": version}
                done = support.run("chroot", router.root, "/bin/sh", "/test.sh", name, version, env=env)
                self.assertEqual(done.returncode, code, f"{name} {version}: {done.stdout}{done.stderr}")

    def test_the_same_scripts_and_user(self):
        text = self.makefiles["ketuk"]
        for name in ("postinst", "postrm"):
            [script] = re.findall(rf"define Package/ketukd/{name}\n(.*?)endef", text, re.S)
            self.assertEqual(script.replace("$$", "$"), (support.ROOT / "openwrt/ketuk/files" / name).read_text())
        [conffiles] = re.findall(r"define Package/ketukd/conffiles\n(.*?)endef", text, re.S)
        self.assertEqual(conffiles.split(), pack.KETUKD.conffiles)
        self.assertIn(f"USERID:={pack.KETUKD.user}\n", text)

    def test_the_same_scripts_of_the_page(self):
        for package in (pack.LUCI, *pack.TRANSLATIONS):
            [script] = re.findall(rf"define Package/{package.name}/postrm\n#!/bin/sh\n(.*?)endef", self.makefiles["luci-app-ketuk"], re.S)
            self.assertEqual(script.replace("$$", "$"), package.scripts["postrm"])

    def test_the_same_page(self):
        text = self.makefiles["luci-app-ketuk"]
        [depends] = re.findall(r"^LUCI_DEPENDS:=(.*)$", text, re.M)
        self.assertEqual(depends.split(), [f"+{name}" for name in pack.LUCI.depends])
        self.assertIn(f"LUCI_TITLE:={pack.LUCI.text}\n", text)
        self.assertEqual(dict(re.findall(r"^LUCI_LANG\.(\w+)=(.*)$", text, re.M)), contents.LANGUAGES)
        # luci.mk makes a package of every directory in po/.
        translated = {path.name for path in (support.ROOT / "openwrt/luci-app-ketuk/po").iterdir()}
        self.assertEqual(translated - {"templates"}, set(contents.LANGUAGES))


if __name__ == "__main__":
    unittest.main()
