"""Where the firewall is fw3: the real iptables, in the chains that fw3 leaves to others."""

import subprocess
import tempfile
import unittest
from pathlib import Path

import support
from support import Namespace, within

CONFIG = """
config globals 'globals'
	option backend 'iptables'

config door 'ssh'
	list sequence '7000'
	list sequence '9000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '15'
"""


class Fw3(unittest.TestCase):
    def setUp(self):
        self.router, self.outside = Namespace(), Namespace()
        self.addCleanup(self.router.end)
        self.addCleanup(self.outside.end)
        self.router.link("wan0", self.outside, "eth0")
        self.router("ip", "addr", "add", "203.0.113.1/24", "dev", "wan0")
        self.outside("ip", "addr", "add", "203.0.113.2/24", "dev", "eth0")
        self.start_firewall()
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        config, self.socket = Path(self.directory.name, "ketuk"), Path(self.directory.name, "socket")
        config.write_text(CONFIG)
        arguments = ["--config", config, "--device", "wan0", "--socket", self.socket]
        self.router.start(support.binary("ketukd"), "run", *arguments, stderr=subprocess.DEVNULL)
        self.assertTrue(within(10, self.socket.exists), "the daemon does not start")

    def start_firewall(self):
        """What fw3 makes of its zone wan, as far as it matters; it throws away what was there."""
        for program in ("iptables", "ip6tables"):
            for line in (
                "-F", "-X", "-N input_wan_rule", "-N forwarding_wan_rule", "-N zone_wan_input",
                "-A zone_wan_input -j input_wan_rule", "-A zone_wan_input -j REJECT",
                "-A INPUT -i wan0 -j zone_wan_input",
            ):
                self.router(program, "-w", *line.split())

    def rules(self, chain="input_wan_rule"):
        listing = self.router("iptables", "-w", "-S", chain)
        return [line for line in listing.splitlines() if "--comment" in line and "ketuk:ssh" in line]

    def test_a_door_survives_a_restart_of_the_firewall(self):
        self.outside(support.binary("ketuk"), "203.0.113.1", "7000", "9000")
        self.assertTrue(within(5, lambda: len(self.rules()) == 1), "the knock does not open")
        self.assertEqual(self.rules("INPUT"), [])
        [before] = self.rules()
        self.start_firewall()
        self.assertEqual(self.rules(), [])
        # What the include does.
        self.router(support.binary("ketukd"), "reload", "--socket", self.socket)
        self.assertTrue(within(5, lambda: self.rules() == [before]), "not restored")
        # Another reload, of which fw3 makes many, doubles nothing.
        self.router(support.binary("ketukd"), "reload", "--socket", self.socket)
        self.router(support.binary("ketukd"), "close", "ssh", "--socket", self.socket)
        self.assertTrue(within(5, lambda: self.rules() == []), "not shut")


if __name__ == "__main__":
    unittest.main()
