"""The service's script, with stand-ins for procd's functions that record their calls."""

import unittest

import support

CONFIG = (support.HERE / "ketuk.uci").read_bytes()

# The service data for fw4 about the doors of ketuk.uci, in the words of /etc/config/firewall.
SETS = [
    {"type": "ipset", "name": f"ketuk_{door}_{number}", "family": f"ipv{number}", "match": ["src_ip"], "timeout": "0"}
    for door in ("ssh", "nas")
    for number in (4, 6)
]
RULES = [
    {
        "type": "rule", "name": "ketuk: ssh", "src": "wan", "family": f"ipv{number}", "proto": "tcp",
        "ipset": f"ketuk_ssh_{number}", "dest_port": "22 2222", "target": "ACCEPT",
    }
    for number in (4, 6)
]
FORWARDS = [
    {
        "type": "redirect", "name": "ketuk: nas", "src": "wan", "family": "ipv4", "proto": "tcp",
        "ipset": "ketuk_nas_4", "src_dport": "8443", "dest": "*", "dest_ip": "192.168.1.2", "dest_port": "443",
        "target": "DNAT", "reflection": "0",
    },
    {
        "type": "rule", "name": "ketuk: nas", "src": "wan", "family": "ipv6", "proto": "tcp",
        "ipset": "ketuk_nas_6", "dest": "*", "dest_ip": "fd00:1::2", "dest_port": "443", "target": "ACCEPT",
    },
]


def objects(record):
    """The firewall objects among the calls."""
    found, nested = [], None
    for function, *words in record:
        if function == "json_add_object":
            found.append({})
        elif function == "json_add_array" and words[0] != "firewall":
            nested = found[-1].setdefault(words[0], [])
        elif function == "json_close_array":
            nested = None
        elif function == "json_add_string" and nested is not None:
            nested.append(words[1])
        elif function == "json_add_string":
            found[-1][words[0]] = words[1]
    return found


def parameters(record):
    """The arguments of procd_set_param and procd_append_param, by parameter."""
    found = {}
    for function, *words in record:
        if function in ("procd_set_param", "procd_append_param"):
            found.setdefault(words[0], []).extend(words[1:])
    return found


def rendered(all_objects):
    """The rules that fw4 was seen to make of objects of these kinds: {chain: [rule]}, and the names of sets."""
    sets, chains = [], {}
    for index, entry in enumerate(all_objects):
        if entry["type"] == "ipset":
            sets.append(entry["name"])
            continue
        four = entry["family"] == "ipv4"
        ports = entry.get("src_dport") or entry["dest_port"]
        ports = "{ " + ", ".join(ports.split()) + " }" if " " in ports else ports
        forwarded = entry["type"] == "rule" and "dest" in entry
        # A rule with an address needs no family.
        match = f"ip6 daddr {entry['dest_ip']}" if forwarded else f"meta nfproto {entry['family']}"
        match += f" {entry['proto']} dport {ports} {'ip' if four else 'ip6'} saddr @{entry['ipset']} counter"
        if entry["type"] == "redirect":
            chain, verdict = "dstnat", f"dnat {entry['dest_ip']}:{entry['dest_port']}"
        else:
            chain, verdict = "forward" if forwarded else "input", "accept"
        comment = f'comment "!fw4: ubus:ketuk[instance1] {entry["type"]} {index}"'
        chains.setdefault(f"{chain}_{entry['src']}", []).append(f"{match} {verdict} {comment}")
    return sets, chains


class Service(unittest.TestCase):
    def setUp(self):
        self.router = support.Router(CONFIG)
        self.addCleanup(self.router.end)

    def call(self, action):
        record, done = self.router.call(action)
        self.assertEqual(done.returncode, 0, done.stderr)
        return record

    def test_start_publishes_the_doors(self):
        record = self.call("start")
        self.assertEqual(objects(record), SETS + RULES + FORWARDS)
        self.assertIn(["procd_set_config_changed", "firewall"], record)

    def test_what_fw4_makes_of_it(self):
        """fw4 makes the ruleset that test_survival.py loads of the objects that the script publishes."""
        sets, chains = rendered(objects(self.call("start")))
        ruleset = (support.HERE / "fw4.nft").read_text()
        self.assertEqual(sets, [line.split()[1] for line in ruleset.splitlines() if line.startswith("\tset ")])
        for chain, rules in chains.items():
            body = ruleset.split(f"chain {chain} {{\n")[1].split("\t}\n")[0]
            self.assertEqual([line.strip() for line in body.splitlines() if "@ketuk" in line], rules)
        self.assertEqual(sum(map(len, chains.values())), ruleset.count("@ketuk"))

    def test_the_daemon_is_started_with_the_devices_of_its_networks(self):
        record = self.call("start")
        found = parameters(record)
        self.assertEqual(
            found["command"],
            [
                "/usr/sbin/ketukd", "run", "--config", "/etc/config/ketuk", "--socket", "/var/run/ketuk/control/socket",
                "--device-file", "/var/run/ketuk/devices",
            ],
        )
        # ketukd status finds the socket in its usual place.
        self.assertEqual((self.router.root / "var/run/ketuk.sock").readlink().as_posix(), "/var/run/ketuk/control/socket")
        # Two networks have the same device, which is named once.
        self.assertEqual((self.router.root / "var/run/ketuk/devices").read_text(), "pppoe-wan\n")
        self.assertEqual(found["file"], ["/etc/config/ketuk", "/var/run/ketuk/devices"])
        self.assertEqual(found["reload_signal"], ["HUP"])
        self.assertEqual(found["stderr"], ["1"])
        self.assertNotIn("stdout", found)
        # procd's words: within so many seconds, after so many, so many times (0: for ever).
        self.assertEqual(found["respawn"], ["3600", "5", "0"])
        self.assertIn(["procd_add_reload_trigger", "ketuk", "firewall"], record)
        for network in ("wan", "wan6"):
            self.assertIn(["procd_add_reload_interface_trigger", network], record)

    def test_before_the_wan_is_up_there_is_no_device_and_not_all_of_them(self):
        self.router.put("tmp/networks", b"lan br-lan\n")
        found = parameters(self.call("start"))
        self.assertIn("--device-file", found["command"])
        self.assertEqual((self.router.root / "var/run/ketuk/devices").read_text(), "")

    def test_without_networks_the_daemon_reads_its_devices_itself(self):
        self.router.put("etc/config/ketuk", CONFIG.replace(b"\tlist network 'wan'\n", b"").replace(b"list network 'wan6'", b"list device 'eth1'"))
        self.assertNotIn("--device-file", parameters(self.call("start"))["command"])

    def test_disabled_is_the_default(self):
        self.router.put("etc/config/ketuk", (support.ROOT / "uci/ketuk").read_bytes())
        record = self.call("start")
        self.assertEqual(parameters(record), {})
        self.assertEqual(objects(record), [])
        # But the service must notice when it is enabled in LuCI.
        self.assertIn(["procd_add_reload_trigger", "ketuk", "firewall"], record)
        self.assertNotIn(["procd_set_config_changed", "firewall"], record)

    def test_a_reload_tells_the_firewall_only_of_changes(self):
        self.call("start")
        self.assertNotIn(["procd_set_config_changed", "firewall"], self.call("reload"))
        self.router.put("etc/config/ketuk", CONFIG.replace(b"22 2222", b"22"))
        record = self.call("reload")
        self.assertIn(["procd_set_config_changed", "firewall"], record)
        self.assertNotIn(["procd_kill"], record)
        self.assertEqual(objects(record)[4]["dest_port"], "22")

    def test_disabling_withdraws_everything(self):
        self.call("start")
        self.router.put("etc/config/ketuk", CONFIG.replace(b"enabled '1'", b"enabled '0'"))
        record = self.call("reload")
        self.assertEqual(objects(record), [])
        self.assertNotIn("command", parameters(record))
        self.assertIn(["procd_set_config_changed", "firewall"], record)

    def test_a_wrong_configuration_changes_nothing(self):
        before = self.call("start")
        self.router.put("etc/config/ketuk", CONFIG.replace(b"dest_port", b"dest_prot"))
        after, done = self.router.call("reload")
        self.assertEqual(objects(after), objects(before))
        self.assertIn("ketuk:12:", done.stderr)
        self.assertNotIn(["procd_set_config_changed", "firewall"], after)

    def test_a_wrong_configuration_is_not_started(self):
        self.router.put("etc/config/ketuk", CONFIG.replace(b"dest_port", b"dest_prot"))
        record, done = self.router.call("start")
        self.assertNotIn(["procd_open_instance"], record)
        self.assertIn("dest_prot", done.stderr)

    def test_a_stop_leaves_only_what_the_daemon_must_remember(self):
        self.call("start")
        self.router.put("var/run/ketuk/control/socket.newest", b"1700000000\n")
        record = self.call("stop")
        self.assertIn(["procd_set_config_changed", "firewall"], record)
        left = [path for path in (self.router.root / "var/run").rglob("*") if not path.is_dir()]
        self.assertEqual([path.name for path in left], ["socket.newest"])

    def test_the_firewall_is_told_of_a_stop_when_the_daemon_has_ended(self):
        self.call("start")
        self.router.put("tmp/ending", b"")
        told = ["procd_set_config_changed", "firewall"]
        asked = ["procd_running", "ketuk"]
        self.assertEqual([call for call in self.call("stop") if call in (told, asked)], [asked, asked, told])

    def test_its_own_user_in_a_jail_where_there_are_jails(self):
        self.router.put("sbin/ujail", b"", 0o755)
        self.router.put("usr/sbin/nft", b"", 0o755)
        self.router.put("etc/TZ", b"<+07>-7\n")
        self.router.put("sys/class/rtc/rtc0/hctosys", b"1\n")
        # A daemon of root, which ran before, has written the file.
        self.router.put("var/run/ketuk/control/socket.newest", b"1700000000\n", 0o600)
        record = self.call("start")
        self.assertEqual((self.router.root / "var/run/ketuk/control/socket.newest").stat().st_uid, 453)
        found = parameters(record)
        self.assertEqual((found["user"], found["group"], found["no_new_privs"]), (["ketuk"], ["ketuk"], ["1"]))
        self.assertEqual(found["capabilities"], ["/etc/capabilities/ketuk.json"])
        self.assertIn(["procd_add_jail", "ketuk", "log"], record)
        # That user cannot read /etc/config/ketuk, and its own copy is mounted read-only.
        self.assertEqual(found["command"][3], "/var/run/ketuk/config")
        run = self.router.root / "var/run/ketuk"
        self.assertEqual((run / "config").read_bytes(), CONFIG)
        self.assertEqual((run / "config").stat().st_mode & 0o777, 0o400)
        self.assertEqual((run.stat().st_uid, run.stat().st_mode & 0o777), (0, 0o755))
        self.assertIn(["procd_add_jail_mount_rw", "/var/run/ketuk/control"], record)
        # The jail would not start if the service named a missing file.
        mounts = [path for name, *paths in record if name == "procd_add_jail_mount" for path in paths]
        self.assertEqual(mounts, ["/var/run/ketuk", "/etc/group", "/etc/TZ", "/usr/sbin/nft", "/sys/class/rtc/rtc0/hctosys"])

    def test_what_the_jail_hides_is_said_by_the_script(self):
        said = [
            "door 'ssh' is open to everybody already, by rule 'Allow-SSH' in /etc/config/firewall",
            "/etc/config/ketuk holds users' secrets, and others may read it",
        ]
        rule = "src 'wan'", "proto 'tcp'", "dest_port '22'", "target 'ACCEPT'", "name 'Allow-SSH'"
        firewall = b"config zone\n\toption name 'wan'\n\tlist network 'wan'\nconfig rule\n"
        self.router.put("etc/config/firewall", firewall + "".join(f"\toption {option}\n" for option in rule).encode())
        user = b"config user 'alice'\n\toption key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n"
        self.router.put("etc/config/ketuk", CONFIG + user, 0o644)
        for jail in (False, True):
            if jail:
                self.router.put("sbin/ujail", b"", 0o755)
            _, done = self.router.call("start")
            # If the daemon can, it gives this warning itself. It always gives the others.
            self.assertEqual([text in done.stderr for text in said], [jail, jail], done.stderr)
            self.assertNotIn("may open no door", done.stderr)

    def test_commands_are_run_by_root(self):
        self.router.put("sbin/ujail", b"", 0o755)
        self.router.put("etc/config/ketuk", CONFIG.replace(b"option proto 'tcp'", b"option start_command 'true'", 1))
        found = parameters(self.call("start"))
        self.assertNotIn("user", found)
        self.assertEqual(found["command"][3], "/etc/config/ketuk")

    def test_scripts_are_run_by_root(self):
        self.router.put("sbin/ujail", b"", 0o755)
        self.router.put("etc/hotplug.d/ketuk/10-led", b"true\n")
        self.assertNotIn("user", parameters(self.call("start")))

    def test_what_the_daemon_gave_up_comes_with_another_process(self):
        """Without a jail too: a change that takes commands, or a log file elsewhere, starts the daemon anew."""
        commands = CONFIG.replace(b"option proto 'tcp'", b"option start_command 'true'", 1)
        log = CONFIG.replace(b"config globals 'globals'", b"config globals 'globals'\n\toption log_file '/tmp/log'", 1)
        self.assertNotIn(CONFIG, (commands, log))
        for after, anew in ((CONFIG, False), (commands, True), (log, True)):
            self.router.put("etc/config/ketuk", CONFIG)
            self.call("stop")
            self.call("start")
            self.router.put("etc/config/ketuk", after)
            self.router.put("tmp/ending", b"")
            record = self.call("reload")
            self.assertEqual(["procd_send_signal", "ketuk", "*", "USR1"] in record, anew, after)

    def test_another_user_is_another_process(self):
        self.router.put("sbin/ujail", b"", 0o755)
        self.call("start")
        self.router.put("etc/hotplug.d/ketuk/10-led", b"true\n")
        self.router.put("tmp/ending", b"")
        record = self.call("reload")
        # The old daemon leaves its doors open and ends. Then the new one is started.
        order = [call for call in record if call[0] in ("procd_send_signal", "procd_running", "procd_kill", "procd_open_service")]
        asked = ["procd_running", "ketuk"]
        self.assertEqual(order, [["procd_send_signal", "ketuk", "*", "USR1"], asked, asked, ["procd_open_service"]])
        # The firewall's part does not change, so the firewall is told nothing.
        self.assertNotIn(["procd_set_config_changed", "firewall"], record)
        # Neither a wrong configuration nor one that switches the service off makes it hand over.
        for config in (CONFIG.replace(b"dest_port", b"dest_prot"), CONFIG.replace(b"enabled '1'", b"enabled '0'")):
            self.router.put("etc/config/ketuk", config)
            self.assertNotIn("procd_send_signal", [call[0] for call in self.call("reload")])

    def test_the_zone_is_the_networks(self):
        self.router.put("etc/config/firewall", b"config zone\n\toption name 'isp'\n\tlist network 'wan'\n")
        self.assertEqual({entry.get("src", "isp") for entry in objects(self.call("start"))}, {"isp"})

    def test_without_fw4_nothing_is_published(self):
        (self.router.root / "sbin/fw4").unlink()
        self.router.put("etc/config/ketuk", CONFIG.replace(b"backend 'fw4'", b"backend 'auto'"))
        record = self.call("start")
        self.assertEqual(objects(record), [])
        self.assertNotIn(["procd_set_config_changed", "firewall"], record)

    def test_the_fleets_script_is_started_again_for_ever(self):
        script = (support.ROOT / "packaging/fleet/ketuk-fleet.init").read_bytes()
        self.router.put("etc/init.d/ketuk-fleet", script, 0o755)
        record, done = self.router.call("start", "ketuk-fleet")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        found = parameters(record)
        self.assertEqual(found["command"], ["/usr/sbin/ketuk-fleet", "/etc/ketuk-fleet.conf"])
        # procd's values: the time limit, the delay in seconds, and the number of restarts (0 means for ever).
        self.assertEqual(found["respawn"], ["0", "5", "0"])


if __name__ == "__main__":
    unittest.main()
