#!/usr/bin/env python3
"""The cost of a flood of packets without a valid proof, beside fwknopd.

usage: benches/users.py [KETUKD [FWKNOPD]]     as root; KETUKD is a release build

Two network namespaces are joined by a veth cable. A flood of 10,000 datagrams a second goes to port 62201, from
random addresses, while somebody who has the keys sends ten packets, one each second. For each daemon and each kind
of flood this prints how many of the ten opened, how much of one processor the daemon took, and how its memory grew.
An fwknop-shaped datagram has fwknop's length, alphabet and first character; a ketuk-shaped one has 100 random bytes.
"""

import base64
import ctypes
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RATE, SECONDS, RIGHT = 10_000, 14, 10
ROUTER, SENDER = "ketuk-users-router", "ketuk-users-sender"
ADDRESS, FROM, PORT = "198.51.100.1", "198.51.100.2", 62201
KEY, HMAC_KEY = base64.b64encode(b"benchmark").decode(), base64.b64encode(b"benchmark hmac").decode()
CLONE_NEWNET = 0x40000000
LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def run(*argv, **options):
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True, **options).stdout


def network():
    for name in (ROUTER, SENDER):
        subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    run("ip", "-n", SENDER, "link", "add", "kb1", "type", "veth", "peer", "name", "kb0", "netns", ROUTER)
    for name, device, address in ((SENDER, "kb1", FROM), (ROUTER, "kb0", ADDRESS)):
        run("ip", "-n", name, "address", "add", f"{address}/24", "dev", device)
        run("ip", "-n", name, "link", "set", device, "up")
    run("ip", "-n", ROUTER, "route", "add", "default", "via", FROM)
    run("ip", "netns", "exec", ROUTER, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.kb0.rp_filter=0")


def mac(name, device):
    text = run("ip", "-o", "-n", name, "link", "show", device).split()
    return bytes.fromhex(text[text.index("link/ether") + 1].replace(":", ""))


def frames(kind, count=20_000):
    """Frames from random addresses. Their checksums are right; UDP's is left out, which is allowed."""
    rng, head = random.Random(1), mac(ROUTER, "kb0") + mac(SENDER, "kb1") + b"\x08\x00"
    for _ in range(count):
        if kind == "fwknop":
            payload = b"8" + bytes(rng.choices(LETTERS, k=203))
        else:
            payload = rng.randbytes(100)
        udp = struct.pack(">HHHH", rng.randrange(1024, 65536), PORT, 8 + len(payload), 0) + payload
        source = struct.pack(">L", rng.randrange(0x0B000000, 0x7E000000))
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), rng.randrange(65536), 0, 64, 17, 0)
        ip += source + socket.inet_aton(ADDRESS)
        total = sum(struct.unpack(">10H", ip))
        total = (total & 0xFFFF) + (total >> 16)
        ip = ip[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + ip[12:]
        yield head + ip + udp


def flood(kind):
    """Sends from a child process in the sender's namespace. Returns the child process."""
    child = os.fork()
    if child:
        return child
    # os.setns exists from Python 3.12 on.
    if ctypes.CDLL(None, use_errno=True).setns(os.open(f"/run/netns/{SENDER}", os.O_RDONLY), CLONE_NEWNET):
        os._exit(1)
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind(("kb1", 0))
    all_frames = list(frames(kind))
    begun = time.monotonic()
    for n in range(RATE * SECONDS):
        wire.send(all_frames[n % len(all_frames)])
        if n % 100 == 0 and (ahead := begun + n / RATE - time.monotonic()) > 0:
            time.sleep(ahead)
    late = time.monotonic() - begun - SECONDS
    if late > 1:
        print(f"  (the sender was {late:.1f} s late)", file=sys.stderr)
    os._exit(0)


def used(pid):
    """The processor seconds of a process and of its children that ended, and its resident memory in kB."""
    ns = sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[13:15]
    rss = next(line.split()[1] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Rss"))
    return ns / 1e9 + sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), int(rss)


def by_fwknop(n):
    run("ip", "netns", "exec", SENDER, "fwknop", "--no-save-args", "--no-rc-file", "--use-hmac", "-A", "tcp/22", "-D", ADDRESS,
        "-a", f"192.0.2.{n + 1}", "--key-base64-rijndael", KEY, "--key-base64-hmac", HMAC_KEY, env={**os.environ, "HOME": "/nonexistent"})


def by_ketuk(client, folder):
    def knock(n):
        run("ip", "netns", "exec", SENDER, client, "open", "-a", f"192.0.2.{n + 1}", "bench", env={**os.environ, "KETUK_PROFILES": str(folder)})

    return knock


def measure(what, argv, knock, kind, opened):
    process = subprocess.Popen(["ip", "netns", "exec", ROUTER, *map(str, argv)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(3)
        before, child = used(process.pid), flood(kind) if kind else None
        time.sleep(2)
        for n in range(RIGHT):
            knock(n)
            time.sleep(1)
        if child:
            os.waitpid(child, 0)
        time.sleep(1)
        after = used(process.pid)
        share = (after[0] - before[0]) / SECONDS
        print(f"{what:44} {kind or 'none':7} {opened():3} of {RIGHT}  {100 * share:6.1f} %  {before[1]:6} -> {after[1]:6} kB", flush=True)
    finally:
        process.terminate()
        process.wait()


def main(arguments):
    ketukd = Path(arguments[0] if arguments else "target/release/ketukd").resolve()
    fwknopd = arguments[1] if len(arguments) > 1 else shutil.which("fwknopd")
    folder = Path(tempfile.mkdtemp(prefix="ketuk-users-"))
    try:
        print(f"{'daemon':44} {'flood':7} {'opened':8}  {'processor':>8}  resident memory")
        for kind in (None, "fwknop", "ketuk"):
            network()
            config, access = folder / "fwknopd.conf", folder / "access.conf"
            config.write_text(f"PCAP_INTF kb0;\nFWKNOP_RUN_DIR {folder};\nFWKNOP_PID_FILE {folder}/fwknopd.pid;\nDIGEST_DB_FILE {folder}/digests;\n")
            access.write_text(f"SOURCE ANY\nOPEN_PORTS tcp/22\nKEY_BASE64 {KEY}\nHMAC_KEY_BASE64 {HMAC_KEY}\nFW_ACCESS_TIMEOUT 60\n")
            config.chmod(0o600)
            access.chmod(0o600)
            rules = lambda: run("ip", "netns", "exec", ROUTER, "iptables", "-S").count("192.0.2.")
            measure("fwknopd, 1 user", (fwknopd, "-f", "-i", "kb0", "-c", config, "-a", access), by_fwknop, kind, rules)
            for users in (1, 100):
                uci, sock = folder / "ketuk.uci", folder / "sock"
                text = "config globals\n\toption backend 'none'\n\toption trust_clock '1'\nconfig door 'ssh'\n\toption dest_port '22'\n\toption open_time '60'\n"
                for n in range(users):
                    key = base64.b64encode(bytes([n]) * 32).decode()
                    fwknop = (KEY, HMAC_KEY) if n == users - 1 else (KEY, base64.b64encode(bytes([n + 1]) * 32).decode())
                    text += f"config user 'u{n}'\n\toption key '{key}'\n\toption fwknop_key '{fwknop[0]}'\n\toption fwknop_hmac_key '{fwknop[1]}'\n\toption other_address '1'\n\tlist door 'ssh'\n"
                uci.write_text(text)
                uci.chmod(0o600)
                profiles = folder / f"profiles{users}"
                profiles.mkdir(exist_ok=True)
                line = run(ketukd, "invite", f"u{users - 1}", "--host", ADDRESS, "--config", uci)
                (profiles / "bench").write_text(line)
                (profiles / "bench").chmod(0o600)
                argv = (ketukd, "run", "--config", uci, "--device", "kb0", "--socket", sock)
                opened = lambda: run(ketukd, "status", "--socket", sock).count("open ssh for 192.0.2.")
                for name, knock in (("fwknop's client", by_fwknop), ("ketuk", by_ketuk(ketukd.with_name("ketuk"), profiles))):
                    network()
                    measure(f"ketukd, {users} users, right ones by {name}", argv, knock, kind, opened)
    finally:
        shutil.rmtree(folder)
        for name in (ROUTER, SENDER):
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main(sys.argv[1:])
