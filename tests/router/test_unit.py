"""The systemd unit allows everything that the daemon does. systemd's own tool lists the calls that the unit allows, and strace
lists the calls of the daemon and its commands."""

import re
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

import support
from support import within

UNIT = support.ROOT / "packaging/ketukd.service"

CONFIG = """
config globals 'globals'
	option backend 'nft'
	option nft_table 'inet filter'

config door 'ssh'
	list sequence '7000'
	list sequence '9000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '2'
	option close 'session'
	option kill 'on'

config user 'alice'
	option key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='
	list door 'ssh'
"""

TABLE = """
table inet filter {
	chain input { type filter hook input priority filter; policy drop; ct state established accept; }
}
"""


def setting(name):
    """The values that the unit gives a setting, in their order."""
    return [value for key, _, value in (line.partition("=") for line in UNIT.read_text().splitlines()) if key == name]


def group(name):
    """The system calls of one of systemd's groups."""
    done = support.run("systemd-analyze", "syscall-filter", name)
    assert done.returncode == 0, done.stderr
    words = [line.strip() for line in done.stdout.splitlines()[1:]]
    names = [word for word in words if word and not word.startswith("#")]
    return set().union(*(group(word) if word.startswith("@") else {word} for word in names))


def allowed():
    """The system calls that the unit allows (systemd.exec(5)): a list, changed by later lines."""
    calls = group("@default")
    for value in setting("SystemCallFilter"):
        for word in value.lstrip("~").split():
            named = group(word) if word.startswith("@") else {word}
            calls = calls - named if value.startswith("~") else calls | named
    return calls - (group("@clock") if setting("ProtectClock") == ["yes"] else set())


class Unit(unittest.TestCase):
    def test_systemd_understands_it(self):
        with tempfile.TemporaryDirectory() as directory:
            for original in (UNIT, *sorted((support.ROOT / "packaging/fleet").glob("*.service"))):
                unit = Path(directory, original.name)
                # The programs are not in the package's place.
                unit.write_text(re.sub("/usr/sbin/ketuk(d|-fleet)", "/bin/true", original.read_text()))
                done = support.run("systemd-analyze", "--man=no", "verify", unit)
                self.assertEqual((original.name, done.returncode, done.stdout + done.stderr), (original.name, 0, ""))

    def test_it_names_the_packages_manual_pages(self):
        pages = setting("Documentation")[0].split()
        self.assertIn("man:ketukd(8)", pages)
        for page in pages:
            self.assertIn(f'"{page.removeprefix("man:")}":', (support.ROOT / "packaging/man.py").read_text())

    def test_nothing_that_the_daemon_does_is_forbidden(self):
        router, outside = support.wan(self)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        config, socket, calls, groups = (Path(directory.name, name) for name in ("ketuk", "socket", "calls", "group"))
        config.write_text(CONFIG)
        config.chmod(0o600)
        # The group has the same form as the package's. The control socket belongs to this group.
        groups.write_text("root:x:0:\nketuk:x:453:\n")
        ketukd = support.binary("ketukd")
        rules = router(ketukd, "ruleset", "--config", config, "--zone", "none")
        router("nft", "-f", "-", input=TABLE + rules)
        bind = f'mount --bind {groups} /etc/group && exec "$@"'
        run = [ketukd, "run", "--config", config, "--device", "wan0", "--socket", socket]
        trace = ["strace", "-f", "-qq", "-o", calls]
        strace = router.start("unshare", "--mount", "sh", "-c", bind, "sh", *trace, *run, stderr=subprocess.DEVNULL)
        status = lambda: support.run(ketukd, "status", "--socket", socket)
        self.assertTrue(within(20, lambda: status().returncode == 0), "the daemon does not start")
        self.assertEqual(socket.stat().st_gid, 453)
        outside(support.binary("ketuk"), "203.0.113.1", "7000", "9000")
        elements = lambda: "elements" in router("nft", "list", "table", "inet", "filter")
        self.assertTrue(within(10, elements), "the knock does not open")
        self.assertTrue(within(20, lambda: not elements()), "not shut")
        pid = int(re.match(r"\d+", calls.read_text())[0])
        for number in (signal.SIGHUP, signal.SIGTERM):
            support.run("kill", f"-{number.value}", str(pid))
        self.assertEqual(strace.wait(30), 0)

        lines = calls.read_text().splitlines()
        made = {match[1] for line in lines if (match := re.match(r"\d+ +(\w+)\(", line))}
        self.assertIn("execve", made)
        self.assertTrue(made & {"chown", "fchownat"} and made & {"adjtimex", "clock_adjtime"}, made)
        self.assertEqual(made - allowed(), set())
        families = {match[1] for line in lines if (match := re.search(r" socket\((AF_\w+)", line))}
        self.assertIn("AF_PACKET", families)
        [permitted] = setting("RestrictAddressFamilies")
        self.assertEqual(families - set(permitted.split()), set())


if __name__ == "__main__":
    unittest.main()
