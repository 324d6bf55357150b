"""`ketukd doctor` beside a daemon that runs as in OpenWrt's jail: with the service's copy of the configuration."""

import subprocess
import unittest

import support

CONFIG = (support.HERE / "ketuk.uci").read_bytes()
ALLOW = """config rule
	option name 'Allow-SSH'
	option src 'wan'
	option proto 'tcp'
	option dest_port '22'
	option target 'ACCEPT'
"""


class Doctor(unittest.TestCase):
    def setUp(self):
        self.space, _ = support.wan(self)
        self.router = support.Router(CONFIG)
        self.addCleanup(self.router.end)
        self.router.put("sbin/ujail", b"", 0o755)
        self.call("start")
        socket = "/var/run/ketuk/control/socket"
        options = ["--config", "/var/run/ketuk/config", "--device", "wan0", "--socket", socket]
        self.space.start("chroot", self.router.root, "/usr/sbin/ketukd", "run", *options, stderr=subprocess.DEVNULL)
        self.assertTrue(support.within(10, (self.router.root / socket.lstrip("/")).exists), "the daemon does not start")

    def call(self, action):
        _, done = self.router.call(action)
        self.assertEqual(done.returncode, 0, done.stderr)

    def said(self):
        return support.run(*self.space.enter("chroot", self.router.root, "/usr/sbin/ketukd", "doctor")).stdout

    def test_the_file_that_people_edit_is_looked_at(self):
        changed = "daemon: WRONG: /etc/config/ketuk has changed since the daemon read it: 'service ketuk reload' "
        said = self.said()
        # Nothing but what this set-up has wrong: there is no jail, so the daemon stays root.
        wrong = [line for line in said.splitlines() if line.startswith("daemon: WRONG: ")]
        self.assertTrue(all(line.startswith("daemon: WRONG: the process that reads packets is root") for line in wrong), wrong)

        self.router.put("etc/config/ketuk", CONFIG.replace(b"22 2222", b"22"), 0o600)
        self.assertIn(changed, self.said())
        self.call("reload")
        self.assertNotIn(changed, self.said())

        self.router.put("etc/config/ketuk", CONFIG.replace(b"dest_port", b"dest_prot", 1), 0o600)
        said = self.said()
        self.assertIn("configuration: WRONG:\n/etc/config/ketuk:12:", said)
        self.assertIn(changed, said)

    def test_and_the_firewalls_file_beside_it(self):
        open_to_all = "configuration: WRONG: door 'ssh' is open to everybody already, by rule 'Allow-SSH' in /etc/config/firewall"
        self.assertNotIn(open_to_all, self.said())
        firewall = self.router.root / "etc/config/firewall"
        firewall.write_text(firewall.read_text() + ALLOW)
        self.assertIn(open_to_all, self.said())


if __name__ == "__main__":
    unittest.main()
