"""The contents of the packages."""

import os
from pathlib import Path, PurePosixPath

import lmo

ROOT = Path(__file__).resolve().parent.parent

# Path on the router: source, mode. BIN stands for the directory of the target's programs.
DAEMON = {
    "/etc/capabilities/ketuk.json": ("openwrt/ketuk/files/ketuk.json", 0o644),
    # Sequences are secrets.
    "/etc/config/ketuk": ("openwrt/ketuk/files/ketuk.config", 0o600),
    "/etc/init.d/ketuk": ("openwrt/ketuk/files/ketuk.init", 0o755),
    "/etc/uci-defaults/50-ketuk": ("openwrt/ketuk/files/ketuk.defaults", 0o755),
    "/usr/sbin/ketukd": ("BIN/ketukd", 0o755),
    "/usr/share/ketuk/firewall.include": ("openwrt/ketuk/files/firewall.include", 0o755),
}
CLIENT = {"/usr/bin/ketuk": ("BIN/ketuk", 0o755)}
IMPORT = {"/usr/sbin/ketuk-import": ("BIN/ketuk-import", 0o755)}

# The router's web page: its directories, and the directories to which luci.mk installs their files.
PAGE = Path("openwrt/luci-app-ketuk")
PAGE_PATHS = {"htdocs": "/www", "root": "", "ucode": "/usr/share/ucode/luci"}
LUCI_FEED = "luci/applications/luci-app-ketuk"
# The same script as luci.mk has for every page.
PAGE_POSTINST = """[ -n "${IPKG_INSTROOT}" ] || {
	rm -f /tmp/luci-indexcache.*
	rm -rf /tmp/luci-modulecache/
	/etc/init.d/rpcd reload 2>/dev/null
	exit 0
}
"""
# The page's translations, and their names in LuCI's list of languages.
LANGUAGES = {"id": "Bahasa Indonesia (Indonesian)"}

DAEMON_TEXT = "Port-knocking daemon: opens a port for a while to clients that knock right"
CLIENT_TEXT = "Client for port knocking: knocks at the ports of a host, in order"
IMPORT_TEXT = "Import of knockd's and fwknop's configuration into ketukd"
PAGE_TEXT = "LuCI support for the port-knocking daemon ketuk"


class Package:
    """A package, independent of its format. `files` are as above; a file may be given by its bytes instead."""

    def __init__(self, name, files, text, conffiles=(), user=None, depends=(), feed="packages/net/ketuk", scripts=None):
        self.name, self.files, self.text = name, files, text
        self.conffiles, self.user, self.depends = conffiles, user, depends
        # The directory in OpenWrt's feeds, and the package's own scripts without the first line.
        self.feed, self.scripts = f"feeds/{feed}", scripts or {}
        self.section = "luci" if feed.startswith("luci/") else "net"

    def read(self, binaries):
        """[(path, content, mode)], sorted by path. The content of a link is the path that it leads to."""
        found = []
        for path, (source, mode) in sorted(self.files.items()):
            if isinstance(source, str):
                source = ROOT / source.replace("BIN", str(binaries), 1)
                source = PurePosixPath(os.readlink(source)) if source.is_symlink() else source.read_bytes()
            found.append((path, source, mode))
        return found


def own_script(name):
    """A script of openwrt/ketuk/files, without its first line."""
    return (ROOT / "openwrt/ketuk/files" / name).read_text().removeprefix("#!/bin/sh\n")


def page_files():
    """The files of the router's web page, as Package has them."""
    found = {}
    for name, to in PAGE_PATHS.items():
        for source in (ROOT / PAGE / name).rglob("*"):
            if source.is_symlink() or source.is_file():
                path = f"{to}/{source.relative_to(ROOT / PAGE / name)}"
                found[path] = (str(source.relative_to(ROOT)), 0o777 if source.is_symlink() else 0o644)
    return found


def translation(language):
    """The package that luci.mk makes of po/LANGUAGE/ketuk.po."""
    name = f"luci-i18n-ketuk-{language}"
    title = LANGUAGES[language]
    compiled = lmo.compile_po((ROOT / PAGE / f"po/{language}/ketuk.po").read_text(encoding="utf-8"))
    tell = f"uci set luci.languages.{language}='{title}'; uci commit luci\n"
    files = {
        f"/etc/uci-defaults/{name}": (tell.encode(), 0o644),
        f"/usr/lib/lua/luci/i18n/ketuk.{language}.lmo": (compiled, 0o644),
    }
    text = f"Translation for luci-app-ketuk - {title}"
    # No other package has this language.
    forget = f'[ -n "${{IPKG_INSTROOT}}" ] || [ "${{PKG_UPGRADE}}" = 1 ] || {{\n\tuci -q delete luci.languages.{language}\n\tuci -q commit luci\n}}\nexit 0\n'
    return Package(name, files, text, depends=["luci-app-ketuk"], feed=LUCI_FEED, scripts={"postrm": forget})


KETUKD_SCRIPTS = {name: own_script(name) for name in ("postinst", "postrm")}
KETUKD = Package("ketukd", DAEMON, DAEMON_TEXT, ["/etc/config/ketuk"], "ketuk:ketuk", scripts=KETUKD_SCRIPTS)
KETUK = Package("ketuk", CLIENT, CLIENT_TEXT)
KETUK_IMPORT = Package("ketuk-import", IMPORT, IMPORT_TEXT, depends=["ketukd"])
LUCI = Package(
    "luci-app-ketuk",
    page_files(),
    PAGE_TEXT,
    depends=["luci-base", "luci-lib-uqr", "ketukd", "ketuk-import"],
    feed=LUCI_FEED,
    # The plugin is gone, so rpcd must reload.
    scripts={"postinst": PAGE_POSTINST, "postrm": PAGE_POSTINST},
)
TRANSLATIONS = [translation(language) for language in LANGUAGES]
