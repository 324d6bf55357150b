//! Attacks on a real daemon, on a router in network namespaces. `make attacks` prints a table of the results.
//! docs/threat-model.md has the promises. A test fails if its attack succeeds.
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

mod filling;
mod forging;
mod listening;
mod scanning;
mod stealing;

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ketuk::linux::clock;
use ketuk::protocol::packet::{DoorName, KEY, Keys, NONCE, Request};

use support::daemon::Daemon;
use support::host::Host;
use support::{World, frames, wait_until};

/// An attack. Its result becomes a row in the file that `KETUK_ATTACKS` names, if the variable is set.
#[derive(Debug)]
pub(crate) struct Attack {
    name: String,
    is_told: bool,
}

impl Attack {
    /// The attacker and the attack: two cells of the table.
    pub(crate) fn new(attacker: &str, tries: &str) -> Self {
        Self { name: format!("| {attacker} | {tries} "), is_told: false }
    }

    /// Writes the result of an attack that has failed.
    pub(crate) fn came_to(mut self, outcome: &str) {
        self.is_told = true;
        self.tell(outcome);
    }

    fn tell(&self, outcome: &str) {
        let row = format!("{}| {outcome} |\n", self.name);
        let Some(path) = std::env::var_os("KETUK_ATTACKS") else { return };
        let file = File::options().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(row.as_bytes())).expect("the file for the table");
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell("**it succeeded, or could not be tried**");
        }
    }
}

/// The sequence of door `plain`, which listeners and forgers know.
pub(crate) const KNOWN: &str = "31415 17171 42424";

/// The same as arguments of a client.
pub(crate) const STEPS: [&str; 3] = ["31415", "17171", "42424"];

/// The port for packets.
pub(crate) const SPA: u16 = 62_201;

/// A door that opens to [`KNOWN`], and a door for alice, who has a key, and fred, who has an fwknop client.
pub(crate) const CONFIG: &str = "
config globals 'globals'
	option backend 'fw4'
	option trust_clock '1'
config door 'plain'
	option sequence '31415 17171 42424'
	option proto 'tcp'
	option dest_port '22'
	option open_time '600'
config door 'hers'
	option proto 'tcp'
	option dest_port '443'
	option open_time '600'
config user 'alice'
	option key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='
	list door 'hers'
config user 'fred'
	option fwknop_key 'c3BhLXRlc3Qta2V5LTAxMjM0NTY3ODlhYmNkZWY='
	option fwknop_hmac_key 'c3BhLXRlc3QtaG1hYy1rZXktMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk='
	list door 'hers'
";

/// Sends the same frames again and again while `body` runs, `a_second` frames a second. `body` can ask whether all frames have
/// been sent once.
pub(crate) fn during_a_flood(
    world: &World,
    frames: &[Vec<u8>],
    a_second: u32,
    body: impl FnOnce(&dyn Fn() -> bool) + Send,
) {
    /// Ends the flood, also when a test fails.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let file = world.scratch.path("flood.pcap");
    std::fs::write(&file, frames::capture(frames)).expect("a file");
    let (file, a_second) = (file.to_str().expect("a plain path"), a_second.to_string());
    let (sent, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                world.isp.stdout("tcpreplay", &["--pps", &a_second, "--quiet", "-i", "router0", file]);
                sent.store(true, Ordering::Relaxed);
            }
        });
        let _end = End(&done);
        body(&|| sent.load(Ordering::Relaxed));
    });
}

/// A packet of alice for this address; `None` stands for the address that it is sent from.
pub(crate) fn alices(number: u8, address: Option<IpAddr>) -> [u8; 100] {
    let door = DoorName::new("hers").expect("a name");
    let request = Request { time: clock::wall_s(), seconds: 0, address, door };
    Keys::derive(&[0; KEY]).seal([number; NONCE], &request)
}

/// Sends a datagram to the router's port of packets.
pub(crate) fn send(from: &Host, to: &str, payload: &[u8]) {
    let to = SocketAddr::new(to.parse::<IpAddr>().expect("an address"), SPA);
    from.enter(|| {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        UdpSocket::bind(any).expect("a socket").send_to(payload, to).expect("sent");
    });
}

/// The addresses that a door is open for.
pub(crate) fn inside(daemon: &Daemon<'_>, door: &str) -> Vec<String> {
    let status = daemon.status();
    let grants = status["grants"].as_array().expect("a list");
    let of_door = grants.iter().filter(|grant| grant["door"] == door);
    of_door.map(|grant| grant["address"].as_str().expect("an address").to_owned()).collect()
}

/// Waits until new packets are newer than the daemon's start.
pub(crate) fn a_second_later() {
    let begun = clock::wall_s();
    wait_until("a second has passed", || clock::wall_s() > begun + 1);
}
