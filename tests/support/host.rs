//! A host: a network namespace and the programs in it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Output;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

use super::{run, run_with_input, stdout, succeeded};

/// The time limit of a connection attempt. A refusal comes at once. Only if packets are dropped does the attempt take this
/// long.
const CONNECT: Duration = Duration::from_millis(1500);

/// A host.
#[derive(Debug)]
pub struct Host {
    name: &'static str,
    namespace: File,
}

impl Host {
    /// A host with only a loopback device.
    pub fn new(name: &'static str) -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("this test needs network namespaces: run it as root, or under `unshare -rn`");
            File::open("/proc/thread-self/ns/net").expect("the namespace of this thread")
        });
        let host = Self { name, namespace: made.join().expect("a namespace") };
        host.ip("link set lo up");
        host
    }

    /// Runs `body` on this host. Programs that it starts run on this host too.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("the host's namespace");
                body()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program on this host, and returns its output, also if it failed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.enter(|| run(program, arguments))
    }

    /// The standard output of a program that must succeed on this host.
    pub fn stdout(&self, program: &str, arguments: &[&str]) -> String {
        self.enter(|| stdout(program, arguments))
    }

    /// Runs a line of shell (bash) that must succeed on this host.
    pub fn shell(&self, line: &str) -> String {
        self.stdout("bash", &["-c", line])
    }

    /// Knocks these ports of an address, one after the other, with knockd's client.
    pub fn knock(&self, address: &str, ports: &str) {
        let family = if address.contains(':') { "-6" } else { "-4" };
        self.shell(&format!("knock {family} -d 20 {address} {ports}"));
    }

    /// `ip` with these arguments.
    pub fn ip(&self, arguments: &str) -> String {
        self.stdout("ip", &arguments.split_whitespace().collect::<Vec<_>>())
    }

    /// `nft -f` with this script.
    pub fn nft(&self, script: &str) {
        self.enter(|| {
            let arguments = ["-f", "-"];
            let output = run_with_input("nft", &arguments, script);
            succeeded("nft", &arguments, &output);
        });
    }

    /// The output of `nft list`.
    pub fn nft_list(&self, what: &str) -> String {
        let arguments: Vec<_> = std::iter::once("list").chain(what.split_whitespace()).collect();
        self.stdout("nft", &arguments)
    }

    /// The namespace as an argument of `ip`.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd())
    }

    /// Joins a new device here to a new device of another host, and sets both up.
    pub fn wire(&self, device: &str, other: &Self, other_device: &str) {
        let netns = other.path();
        self.ip(&format!("link add {device} type veth peer name {other_device} netns {netns}"));
        self.ip(&format!("link set {device} up"));
        other.ip(&format!("link set {other_device} up"));
    }

    /// Adds addresses, ready at once.
    pub fn addresses(&self, device: &str, addresses: &[&str]) {
        for address in addresses {
            // No other host has the address, so no search for duplicates is needed.
            let nodad = if address.contains(':') { " nodad" } else { "" };
            self.ip(&format!("address add {address} dev {device}{nodad}"));
        }
    }

    /// A device's Ethernet address.
    pub fn mac(&self, device: &str) -> [u8; 6] {
        let link = self.ip(&format!("-o link show {device}"));
        let text = link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
        let bytes = text.expect("an Ethernet device").split(':');
        let bytes: Vec<u8> = bytes.map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect();
        bytes.try_into().expect("six bytes")
    }

    /// The number of packets that a device has received.
    pub fn received(&self, device: &str) -> u64 {
        let shown = self.ip(&format!("-j -s link show {device}"));
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        shown[0]["stats64"]["rx"]["packets"].as_u64().expect("a number")
    }

    /// Default routes for both families.
    pub fn gateways(&self, v4: &str, v6: &str) {
        self.ip(&format!("route add default via {v4}"));
        self.ip(&format!("-6 route add default via {v6}"));
    }

    /// Forwards packets.
    pub fn forward(&self) {
        self.sysctl("net/ipv4/ip_forward", "1");
        self.sysctl("net/ipv6/conf/all/forwarding", "1");
    }

    /// Sets a value under /proc/sys.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{name}");
        self.enter(|| std::fs::write(&path, value)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Serves a TCP port on every address until the test ends. The server greets with the host's name, and then sends back
    /// all that it receives.
    pub fn serve(&self, port: u16) {
        let name = self.name;
        self.enter(|| {
            let listener = TcpListener::bind(("::", port)).expect("a free port");
            // The socket belongs to this namespace, whichever thread uses it.
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    thread::spawn(move || greet(stream, name));
                }
            });
        });
    }

    /// Serves a UDP port: answers each datagram with the host's name.
    pub fn serve_udp(&self, port: u16) {
        let name = self.name;
        self.enter(|| {
            let socket = UdpSocket::bind(("::", port)).expect("a free port");
            thread::spawn(move || {
                let mut buffer = [0; 512];
                while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(name.as_bytes(), from);
                }
            });
        });
    }

    /// The name in the greeting of a TCP connection from this host; `None` if there is no connection.
    pub fn greeted_by(&self, address: &str, port: u16) -> Option<String> {
        let (_, greeting) = self.connect(address, port)?;
        Some(greeting)
    }

    /// A connection from this host, after the greeting.
    pub fn connect(&self, address: &str, port: u16) -> Option<(TcpStream, String)> {
        let address = SocketAddr::new(address.parse::<IpAddr>().expect("an address"), port);
        self.enter(|| {
            let mut stream = TcpStream::connect_timeout(&address, CONNECT).ok()?;
            stream.set_read_timeout(Some(super::PATIENCE)).expect("a time");
            let mut greeting = [0; 64];
            let len = stream.read(&mut greeting).ok()?;
            Some((stream, String::from_utf8_lossy(&greeting[..len]).trim().to_owned()))
        })
    }

    /// The name of the host that answers a datagram from this host, if one does.
    pub fn answered_by(&self, address: &str, port: u16) -> Option<String> {
        let address = SocketAddr::new(address.parse::<IpAddr>().expect("an address"), port);
        self.enter(|| {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).expect("a socket");
            socket.connect(address).expect("a route");
            socket.set_read_timeout(Some(CONNECT)).expect("a time");
            socket.send(b"?").ok()?;
            let mut buffer = [0; 64];
            let len = socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
        })
    }
}

fn greet(mut stream: TcpStream, name: &str) {
    let _ = writeln!(stream, "{name}");
    let mut buffer = [0; 512];
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..len]).is_err() {
            return;
        }
    }
}
