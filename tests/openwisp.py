#!/usr/bin/env python3
"""The OpenWISP template, rendered by netjsonconfig as OpenWISP's server does it, is a configuration that `ketukd check` accepts.

usage: tests/openwisp.py KETUKD    netjsonconfig must be importable: `make test-openwisp` sees to that
"""

import json
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

from netjsonconfig import OpenWrt

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "packaging/openwisp/ketuk.json"
SECRET = "FOGICVDKT54JD7SELVTBIBX2277IIAJO"


def rendered(template):
    """The file /etc/config/ketuk of the archive that the router's agent downloads."""
    archive = OpenWrt(template, context={"alice_totp": SECRET}).generate()
    with tarfile.open(fileobj=archive) as files:
        return files.extractfile("etc/config/ketuk").read().decode()


def check(text):
    """The exit code and the output of `ketukd check` for a configuration."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(text)
        file.flush()
        said = subprocess.run([KETUKD, "check", "--config", file.name], capture_output=True, text=True, check=False)
    return said.returncode, said.stdout + said.stderr


class Template(unittest.TestCase):
    def test_it_is_accepted(self):
        code, said = check(rendered(json.loads(TEMPLATE.read_text())))
        self.assertEqual(code, 0, said)
        self.assertIn("fine: 1 door, 1 user", said)

    def test_nothing_is_lost(self):
        text = rendered(json.loads(TEMPLATE.read_text()))
        for line in ("list network 'wan6'", "list sequence '51203:udp'", "config user 'alice'", f"option totp '{SECRET}'"):
            self.assertIn(line, text)
        places = [text.index(f"'{port}") for port in ("24817", "51203", "38466")]
        self.assertEqual(places, sorted(places), "the order of the steps")

    def test_a_wrong_one_is_refused(self):
        template = json.loads(TEMPLATE.read_text())
        template["ketuk"][1]["dest_prot"] = template["ketuk"][1].pop("dest_port")
        code, said = check(rendered(template))
        self.assertEqual(code, 2, said)
        self.assertIn("did you mean 'dest_port'?", said)


if __name__ == "__main__":
    KETUKD = sys.argv.pop(1)
    unittest.main()
