"""The feed's Makefiles say the same as the packaging tool."""

import re
import unittest

import support
import test_packages

# In packaging/, which test_packages has put on the path.
import contents

pack = test_packages.pack


class Feed(unittest.TestCase):
    def setUp(self):
        self.makefiles = {name: (support.ROOT / f"openwrt/{name}/Makefile").read_text() for name in ("ketukd", "ketuk", "luci-app-ketuk")}

    def test_versions(self):
        for name, text in self.makefiles.items():
            self.assertIn(f"PKG_VERSION:={pack.version()}\n", text, name)
            self.assertIn(f"PKG_RELEASE:={pack.RELEASE}\n", text, name)

    def test_the_same_files(self):
        """With the same modes: INSTALL_BIN is 0755, INSTALL_DATA 0644, INSTALL_CONF 0600."""
        modes = {"BIN": 0o755, "DATA": 0o644, "CONF": 0o600}
        lines = re.findall(r"\$\(INSTALL_(BIN|DATA|CONF)\) (\S+) \$\(1\)(\S+)", self.makefiles["ketukd"])
        installed = {}
        for kind, source, path in lines:
            source = source.replace("../../", "").replace("../files", "openwrt/files").replace("$(PKG_INSTALL_DIR)/bin", "BIN")
            installed[path] = (source, modes[kind])
        self.assertEqual(installed, pack.DAEMON)

    def test_the_same_scripts_and_user(self):
        text = self.makefiles["ketukd"]
        for name in ("postinst", "prerm"):
            [script] = re.findall(rf"define Package/ketukd/{name}\n(.*?)endef", text, re.S)
            self.assertEqual(script.replace("$$", "$"), (support.ROOT / "openwrt/files" / name).read_text())
        [conffiles] = re.findall(r"define Package/ketukd/conffiles\n(.*?)endef", text, re.S)
        self.assertEqual(conffiles.split(), pack.KETUKD.conffiles)
        self.assertIn(f"USERID:={pack.KETUKD.user}\n", text)

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
