"""The ruleset that fw4 makes of the service's data (fw4.nft), loaded into a namespace, and a daemon that opens its
doors: through everything that fw4 does to its table."""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support
from support import Namespace, within

RULESET = support.HERE / "fw4.nft"
# The door's open_time in ketuk.uci, in seconds.
OPEN_TIME = 20

# connect ADDRESS PORT SOURCE
CONNECT = """
import socket, sys
address, port, source = sys.argv[1:]
try:
    with socket.create_connection((address, int(port)), 1, (source, 0) if source else None) as stream:
        stream.sendall(b"GET /no-such-file HTTP/1.0\\r\\n\\r\\n")
        print("in" if b" 404 " in stream.recv(100) else "else", end="")
except OSError as error:
    print(error, end="")
"""


class Survival(unittest.TestCase):
    def setUp(self):
        self.router, self.outside, self.host = Namespace(), Namespace(), Namespace()
        for space in (self.host, self.outside, self.router):
            self.addCleanup(space.end)
        self.router.link("wan0", self.outside, "eth0")
        self.router.link("br-lan", self.host, "eth0")
        for space, device, *addresses in (
            (self.router, "wan0", "203.0.113.1/24", "2001:db8:1::1/64"),
            (self.outside, "eth0", "203.0.113.2/24", "203.0.113.3/24", "2001:db8:1::2/64"),
            (self.router, "br-lan", "192.168.1.1/24", "fd00:1::1/64"),
            (self.host, "eth0", "192.168.1.2/24", "fd00:1::2/64"),
        ):
            for address in addresses:
                space("ip", "addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        self.outside("ip", "-6", "route", "add", "default", "via", "2001:db8:1::1")
        self.host("ip", "route", "add", "default", "via", "192.168.1.1")
        self.host("ip", "-6", "route", "add", "default", "via", "fd00:1::1")
        self.serve(self.router, 22)
        self.serve(self.host, 443)
        self.load()
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.start_daemon()

    def serve(self, space, port):
        space.start("busybox", "httpd", "-f", "-p", f"[::]:{port}", "-h", support.HERE)
        self.assertTrue(within(10, lambda: f":{port} " in space("ss", "-Hltn")), "the service does not start")

    def start_daemon(self):
        self.socket = Path(self.directory.name, "socket")
        arguments = ["--config", support.HERE / "ketuk.uci", "--device", "wan0", "--socket", self.socket]
        self.daemon = self.router.start(support.binary("ketukd"), "run", *arguments, stderr=subprocess.DEVNULL)
        self.assertTrue(within(10, self.socket.exists), "the daemon does not start")

    def load(self):
        """Loads the text that fw4's start, reload and restart load."""
        self.router("nft", "-f", RULESET)

    def knock(self, address, *ports):
        self.outside(support.binary("ketuk"), address, *ports)

    def left(self, name):
        """The seconds that are left for each address in a set."""
        listing = support.run(*self.router.enter("nft", "list", "set", "inet", "fw4", name)).stdout
        found = re.findall(r"([0-9a-f.:]+) timeout (?:\S+ )?expires (?:(\d+)s)?(?:(\d+)ms)?", listing)
        return {address: int(seconds or 0) + int(ms or 0) / 1000 for address, seconds, ms in found}

    def enters(self, address, port, source=None):
        """Whether a connection gets in."""
        done = support.run(*self.outside.enter(sys.executable, "-c", CONNECT, address, port, source or ""))
        return done.stdout == "in"

    def open(self):
        self.knock("203.0.113.1", "7000", "8000:udp", "9000")
        self.assertTrue(within(5, lambda: "203.0.113.2" in self.left("ketuk_ssh_4")), "the knock does not open")

    def assert_survives(self, disturb, seconds=2):
        """The door is open before and after, with its remaining time."""
        self.open()
        # After this time a remaining time differs from a new one.
        self.assertTrue(within(5, lambda: self.left("ketuk_ssh_4")["203.0.113.2"] < OPEN_TIME - 2))
        before = self.left("ketuk_ssh_4")["203.0.113.2"]
        disturb()
        self.assertTrue(within(seconds, lambda: "203.0.113.2" in self.left("ketuk_ssh_4")), "not restored")
        after = self.left("ketuk_ssh_4")["203.0.113.2"]
        self.assertLessEqual(after, before)
        self.assertGreater(after, before - 8)
        self.assertTrue(self.enters("203.0.113.1", 22))

    def test_a_knock_opens_for_one(self):
        self.assertFalse(self.enters("203.0.113.1", 22))
        self.open()
        self.assertTrue(self.enters("203.0.113.1", 22))
        self.assertTrue(self.enters("203.0.113.1", 22, source="203.0.113.2"))
        self.assertFalse(self.enters("203.0.113.1", 22, source="203.0.113.3"))
        self.assertFalse(self.enters("2001:db8:1::1", 22))
        self.knock("2001:db8:1::1", "7000", "8000:udp", "9000")
        self.assertTrue(within(5, lambda: self.left("ketuk_ssh_6")))
        self.assertTrue(self.enters("2001:db8:1::1", 22))

    def test_a_forward_opens_for_one(self):
        self.assertFalse(self.enters("203.0.113.1", 8443))
        self.assertFalse(self.enters("fd00:1::2", 443))
        self.knock("203.0.113.1", "7100", "7200")
        self.knock("2001:db8:1::1", "7100", "7200")
        self.assertTrue(within(5, lambda: self.left("ketuk_nas_4") and self.left("ketuk_nas_6")))
        self.assertTrue(self.enters("203.0.113.1", 8443))
        self.assertTrue(self.enters("fd00:1::2", 443))
        self.assertFalse(self.enters("203.0.113.1", 8443, source="203.0.113.3"))

    def test_reload(self):
        """One transaction: every rule goes and comes, sets and elements stay."""
        self.assert_survives(self.load, seconds=0)

    def test_restart(self):
        """The table is deleted, and added some 80 ms later."""

        def restart():
            self.router("nft", "delete", "table", "inet", "fw4")
            self.load()

        self.assert_survives(restart)

    def test_stop_and_start(self):
        """No table at all for longer than the daemon waits between two attempts."""

        def stop_and_start():
            self.router("nft", "flush", "ruleset")
            self.assertFalse(within(1.5, lambda: "fw4" in self.router("nft", "list", "tables")))
            self.load()

        self.assert_survives(stop_and_start)

    def test_the_daemon_dies(self):
        """procd starts the next daemon, which adopts the open doors."""

        def crash():
            self.daemon.send_signal(signal.SIGKILL)
            self.daemon.wait()
            self.start_daemon()

        self.assert_survives(crash, seconds=0)
        # A stop shuts the door, so the daemon has adopted it.
        self.daemon.terminate()
        self.daemon.wait()
        self.assertEqual(self.left("ketuk_ssh_4"), {})

    def test_a_reload_of_the_configuration(self):
        def reload():
            self.router(support.binary("ketukd"), "reload", "--socket", self.socket)

        self.assert_survives(reload, seconds=0)

    def test_the_wan_reconnects_under_another_index(self):
        """The device goes, and another one with its name comes, as with pppoe-wan."""

        def reconnect():
            self.router("ip", "link", "delete", "wan0")
            self.router.link("wan0", self.outside, "eth0")
            for space, device, *addresses in (
                (self.router, "wan0", "203.0.113.1/24"),
                (self.outside, "eth0", "203.0.113.2/24"),
            ):
                space("ip", "addr", "add", *addresses, "dev", device)
            # fw4 reloads at each ifup.
            self.load()

        self.assert_survives(reconnect, seconds=0)
        self.outside("ip", "addr", "del", "203.0.113.2/24", "dev", "eth0")
        self.outside("ip", "addr", "add", "203.0.113.4/24", "dev", "eth0")
        self.assertTrue(within(5, self.knock_as_another), "knocks are not heard any more")

    def knock_as_another(self):
        self.knock("203.0.113.1", "7000", "8000:udp", "9000")
        return within(1, lambda: "203.0.113.4" in self.left("ketuk_ssh_4"))


class Removal(unittest.TestCase):
    def test_nothing_stays_in_the_firewall(self):
        router, root = Namespace(), support.Router(b"")
        self.addCleanup(router.end)
        self.addCleanup(root.end)
        root.put_program("usr/sbin/nft", shutil.which("nft"))
        sets = [f"set {name} {{ type ipv4_addr; flags timeout; }}" for name in ("ketuk_ssh_4", "ketuk_a_6", "others")]
        for table in ("inet ketuk", "inet fw4", "ip theirs"):
            router("nft", "-f", "-", input="\n".join([f"table {table} {{", *sets, "}", ""]))
        root.remove(router)
        theirs = ["set ketuk_ssh_4", "set ketuk_a_6", "set others"]
        left = re.findall(r"(?:table|set) [^{]+(?= {)", router("nft", "list", "ruleset"))
        self.assertEqual(left, ["table inet fw4", "set others", "table ip theirs", *theirs])


if __name__ == "__main__":
    unittest.main()
