//! The host at the other end of a cable: a network namespace, and the packets that arrive there.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::thread;

use ketuk::core::packet::{self, Probe, Transport};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

use super::{ip, run, wait};

/// The host that is knocked at.
pub(super) const HOST_4: &str = "192.0.2.1";
pub(super) const HOST_6: &str = "2001:db8::1";

/// The host at the other end of the cable: a network namespace, and the packets that arrive there.
pub(super) struct Host {
    here: File,
    there: File,
    wire: OwnedFd,
}

/// The host's name, which has an address of each family.
pub(super) const NAME: &str = "home.example.org";

/// Gives this thread and the programs that it starts an `/etc/hosts` of their own.
pub(super) fn name_the_host() {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    let hosts =
        std::env::temp_dir().join(format!("ketuk-hosts-{}-{:?}", std::process::id(), thread::current().id()));
    fs::write(&hosts, format!("{HOST_6} {NAME}\n{HOST_4} {NAME}\n127.0.0.1 localhost\n")).expect("written");
    for arguments in
        [&["--make-rprivate", "/"][..], &["--bind", hosts.to_str().expect("a plain path"), "/etc/hosts"]]
    {
        let output = Command::new("mount").args(arguments).output().expect("needs util-linux");
        assert!(output.status.success(), "{output:?}");
    }
    fs::remove_file(hosts).expect("mounted");
}

/// A packet that [`Host`] received.
pub(super) struct Packet {
    /// Its protocol and port, for example `tcp 7000`.
    pub(super) step: String,
    pub(super) source: IpAddr,
    pub(super) source_port: u16,
    pub(super) destination: IpAddr,
    /// 0 for UDP.
    pub(super) flags: u8,
    pub(super) payload: Vec<u8>,
}

/// Runs `body` in a thread with a network namespace of its own, and a host to knock at. The namespaces go with
/// the thread.
pub(super) fn with_host(body: impl FnOnce(&Host) + Send + 'static) {
    let thread = thread::spawn(|| body(&Host::new()));
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Host {
    fn new() -> Self {
        let there = new_namespace();
        let wire = socket(
            AddressFamily::Packet,
            SockType::Datagram,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .expect("a packet socket");
        let here = new_namespace();
        let host = Self { here, there, wire };
        let there = format!("/proc/{}/fd/{}", std::process::id(), host.there.as_raw_fd());
        run("ip", &format!("link add cable type veth peer name cable netns {there}"));
        cable("192.0.2.2/24", "2001:db8::2/64");
        host.inside(|| cable(&format!("{HOST_4}/24"), &format!("{HOST_6}/64")));
        wait("the cable is plugged in", || cable_is_up() && host.inside(cable_is_up));
        host
    }

    /// Runs `body` in the host's namespace.
    pub(super) fn inside<T>(&self, body: impl FnOnce() -> T) -> T {
        setns(&self.there, CloneFlags::CLONE_NEWNET).expect("setns");
        let result = body();
        setns(&self.here, CloneFlags::CLONE_NEWNET).expect("setns");
        result
    }

    /// The TCP and UDP packets that have come since the last call. It waits until there are enough.
    pub(super) fn seen_until(&self, mut enough: impl FnMut(&[Packet]) -> bool) -> Vec<Packet> {
        let mut seen = Vec::new();
        wait("enough packets have come", || {
            let mut bytes = [0; 2048];
            loop {
                match recv(self.wire.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
                    Ok(len) => seen.extend(Packet::read(&bytes[..len])),
                    Err(Errno::EAGAIN) => return enough(&seen),
                    Err(Errno::ENETDOWN) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        seen
    }
}

impl Packet {
    /// A TCP or UDP packet to the host.
    fn read(bytes: &[u8]) -> Option<Self> {
        let Probe { source, destination, transport, .. } = packet::parse(bytes).ok()?;
        if ![ip(HOST_4), ip(HOST_6)].contains(&destination) {
            return None;
        }
        let step = format!("{} {}", transport.protocol(), transport.port());
        let ip_header = if destination.is_ipv4() { 20 } else { 40 };
        let (source_port, flags, header) = match transport {
            Transport::Tcp { source_port, flags, .. } => {
                (source_port, flags, usize::from(bytes[ip_header + 12] >> 4) * 4)
            }
            Transport::Udp { source_port, .. } => (source_port, 0, 8),
        };
        let payload = bytes[ip_header + header..].to_vec();
        Some(Self { step, source, source_port, destination, flags, payload })
    }
}

/// Moves this thread to a new network namespace.
fn new_namespace() -> File {
    unshare(CloneFlags::CLONE_NEWNET)
        .expect("this test needs a network namespace: run it as root, or under `unshare -rn`");
    run("ip", "link set lo up");
    File::open("/proc/thread-self/ns/net").expect("namespace")
}

/// Plugs in this namespace's end.
fn cable(address_4: &str, address_6: &str) {
    run("ip", &format!("address add {address_4} dev cable"));
    run("ip", &format!("address add {address_6} dev cable nodad"));
    run("ip", "link set cable up");
}

/// Whether this namespace's end can be used, by IPv6 too.
fn cable_is_up() -> bool {
    let tentative = run("ip", "-6 address show dev cable tentative to 2001:db8::/32");
    run("ip", "link show cable").contains("state UP") && tentative.is_empty()
}
