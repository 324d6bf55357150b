"""With fw3 as the firewall: the real iptables, in the chains that fw3 leaves to others."""

import os
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

import support
from support import within

CONFIG = """
config globals 'globals'
	option backend 'iptables'

config door 'ssh'
	list sequence '7000'
	list sequence '9000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '15'

config door 'short'
	list sequence '7001'
	list sequence '9001'
	option proto 'tcp'
	option dest_port '23'
	option open_time '3'

config door 'held'
	list sequence '7003'
	list sequence '9003'
	option proto 'tcp'
	option dest_port '25'
	option open_time '5'
	option close 'session'

config door 'a_name_too_long_for_a_set'
	list sequence '7002'
	list sequence '9002'
	option proto 'tcp'
	option dest_port '24'
"""


class Fw3(unittest.TestCase):
    def setUp(self):
        self.router, self.outside = support.wan(self)
        self.start_firewall()
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        config, self.socket = Path(self.directory.name, "ketuk"), Path(self.directory.name, "socket")
        config.write_text(CONFIG)
        self.arguments = ["--config", config, "--device", "wan0", "--socket", self.socket]
        self.start_daemon()

    def kill_daemon(self):
        """Kills both processes of the daemon. The second one would shut the doors that the first one opened."""
        [monitor] = map(int, Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children").read_text().split())
        os.kill(monitor, signal.SIGSTOP)
        self.daemon.kill()
        self.daemon.wait()
        os.kill(monitor, signal.SIGKILL)

    def start_daemon(self, *wrapper):
        command = [*wrapper, support.binary("ketukd"), "run", *self.arguments]
        self.daemon = self.router.start(*command, stderr=subprocess.DEVNULL)
        status = [support.binary("ketukd"), "status", "--socket", self.socket]
        self.assertTrue(within(10, lambda: support.run(*status).returncode == 0), "the daemon does not start")

    def start_firewall(self):
        """Makes the chains that fw3 makes for its zone wan, as far as they matter. Old rules are deleted."""
        for program in ("iptables", "ip6tables"):
            for line in (
                "-F", "-X", "-N input_wan_rule", "-N forwarding_wan_rule", "-N zone_wan_input",
                "-A zone_wan_input -j input_wan_rule", "-A zone_wan_input -j REJECT",
                "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                "-A INPUT -i wan0 -j zone_wan_input",
            ):
                self.router(program, "-w", *line.split())

    def rules(self, chain="input_wan_rule", door="ssh"):
        listing = self.router("iptables", "-w", "-S", chain)
        return [line for line in listing.splitlines() if "--comment" in line and f"ketuk:{door}" in line]

    def members(self, name):
        """[(address, seconds left)] of a set; none if there is no such set."""
        listing = support.run(*self.router.enter("ipset", "list", name)).stdout
        lines = listing.partition("Members:\n")[2].splitlines()
        return [(line.split()[0], int(line.split()[2])) for line in lines]

    def knock(self, *ports):
        self.outside(support.binary("ketuk"), "203.0.113.1", *ports)

    def test_a_door_survives_a_restart_of_the_firewall(self):
        self.knock("7000", "9000")
        self.assertTrue(within(5, lambda: len(self.rules()) == 1), "the knock does not open")
        self.assertEqual(self.rules("INPUT"), [])
        [before] = self.rules()
        self.start_firewall()
        self.assertEqual(self.rules(), [])
        # The commands that the include runs.
        self.router(support.binary("ketukd"), "reload", "--socket", self.socket)
        self.assertTrue(within(5, lambda: self.rules() == [before]), "not restored")
        # fw3 reloads often. Another reload makes no second rule.
        self.router(support.binary("ketukd"), "reload", "--socket", self.socket)
        self.router(support.binary("ketukd"), "close", "ssh", "--socket", self.socket)
        self.assertTrue(within(5, lambda: self.rules() == []), "not shut")

    def test_the_kernel_shuts_a_door_when_the_daemon_is_dead(self):
        self.knock("7001", "9001")
        self.assertTrue(within(5, lambda: self.rules(door="short")), "the knock does not open")
        [(address, _)] = self.members("ketuk_short_4")
        self.assertEqual(address, "203.0.113.2")
        self.assertIn("--match-set ketuk_short_4 src", self.rules(door="short")[0])
        self.kill_daemon()
        self.assertTrue(within(10, lambda: not self.members("ketuk_short_4")), "the kernel does not shut")
        # The rule still exists, but lets nobody in. The next start deletes it.
        self.assertEqual(len(self.rules(door="short")), 1)
        self.start_daemon()
        self.assertEqual(self.rules(door="short"), [])

    def test_a_door_that_shuts_leaves_nothing(self):
        self.knock("7000", "9000")
        self.assertTrue(within(5, lambda: self.members("ketuk_ssh_4") and self.rules()), "the knock does not open")
        self.router(support.binary("ketukd"), "close", "ssh", "--socket", self.socket)
        self.assertTrue(within(5, lambda: not self.members("ketuk_ssh_4") and not self.rules()), "not shut")

    def test_a_removed_package_leaves_no_set(self):
        root = support.Router(b"")
        self.addCleanup(root.end)
        root.put_program("usr/sbin/ipset", shutil.which("ipset"))
        for name in ("ketuk_ssh_4", "ketuk_ssh_6", "ketukish"):
            self.router("ipset", "create", name, "hash:net")
        root.remove(self.router)
        self.assertEqual(self.router("ipset", "list", "-n").split(), ["ketukish"])

    def test_a_longer_opening_lengthens_the_kernels_time(self):
        self.knock("7000", "9000")
        self.assertTrue(within(5, lambda: self.members("ketuk_ssh_4")), "the knock does not open")
        self.router(support.binary("ketukd"), "open", "ssh", "203.0.113.2", "1000", "--socket", self.socket)
        self.assertTrue(within(5, lambda: self.members("ketuk_ssh_4")[0][1] > 900), "not renewed")
        self.assertEqual(len(self.rules()), 1)

    def test_a_session_keeps_the_kernels_time_ahead(self):
        server = "import socket; s = socket.create_server(('', 25)); c, _ = s.accept(); c.send(b'in'); c.recv(1)"
        self.router.start("python3", "-c", server)
        self.assertTrue(within(5, lambda: ":25 " in self.router("ss", "-ltn")), "the server does not start")
        client = (
            "import socket; s = socket.create_connection(('203.0.113.1', 25), 1)\n"
            "print(s.recv(2).decode(), flush=True); input()"
        )
        self.knock("7003", "9003")
        # Without the rule a connection attempt ends at once.
        tries = []

        def gets_in():
            tries.append(self.outside.start(
                "python3", "-c", client, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
            return tries[-1].stdout.readline() == b"in\n"

        self.assertTrue(within(5, gets_in), "the knock does not open")
        # While the door is used, the kernel's timer has a minute.
        held = lambda: any(left > 10 for _, left in self.members("ketuk_held_4"))
        self.assertTrue(within(10, held), "not held open")
        self.assertEqual(len(self.rules(door="held")), 1)
        tries[-1].communicate(b"\n")
        self.assertTrue(within(10, lambda: not self.members("ketuk_held_4") and not self.rules(door="held")), "not shut")

    def test_a_door_with_a_long_name_has_no_set(self):
        self.knock("7002", "9002")
        self.assertTrue(within(5, lambda: self.rules(door="a_name")), "the knock does not open")
        self.assertNotIn("match-set", self.rules(door="a_name")[0])

    def test_without_ipset_the_rules_are_alone(self):
        self.kill_daemon()
        hide = 'mount --bind /dev/null "$(command -v ipset)" && exec "$@"'
        self.start_daemon("unshare", "--mount", "sh", "-c", hide, "sh")
        self.knock("7000", "9000")
        self.assertTrue(within(5, lambda: len(self.rules()) == 1), "the knock does not open")
        self.assertNotIn("match-set", self.rules()[0])
        self.assertEqual(self.router("ipset", "list", "-n"), "")


if __name__ == "__main__":
    unittest.main()
