//! A small internet for tests that need a real one: hosts in network namespaces, joined by wires.
//!
//! ```text
//!   client    198.51.100.10  --.                              .-- lan   192.168.1.10
//!             2001:db8:c::10    \                            /          2001:db8:2::10
//!                                isp ---- wan0 router lan0 --
//!   stranger  192.0.2.10       /     203.0.113.1   192.168.1.1
//!             2001:db8:5::10 -'      2001:db8:1::1 2001:db8:2::1
//! ```
//! The kernel removes all of it when the test ends. The tests need root, or `unshare -rn`. Without it a test fails and says
//! so.
#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "a test says what it expected by panicking")]

pub mod daemon;
pub mod document;
pub mod frames;
pub mod host;
pub mod shut;
pub mod tutorial;
pub mod wire;

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use host::Host;

/// The time limit of each wait, long enough for a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The router's address on the WAN.
pub const ROUTER: &str = "203.0.113.1";
/// The same for IPv6.
pub const ROUTER_6: &str = "2001:db8:1::1";
/// The address of the host that knocks.
pub const CLIENT: &str = "198.51.100.10";
/// The same for IPv6.
pub const CLIENT_6: &str = "2001:db8:c::10";
/// The address of a host that does not knock.
pub const STRANGER: &str = "192.0.2.10";
/// The same for IPv6.
pub const STRANGER_6: &str = "2001:db8:5::10";
/// The protected host.
pub const LAN: &str = "192.168.1.10";
/// The same for IPv6.
pub const LAN_6: &str = "2001:db8:2::10";

/// The essential rules that fw4 makes of a default configuration.
pub const FIREWALL: &str = include_str!("../fixtures/router.nft");

/// The hosts.
#[derive(Debug)]
pub struct World {
    pub client: Host,
    pub stranger: Host,
    pub isp: Host,
    pub router: Host,
    pub lan: Host,
    pub scratch: Scratch,
}

impl World {
    /// This line of shell, with a lock of iptables that no other test takes. Root of a user namespace may not use the
    /// usual one.
    pub fn own_lock(&self, line: &str) -> String {
        format!("export XTABLES_LOCKFILE={}; {line}", self.scratch.path("xtables.lock").display())
    }

    /// The hosts with addresses and routes, and a router without a firewall.
    pub fn new() -> Self {
        let [client, stranger, isp, router, lan] =
            ["client", "stranger", "isp", "router", "lan"].map(Host::new);
        isp.wire("client0", &client, "eth0");
        isp.wire("stranger0", &stranger, "eth0");
        isp.wire("router0", &router, "wan0");
        router.wire("lan0", &lan, "eth0");

        isp.addresses("client0", &["198.51.100.254/24", "2001:db8:c::fe/64"]);
        isp.addresses("stranger0", &["192.0.2.254/24", "2001:db8:5::fe/64"]);
        isp.addresses("router0", &["203.0.113.254/24", "2001:db8:1::fe/64"]);
        client.addresses("eth0", &["198.51.100.10/24", "2001:db8:c::10/64"]);
        stranger.addresses("eth0", &["192.0.2.10/24", "2001:db8:5::10/64"]);
        router.addresses("wan0", &["203.0.113.1/24", "2001:db8:1::1/64"]);
        router.addresses("lan0", &["192.168.1.1/24", "2001:db8:2::1/64"]);
        lan.addresses("eth0", &["192.168.1.10/24", "2001:db8:2::10/64"]);

        client.gateways("198.51.100.254", "2001:db8:c::fe");
        stranger.gateways("192.0.2.254", "2001:db8:5::fe");
        router.gateways("203.0.113.254", "2001:db8:1::fe");
        lan.gateways("192.168.1.1", "2001:db8:2::1");
        isp.ip("route add 2001:db8:2::/64 via 2001:db8:1::1");
        for forwards in [&isp, &router] {
            forwards.forward();
        }
        Self { client, stranger, isp, router, lan, scratch: Scratch::new() }
    }

    /// The same, with servers on TCP port 22 and UDP port 53 of the router, and on TCP port 443 of the host behind it. Returns
    /// when the client reaches them over both families.
    pub fn with_servers() -> Self {
        let world = Self::new();
        world.router.serve(22);
        world.router.serve_udp(53);
        world.lan.serve(443);
        for address in [ROUTER, ROUTER_6] {
            wait_until("the hosts reach each other", || world.client.greeted_by(address, 22).is_some());
            assert_eq!(world.client.answered_by(address, 53).as_deref(), Some("router"));
        }
        wait_until("the hosts reach each other", || world.client.greeted_by(LAN_6, 443).is_some());
        world
    }

    /// The same, with the firewall of `tests/fixtures/router.nft` on the router.
    pub fn with_firewall() -> Self {
        let world = Self::new();
        world.router.nft(FIREWALL);
        world
    }
}

/// A folder that is deleted when the test ends.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new folder.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("ketuk-test-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // A program with several copies of this module counts in each of them.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in the folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes a file that only its owner may read.
    pub fn write_secret(&self, name: &str, text: &str) -> PathBuf {
        self.write_with_mode(name, text, 0o600)
    }

    /// Writes a program.
    pub fn write_program(&self, name: &str, text: &str) -> PathBuf {
        self.write_with_mode(name, text, 0o755)
    }

    fn write_with_mode(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program, killed when this value is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts the program.
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Self(
            child.unwrap_or_else(|error| {
                panic!("{program}: {error}; `make test` installs what the tests need")
            }),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `done` is true; fails after [`PATIENCE`].
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a program to its end. If it is not installed, the test fails and names the package.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    run_with_input(program, arguments, "")
}

/// The same, with something on standard input.
pub fn run_with_input(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; `make test` installs what the tests need"));
    // A program that does not read its input has closed the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Standard output of a program that must succeed.
pub fn stdout(program: &str, arguments: &[&str]) -> String {
    succeeded(program, arguments, &run(program, arguments))
}

/// The standard output of a program that must have succeeded.
pub fn succeeded(program: &str, arguments: &[&str], output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {}: {}\n{out}{err}", arguments.join(" "), output.status);
    out.into_owned()
}

/// Runs a program in a mount namespace of its own, where it may write in `/run`. So root of a user namespace can run
/// iptables-legacy, whose lock is there, and firewalls.
pub const OWN_RUN: [&str; 6] =
    ["unshare", "--mount", "sh", "-ec", "mount -t tmpfs tmpfs /run; exec \"$@\"", "sh"];

/// Copies a program that a test runs. It uses `cp`: if this process wrote the file, a program that another test starts meanwhile
/// would inherit the open file, and the kernel runs no file that is open for writing.
pub fn copy_program(from: &Path, to: &Path) {
    let [from, to] = [from, to].map(|path| path.to_str().expect("a plain path"));
    stdout("cp", &[from, to]);
}

/// The binary under test.
pub fn ketukd() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ketukd"))
}

/// The client under test.
pub fn ketuk() -> &'static str {
    env!("CARGO_BIN_EXE_ketuk")
}

/// The folder in `scratch` where `make install` has put everything.
pub fn installed(scratch: &Scratch) -> PathBuf {
    let (prefix, bin) = (scratch.path("usr"), ketukd().parent().unwrap());
    // The date of the pages is that of the commit, but git tells root nothing about another user's tree.
    let make = "unset MAKEFLAGS; SOURCE_DATE_EPOCH=0 exec make -s -C \"$1\" install PREFIX=\"$2\" SYSCONFDIR=\"$2\"/etc BIN=\"$3\"";
    let [to, from] = [&prefix, bin].map(|path| path.to_str().unwrap());
    stdout("sh", &["-c", make, "sh", env!("CARGO_MANIFEST_DIR"), to, from]);
    prefix
}

/// Prints what a test leaves out on this machine. It does not use `eprintln!`, whose output the test runner hides if the test
/// passes.
pub fn not_tested(what: &str) {
    let _ = writeln!(io::stderr(), "NOT TESTED {what}");
}

/// Whether the test runs as root of the machine, and not only of a user namespace. If it does not, the test says what it
/// leaves out.
pub fn is_root_of_the_machine(left_out: &str) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_root = map.split_whitespace().eq(["0", "0", "4294967295"]);
    if !is_root {
        not_tested(&format!("without root of the machine: {left_out}"));
    }
    is_root
}
