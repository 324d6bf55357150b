"""The parts that the tests of the service share: the daemon's program, and network namespaces."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
os.environ["PATH"] += ":/usr/sbin:/sbin"


def binary(name):
    """The path of a program of this project, which is built if it does not exist. KETUK_BIN is the directory."""
    directory = Path(os.environ.get("KETUK_BIN", ROOT / "target/debug"))
    if "KETUK_BIN" not in os.environ:
        subprocess.run([ROOT / "scripts/cargo.sh", "build", "--quiet", "--bins"], check=True, cwd=ROOT)
    return directory / name


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)


def within(seconds, condition):
    """Waits until a condition is true. Returns False if it is not true before a deadline."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class Namespace:
    """A network namespace, kept by a process that does nothing else."""

    def __init__(self):
        self.keeper = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        mine, its = Path("/proc/self/ns/net"), Path(f"/proc/{self.keeper.pid}/ns/net")
        assert within(10, lambda: its.exists() and os.readlink(its) != os.readlink(mine)), "no namespace"
        self.processes = [self.keeper]
        self("ip", "link", "set", "lo", "up")
        self("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.forwarding=1", "net.ipv4.ip_forward=1")

    def enter(self, *command):
        return ["nsenter", "-t", str(self.keeper.pid), "-n", *map(str, command)]

    def __call__(self, *command, **options):
        """Runs a command in the namespace; it must succeed."""
        done = run(*self.enter(*command), **options)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *command, **options):
        self.processes.append(subprocess.Popen(self.enter(*command), **options))
        return self.processes[-1]

    def link(self, name, other, other_name):
        """A cable to another namespace."""
        self("ip", "link", "add", name, "type", "veth", "peer", "name", other_name, "netns", other.keeper.pid)
        for space, device in ((self, name), (other, other_name)):
            space("ip", "link", "set", device, "up")

    def end(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()


def wan(test):
    """A router with a WAN, wan0 at 203.0.113.1, and somebody outside, at 203.0.113.2; they end with the test."""
    router, outside = Namespace(), Namespace()
    test.addCleanup(router.end)
    test.addCleanup(outside.end)
    router.link("wan0", outside, "eth0")
    router("ip", "addr", "add", "203.0.113.1/24", "dev", "wan0")
    outside("ip", "addr", "add", "203.0.113.2/24", "dev", "eth0")
    return router, outside


class Router:
    """A root directory with the service's files, a busybox, and stand-ins for procd and UCI."""

    def __init__(self, config):
        self.root = Path(tempfile.mkdtemp(prefix="ketuk-router-"))
        for directory in ("bin", "sbin", "usr/sbin", "etc/init.d", "etc/config", "lib/functions", "tmp", "var/run", "dev", "proc"):
            (self.root / directory).mkdir(parents=True)
        self.put_program("bin/busybox", shutil.which("busybox"))
        for applet in run("busybox", "--list").stdout.split():
            if not (self.root / "bin" / applet).exists():
                (self.root / "bin" / applet).symlink_to("busybox")
        self.put_program("usr/sbin/ketukd", binary("ketukd"))
        (self.root / "dev/null").touch()
        self.put("etc/rc.common", (HERE / "openwrt/rc.common").read_bytes(), 0o755)
        self.put("lib/functions.sh", (HERE / "openwrt/functions.sh").read_bytes())
        self.put("lib/functions/network.sh", (HERE / "openwrt/network.sh").read_bytes())
        self.put("etc/init.d/ketuk", (ROOT / "openwrt/ketuk/files/ketuk.init").read_bytes(), 0o755)
        self.put("etc/passwd", b"root:x:0:0:root:/root:/bin/ash\nketuk:x:453:453:ketuk:/var/run/ketuk:/bin/false\n")
        self.put("etc/group", b"root:x:0:\nketuk:x:453:ketuk\n")
        self.put("etc/config/firewall", b"config zone\n\toption name 'wan'\n\tlist network 'wan'\n\tlist network 'wan6'\n")
        self.put("etc/config/ketuk", config, 0o600)
        self.put("tmp/networks", b"wan pppoe-wan\nwan6 pppoe-wan\n")
        self.put("sbin/fw4", b"", 0o755)

    def put(self, path, content, mode=0o644):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)

    def put_program(self, path, program):
        """A program of this machine, and its libraries."""
        self.put(path, Path(program).read_bytes(), 0o755)
        for word in run("ldd", program).stdout.split():
            if word.startswith("/"):
                self.put(word.lstrip("/"), Path(word).read_bytes(), 0o755)

    def call(self, action, service="ketuk"):
        """Calls an init script. Returns its calls of procd, as lists of words, and its exit code."""
        record = self.root / "tmp/record"
        record.write_text("")
        done = run("chroot", self.root, f"/etc/init.d/{service}", action, env={"PATH": "/bin:/sbin:/usr/sbin"})
        return [line.split("\t") for line in record.read_text().split("\n") if line], done

    def remove(self, namespace):
        """Does what opkg and apk do when the package is removed: they stop the service, and run the package's script."""
        self.call("stop")
        self.put("postrm", (ROOT / "openwrt/ketuk/files/postrm").read_bytes())
        namespace("chroot", self.root, "/bin/sh", "/postrm", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    def end(self):
        shutil.rmtree(self.root)
