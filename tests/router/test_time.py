"""The router's local time. OpenWrt keeps the zone in a file that the daemon's C library does not read."""

import datetime
import os
import subprocess
import unittest

import support
from support import within

CONFIG = """
config globals 'globals'
	option backend 'none'

config door 'now'
	list sequence '7000'
	list sequence '7001'
	option start_command 'touch /tmp/opened'
	option start_time '{}'
	option stop_time '{}'
"""


class Time(unittest.TestCase):
    def test_hours_are_those_of_the_zone_in_etc_tz(self):
        router, outside = support.wan(self)
        root = support.Router(b"")
        self.addCleanup(root.end)
        # The zone is seven hours east of Greenwich (POSIX counts westward). There the door is open for an hour before and after now.
        root.put("etc/TZ", b"<+07>-7\n")
        now = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=7)))
        hour = datetime.timedelta(hours=1)
        root.put("etc/config/ketuk", CONFIG.format(*(f"{time:%H:%M}" for time in (now - hour, now + hour))).encode(), 0o600)
        ketukd = ["chroot", root.root, "/usr/sbin/ketukd"]
        environment = {name: value for name, value in os.environ.items() if name != "TZ"}
        router.start(
            *ketukd, "run", "--config", "/etc/config/ketuk", "--device", "wan0", "--socket", "/tmp/socket",
            env=environment, stderr=subprocess.DEVNULL,
        )
        status = [*ketukd, "status", "--socket", "/tmp/socket"]
        self.assertTrue(within(20, lambda: support.run(*status).returncode == 0), "the daemon does not start")
        outside(support.binary("ketuk"), "203.0.113.1", "7000", "7001")
        self.assertTrue(within(10, (root.root / "tmp/opened").exists), "the knock does not open")


if __name__ == "__main__":
    unittest.main()
