#!/usr/bin/env python3
"""Measures ketukd beside knockd (and fwknopd) and writes the table benches/results.md.

Two network namespaces joined by a veth cable: a router that drops what comes in, where the daemon listens,
and a sender, where `load` makes floods, scans and right knocks. Needs root; `make bench` calls it.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROUTER, SENDER = f"ketuk-bench-r{os.getpid()}", f"ketuk-bench-s{os.getpid()}"
ROUTER_DEVICE, SENDER_DEVICE = "r0", "s0"
ADDRESS, ADDRESS_6 = "10.9.0.1", "fd09::1"
KNOCKERS = "10.9.1.0"  # and those after it
SCANNERS = "10.9.200."
# Behind the router: a cable to a host that accepts no forwarded packet.
BEYOND, BEYOND_DEVICE = "10.8.0.9", "sink0"

# The doors of both daemons: one with ascending ports, one with descending ports, one for UDP.
DOORS = {"ssh": ("7000", "8000", "9000"), "falling": ("9500", "8500", "7500"), "udp": ("5001:udp", "5002:udp", "5003:udp")}
STEPS = ",".join(DOORS["ssh"])
# A port that is no step and not near a step.
FAR_PORT = 40_000
SEQ_TIMEOUT_S = 15
OPEN_TIME_S = 60
# How long a door stays open when many addresses knock: ketukd lets plain knocks hold a door open for 48 addresses at a time.
SHORT_OPEN_TIME_S = 5

RULES = "".join(
    f"""
    set ketuk_{door}_4 {{ type ipv4_addr; flags timeout; }}
    set ketuk_{door}_6 {{ type ipv6_addr; flags timeout; }}"""
    for door in DOORS
)
RULESET = f"""
flush ruleset
table inet bench {{{RULES}
    chain input {{
        type filter hook input priority filter; policy POLICY;
        ip saddr @ketuk_ssh_4 tcp dport 22 accept
    }}
}}
"""


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, capture_output=True, **options).stdout


def inside(namespace, *command):
    return ("ip", "netns", "exec", namespace, *command)


def progress(text):
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


# The network.


@contextlib.contextmanager
def network():
    """Router and sender, joined by a cable."""
    try:
        for namespace in (ROUTER, SENDER):
            run("ip", "netns", "add", namespace)
        run("ip", "-n", ROUTER, "link", "add", ROUTER_DEVICE, "address", "02:00:00:00:00:01", "type", "veth",
            "peer", "name", SENDER_DEVICE, "address", "02:00:00:00:00:02", "netns", SENDER)
        for namespace, device, address in ((ROUTER, ROUTER_DEVICE, ADDRESS), (SENDER, SENDER_DEVICE, "10.9.0.2")):
            run("ip", "-n", namespace, "address", "add", f"{address}/16", "dev", device)
            run("ip", "-n", namespace, "link", "set", device, "up")
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", ROUTER, "address", "add", f"{ADDRESS_6}/64", "dev", ROUTER_DEVICE, "nodad")
        run("ip", "-n", ROUTER, "link", "add", BEYOND_DEVICE, "type", "veth", "peer", "name", BEYOND_DEVICE, "netns", SENDER)
        run("ip", "-n", SENDER, "link", "set", BEYOND_DEVICE, "up")
        run("ip", "-n", ROUTER, "address", "add", "10.8.0.1/16", "dev", BEYOND_DEVICE)
        run("ip", "-n", ROUTER, "link", "set", BEYOND_DEVICE, "up")
        run("ip", "-n", ROUTER, "neighbour", "add", BEYOND, "lladdr", "02:00:00:00:00:09", "dev", BEYOND_DEVICE)
        run(*inside(ROUTER, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"))
        # As on a router, packets to unknown addresses go to the provider.
        run("ip", "-n", ROUTER, "route", "add", "default", "via", "10.9.0.2")
        yield
    finally:
        for namespace in (ROUTER, SENDER):
            subprocess.run(("ip", "netns", "delete", namespace), capture_output=True)


def load_rules(policy):
    run(*inside(ROUTER, "nft", "-f", "-"), input=RULESET.replace("POLICY", policy))


def who_is_in():
    """The number of addresses in each door's set."""
    def elements(door):
        shown = json.loads(run(*inside(ROUTER, "nft", "-j", "list", "set", "inet", "bench", f"ketuk_{door}_4")))
        return len(next(item["set"].get("elem", []) for item in shown["nftables"] if "set" in item))
    return {door: elements(door) for door in DOORS}


def arrived():
    """Packets that the router's device received."""
    return json.loads(run("ip", "-n", ROUTER, "-j", "-s", "link", "show", ROUTER_DEVICE))[0]["stats64"]["rx"]["packets"]


# The daemons.


class Daemon:
    """A running daemon, and the kernel's figures for it."""

    def __init__(self, name, command, log):
        self.name = name
        self.process = subprocess.Popen(inside(ROUTER, *command), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.proc = pathlib.Path(f"/proc/{self.process.pid}")

    def wait_until_it_listens(self):
        index = json.loads(run("ip", "-n", ROUTER, "-j", "link", "show", ROUTER_DEVICE))[0]["ifindex"]
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                lines = run(*inside(ROUTER, "cat", "/proc/net/packet")).splitlines()[1:]
                # Columns: sk, RefCnt, Type, Proto, Iface, ...
                if any(int(line.split()[4]) == index and line.split()[3] != "0000" for line in lines):
                    time.sleep(0.5)
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not listen on {ROUTER_DEVICE}")

    def cpu(self):
        """Processor seconds so far, of every thread (schedstat, in ns) and of children that ended (stat, in ticks)."""
        threads = sum(int(task.joinpath("schedstat").read_text().split()[0]) for task in self.tasks())
        stat = self.proc.joinpath("stat").read_text().rpartition(")")[2].split()
        return threads / 1e9 + (int(stat[13]) + int(stat[14])) / os.sysconf("SC_CLK_TCK")

    def wakeups(self):
        """The number of times that its threads slept and woke: voluntary_ctxt_switches."""
        return sum(self.field(task / "status", "voluntary_ctxt_switches") for task in self.tasks())

    def rss(self):
        """Resident memory in kB, counted page by page (smaps_rollup; VmRSS is rounded per processor)."""
        return self.field(self.proc / "smaps_rollup", "Rss")

    def pss(self):
        """Memory in kB of the daemon and its second process together: a page that two processes have counts half for each."""
        # ps fails if there is no second process.
        children = ("ps", "-o", "pid=", "--ppid", str(self.process.pid))
        pids = subprocess.run(children, text=True, capture_output=True).stdout.split()
        return sum(self.field(proc / "smaps_rollup", "Pss") for proc in (self.proc, *(self.proc.parent / pid for pid in pids)))

    def tasks(self):
        return self.proc.joinpath("task").iterdir()

    @staticmethod
    def field(path, name):
        return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(f"{name}:"))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


# A packet socket whose filter passes nothing: listening cannot cost less.
EMPTY_FILTER = """
import ctypes, socket, struct, sys, time
heard = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
drop = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
heard.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", 1, ctypes.addressof(drop)))  # SO_ATTACH_FILTER
heard.bind((sys.argv[1], 0x0800))
print("listening", flush=True)
time.sleep(3600)
"""


class Bench:
    def __init__(self, arguments, directory):
        self.load_program, self.ketukd, self.quick = arguments.load, arguments.ketukd, arguments.quick
        self.directory = directory
        self.slow = []  # floods that did not reach their rate
        self.broken = []  # bounds that were not kept

    @contextlib.contextmanager
    def daemon(self, name, policy="drop", doors=tuple(DOORS), open_time_s=OPEN_TIME_S):
        load_rules(policy)
        self.open_time_s = open_time_s
        self.doors = {door: DOORS[door] for door in doors}
        with open(self.directory / f"{name}.log", "ab") as log:
            daemon = Daemon(name, getattr(self, name)(), log)
            try:
                daemon.wait_until_it_listens()
                yield daemon
            finally:
                daemon.stop()

    def ketukd_config(self):
        lines = ["config globals 'globals'", "\toption enabled '1'", "\toption backend 'nft'", "\toption nft_table 'inet bench'"]
        for door, steps in self.doors.items():
            lines += [f"config door '{door}'", *(f"\tlist sequence '{step}'" for step in steps)]
            lines += [f"\toption seq_timeout '{SEQ_TIMEOUT_S}'", "\toption proto 'tcp'", "\toption dest_port '22'",
                      f"\toption open_time '{self.open_time_s}'"]
        return "\n".join(lines) + "\n"

    def ketuk(self, more=""):
        path = self.directory / "ketuk.uci"
        path.write_text(self.ketukd_config() + more)
        return (self.ketukd, "run", "--config", path, "--device", ROUTER_DEVICE, "--socket", self.directory / "socket")

    def ketuk_of_two(self):
        """A door with a command brings the second process."""
        return self.ketuk("\toption start_command 'true'\n")

    def knockd(self):
        path = self.directory / "knockd.conf"
        doors = (
            f"[{door}]\n sequence = {','.join(steps)}\n seq_timeout = {SEQ_TIMEOUT_S}\n tcpflags = syn\n"
            f" start_command = nft add element inet bench ketuk_{door}_4 {{ %IP% timeout {self.open_time_s}s }}\n"
            for door, steps in self.doors.items()
        )
        path.write_text(f"[options]\n logfile = {self.directory / 'knockd.messages'}\n\n" + "\n".join(doors))
        return ("knockd", "-i", ROUTER_DEVICE, "-c", path)

    def fwknopd(self):
        config, access = self.directory / "fwknopd.conf", self.directory / "access.conf"
        config.write_text(
            f"PCAP_INTF {ROUTER_DEVICE};\nFWKNOP_RUN_DIR {self.directory};\nFWKNOP_PID_FILE {self.directory}/fwknopd.pid;\n"
            f"DIGEST_DB_FILE {self.directory}/digests;\n"
        )
        access.write_text("SOURCE ANY\nOPEN_PORTS tcp/22\nKEY benchmark\nFW_ACCESS_TIMEOUT 30\n")
        access.chmod(0o600)
        config.chmod(0o600)
        return ("fwknopd", "-f", "-i", ROUTER_DEVICE, "-c", config, "-a", access)

    # Sending.

    def load(self, command, background=False, **values):
        words = [f"{name}={value}" for name, value in values.items()]
        if command != "knock":
            words.append(f"device={SENDER_DEVICE}")
        argv = (self.load_program, command, *words)
        argv = argv if command == "knock" else inside(SENDER, *argv)
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        return process if background else self.result(process, argv)

    @staticmethod
    def result(process, argv="load"):
        output = process.communicate()[0]
        if process.returncode:
            raise RuntimeError(f"{argv} failed")
        return json.loads(output)

    def flood(self, rate, seconds, **values):
        """Sends a whole flood. Returns the number of packets, the rate, and how many arrived."""
        before = arrived()
        sent = self.load("flood", rate=rate, count=int(rate * seconds), **{"to": ADDRESS, **values})
        return self.checked(sent, rate, arrived() - before)

    def checked(self, sent, rate, came):
        if sent["rate"] < 0.99 * rate or came < 0.99 * sent["sent"]:
            self.slow.append(f"{rate:,}/s asked for, {sent['rate']:,}/s reached, {came:,} of {sent['sent']:,} arrived")
        return sent

    def knock(self, count, gap_ms, every_ms):
        return self.load("knock", sender=SENDER, device=SENDER_DEVICE, router=ROUTER, first=KNOCKERS, to=ADDRESS,
                         steps=STEPS, count=count, gap_ms=gap_ms, every_ms=every_ms)

    # Measuring.

    def idle(self, name):
        with self.daemon(name) as daemon:
            time.sleep(2)
            before = daemon.wakeups()
            time.sleep(10)
            return {"wakeups": daemon.wakeups() - before, "rss": daemon.rss()}

    def opens(self, name):
        """The time from the last step to the open door, with nothing else on the wire."""
        count = 20 if self.quick else 200
        with self.daemon(name, open_time_s=SHORT_OPEN_TIME_S) as daemon:
            before = daemon.cpu()
            result = self.knock(count, gap_ms=20, every_ms=150)
            times = sorted(result["microseconds"])
            if not times:
                return {"opened": f"0 of {count}", "median": None, "p99": None, "max": None, "cpu": None}
            return {
                "opened": f"{result['opened']} of {count}",
                "median": statistics.median(times),
                "p99": times[max(0, -(-99 * len(times) // 100) - 1)],
                "max": times[-1],
                "cpu": (daemon.cpu() - before) / count,
            }

    def knocks_in_flood(self, name, rate):
        """Right knocks, 100 ms between steps, while first knocks come from forged sources at `rate` a second."""
        count, every_ms = (100, 300) if rate >= 100_000 and not self.quick else (10, 1000)
        lead = 3
        seconds = lead + count * every_ms / 1000 + 1
        with self.daemon(name, open_time_s=SHORT_OPEN_TIME_S) as daemon:
            cpu, wakeups, before = daemon.cpu(), daemon.wakeups(), arrived()
            start = time.monotonic()
            flood = self.load("flood", background=True, to=ADDRESS, rate=rate, count=int(rate * seconds), port=DOORS["ssh"][0])
            time.sleep(lead)
            knocks = self.knock(count, gap_ms=100, every_ms=every_ms)
            sent = self.result(flood)
            took = time.monotonic() - start
            cpu, wakeups = daemon.cpu() - cpu, daemon.wakeups() - wakeups
            self.checked(sent, rate, arrived() - before)
            times = knocks["microseconds"]
            return {"opened": knocks["opened"], "count": count, "cpu": cpu / took, "wakeups": wakeups / took, "rate": sent["rate"],
                    "median": statistics.median(times) if times else None, "rss": daemon.rss()}

    def memory(self, name, measure=Daemon.rss):
        """Memory before and after a million forged sources, and another million, and IPv6."""
        million = 100_000 if self.quick else 1_000_000
        with self.daemon(name) as daemon:
            figures = [measure(daemon)]
            for seed, to in ((1, ADDRESS), (2, ADDRESS), (3, ADDRESS_6)):
                self.flood(100_000, million / 100_000, port=DOORS["ssh"][0], seed=seed, to=to)
                time.sleep(1 if self.quick else SEQ_TIMEOUT_S + 1)  # until the last attempts have timed out
                figures.append(measure(daemon))
            return figures

    def load_of(self, name, rate, **values):
        """Processor time and wake-ups during a flood."""
        seconds = 2 if self.quick else 5
        with self.daemon(name) as daemon:
            cpu, wakeups = daemon.cpu(), daemon.wakeups()
            self.flood(rate, seconds, **values)
            time.sleep(0.5)
            return {"cpu": (daemon.cpu() - cpu) / seconds, "wakeups": daemon.wakeups() - wakeups}

    @contextlib.contextmanager
    def listener(self, name):
        """A daemon, a socket whose filter passes nothing ("empty"), or no program ("off")."""
        if name not in ("off", "empty"):
            with self.daemon(name):
                yield
            return
        load_rules("drop")
        if name == "off":
            yield
            return
        command = inside(ROUTER, sys.executable, "-c", EMPTY_FILTER, ROUTER_DEVICE)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                process.stdout.readline()
                yield
            finally:
                process.kill()

    def forwarded(self):
        """The medians of small packets forwarded a second, sent as fast as possible, in runs in random order."""
        rounds, count = (3, 200_000) if self.quick else (12, 1_000_000)
        rates = {name: [] for name in ("off", "empty", "knockd", "ketuk")}
        order = [name for name in rates for _ in range(rounds)]
        random.shuffle(order)
        for name in order:
            with self.listener(name):
                # A rate that no machine reaches.
                rates[name].append(self.load("flood", rate=50_000_000, count=count, to=BEYOND, port=443)["rate"])
        return {name: statistics.median(figures) for name, figures in rates.items()}

    def scans(self, name):
        """The port scans that opened a door. Each scan has its own address, and a daemon with one door."""
        nmaps = [f"nmap {number}" for number in range(1, 3 if self.quick else 4)]
        orders = ["up", "down", *nmaps, *range(1, 3 if self.quick else 21)]
        figures = {}
        for number, order in enumerate(orders, 1):
            with self.daemon(name, policy="accept", doors=("falling" if order == "down" else "ssh",)):
                if order in nmaps:
                    run(*inside(SENDER, "nmap", "-n", "-Pn", "-sS", "-p-", "--max-retries", "0", "-T5", ADDRESS))
                else:
                    self.load("scan", **{"from": f"{SCANNERS}{number}"}, to=ADDRESS, rate=20_000, order=order)
                time.sleep(0.5)
                figures[order] = any(who_is_in().values())
        return figures


# The table.

# The most memory of both processes together, when they are idle.
MOST_MEMORY_KB = 1000

# At the last rate the flood of first knocks wins: it fills the table within the pause between two knocks.
RATES = (1_000, 10_000, 50_000, 100_000, 200_000)
OTHER_FLOODS = (
    ("100,000 SYN/s, random ports", 100_000, {"port": "random"}),
    (f"10,000 SYN/s, a port that is neither step nor trap", 10_000, {"port": FAR_PORT}),
    ("10,000 ACK/s, a port that is a step", 10_000, {"port": DOORS["ssh"][0], "proto": "ack"}),
    ("100,000 UDP/s of 512 bytes, a port that is neither step nor trap", 100_000, {"port": FAR_PORT, "proto": "udp", "payload": 512}),
    ("100,000 UDP/s of 512 bytes, a port that is a step", 100_000, {"port": 5001, "proto": "udp", "payload": 512}),
)


def measure(bench):
    """Every row of the table: (quantity, knockd, fwknopd, ketuk)."""
    names = ("knockd", "fwknopd", "ketuk")
    rows = []

    def row(what, **cells):
        rows.append((what, *(cells.get(name, "-") for name in names)))
        progress(" | ".join(map(str, rows[-1])))

    both = ("knockd", "ketuk")
    idle = {name: bench.idle(name) for name in names}
    row("resident memory, idle", **{name: f"{figures['rss']:,} kB" for name, figures in idle.items()})
    row("wake-ups in 10 s, idle", **{name: figures["wakeups"] for name, figures in idle.items()})

    opens = {name: bench.opens(name) for name in both}
    row("right knocks that opened, nothing else on the wire", **{name: figures["opened"] for name, figures in opens.items()})
    for figure in ("median", "p99", "max"):
        row(f"last knock on the wire to element in the set, {figure}", **{name: ms(figures[figure]) for name, figures in opens.items()})
    row("processor time for each of these knocks", **{name: ms(figures["cpu"] * 1e6) for name, figures in opens.items()})

    for rate in RATES:
        floods = {name: bench.knocks_in_flood(name, rate) for name in both}
        what = f"forged first knocks at {rate:,}/s"
        row(f"{what}: right knocks that opened", **{name: f"{figures['opened']} of {figures['count']}" for name, figures in floods.items()})
        row(f"{what}: last knock to element, median", **{name: ms(figures["median"]) for name, figures in floods.items()})
        row(f"{what}: processor", **{name: percent(figures["cpu"]) for name, figures in floods.items()})

    memory = {name: bench.memory(name) for name in both}
    for index, what in enumerate(("before", "after one million forged sources", "after two million", "after a million more, of IPv6")):
        row(f"resident memory {what}", **{name: f"{figures[index]:,} kB" for name, figures in memory.items()})

    together = bench.memory("ketuk_of_two", Daemon.pss)
    for index, what in ((0, "before"), (-1, "after all of these")):
        row(f"memory of two processes together (PSS), with a door's command, {what}", ketuk=f"{together[index]:,} kB")
    if together[0] > MOST_MEMORY_KB:
        bench.broken.append(f"both processes take {together[0]:,} kB when idle, and {MOST_MEMORY_KB:,} kB are the most")

    for what, rate, values in OTHER_FLOODS:
        floods = {name: bench.load_of(name, rate, **values) for name in both}
        row(f"{what}: processor", **{name: percent(figures["cpu"]) for name, figures in floods.items()})
        row(f"{what}: wake-ups", **{name: f"{figures['wakeups']:,}" for name, figures in floods.items()})

    forwarded = bench.forwarded()
    row("small packets forwarded a second, beside a socket whose filter passes nothing: 1",
        **{name: f"{forwarded[name] / forwarded['empty']:.3f}" for name in both})
    row("the same, without a daemon: 1", **{name: f"{forwarded[name] / forwarded['off']:.3f}" for name in both})

    scans = {name: bench.scans(name) for name in both}
    def yes(order):
        return {name: "opened" if figures[order] else "shut" for name, figures in scans.items()}
    row("scan of all ports, ascending", **yes("up"))
    row("the same, descending, at a door whose ports fall", **yes("down"))
    def share(figures, chosen):
        opened = [opened for order, opened in figures.items() if chosen(order)]
        return f"{sum(opened)} of {len(opened)} opened"
    for what, chosen in (
        ("`nmap -p- --max-retries 0 -T5`, which has a random order each time", lambda order: str(order).startswith("nmap")),
        ("scans of all ports in random order", lambda order: isinstance(order, int)),
    ):
        row(what, **{name: share(figures, chosen) for name, figures in scans.items()})
    return rows


def ms(microseconds):
    return "-" if microseconds is None else f"{microseconds / 1000:.2f} ms"


def percent(share):
    return f"{100 * share:.1f} % of a core"


def version(package):
    return run("dpkg-query", "--show", "--showformat", "${Version}", package)


def cpu_model():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} x {model}"


def how_linked(path):
    program = path.read_bytes()
    libc = "glibc" if b"GLIBC" in program or b"glibc" in program else "musl"
    return "shared libraries" if b"/ld-linux" in program or b"/ld-musl-" in program else f"static, {libc}"


def table(bench, rows, took):
    header = f"""# Measurements

{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, Linux {platform.release()}, {cpu_model()}.
knockd {version('knockd')}, fwknopd {version('fwknop-server')} (Debian), ketukd {run(bench.ketukd, '--version').strip()} \
({bench.ketukd.stat().st_size // 1024:,} KiB, {how_linked(bench.ketukd)}).
Load average at the start {LOAD}; the run took {took / 60:.0f} minutes. Made by `make bench`; how is in [README.md](README.md).{QUICK if bench.quick else ""}

| what | knockd | fwknopd | ketuk |
| --- | --- | --- | --- |
"""
    lines = [f"| {' | '.join(map(str, row))} |\n" for row in rows]
    notes = [f"\nThe sender did not reach its rate: {text}.\n" for text in bench.slow]
    return header + "".join(lines) + "".join(notes)


# The heading of make soak's table, which this script keeps.
SOAK = "\n## The soak\n"
QUICK = "\nA quick run, to see that everything works: these figures mean nothing."
LOAD = ", ".join(f"{load:.2f}" for load in os.getloadavg())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ketukd", type=lambda path: pathlib.Path(path).resolve(), required=True)
    parser.add_argument("--load", type=lambda path: pathlib.Path(path).resolve(), required=True)
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path(__file__).with_name("results.md"))
    parser.add_argument("--quick", action="store_true", help="short runs, to see that everything works; no figures to quote")
    parser.add_argument("--only", help="one measurement and its arguments, as Python: bench.opens('ketuk')")
    arguments = parser.parse_args()

    missing = [program for program in ("ip", "nft", "nmap", "knockd", "fwknopd") if not shutil.which(program)]
    if missing or os.geteuid() != 0:
        sys.exit(f"missing: {', '.join(missing)}" if missing else "make bench needs root: it makes network namespaces")
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ketuk-bench-") as directory, network():
        bench = Bench(arguments, pathlib.Path(directory))
        if arguments.only:
            print(eval(arguments.only, {"bench": bench}))  # noqa: S307 - the user's own words
            print(*bench.slow, sep="\n")
            return
        rows = measure(bench)
        old = arguments.results.read_text() if arguments.results.exists() else ""
        _, heading, soak = old.partition(SOAK)
        arguments.results.write_text(table(bench, rows, time.monotonic() - start) + heading + soak)
    progress(f"written: {arguments.results}")
    if bench.broken:
        sys.exit("; ".join(bench.broken))


if __name__ == "__main__":
    main()
