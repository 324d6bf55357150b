//! A router with its daemon, its firewall and its users.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fs, thread};

use ketuk::protocol::{base32, base64, packet};
use nix::sys::signal::Signal;

use super::fault::Kind;
use super::ledger::{Entry, Ledger};
use super::support::daemon::{Daemon, Start, ruleset};
use super::support::wire::Lcg;
use super::support::{FIREWALL, ROUTER, ROUTER_6, Scratch, World, stdout};

/// The sequence of door `plain`.
pub(crate) const PLAIN: [&str; 3] = ["31415", "17171:udp", "42424"];

/// The limit of the daemon's memory: its data segment, its heap and its own mappings.
const MEMORY_BYTES: u32 = 4 << 20;

/// The disk for the control socket, the newest packet's time and the log file.
const DISK: &str = "size=2m,mode=0755";

/// The number of the log's lines that are shown with a broken promise.
const LINES: usize = 5;

/// The number of random bytes of a secret.
const SECRET: usize = 32;

/// Somebody who knocks right.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) kind: Kind,
    pub(crate) entry: Entry,
    pub(crate) secret: [u8; SECRET],
    pub(crate) open: Duration,
    name: String,
}

/// The number of knockers of each kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) packet: u8,
    pub(crate) changing: u8,
    pub(crate) plain: u8,
}

/// A router.
#[derive(Debug)]
pub(crate) struct Site<'w> {
    pub(crate) name: &'static str,
    pub(crate) world: &'w World,
    pub(crate) users: Vec<User>,
    pub(crate) ledger: Ledger,
    /// Whether its daemon is killed and restarted.
    pub(crate) restarts: bool,
    disk: Scratch,
    config: String,
    sets: String,
    preload: String,
    daemon: Mutex<Option<Daemon<'w>>>,
    pid: AtomicU32,
}

impl<'w> Site<'w> {
    /// A router whose daemon hears knocks.
    pub(crate) fn new(
        name: &'static str,
        world: &'w World,
        crowd: Crowd,
        restarts: bool,
        random: &mut Lcg,
    ) -> Self {
        let disk = Scratch::new();
        let folder = disk.path("");
        let folder = folder.to_str().expect("a plain path");
        stdout("mount", &["-t", "tmpfs", "-o", DISK, "soak", folder]);
        let users = users(crowd, random);
        let addresses = users.iter().map(|user| user.entry.address).chain(strangers());
        let add: String = addresses.fold(String::new(), |add, address| {
            let prefix = if address.is_ipv4() { "24" } else { "64 nodad" };
            let (prefix, nodad) = prefix.split_once(' ').unwrap_or((prefix, ""));
            add + &format!("address add {address}/{prefix} dev eth0 {nodad}\n")
        });
        let batch = world.scratch.write("addresses", &add);
        world.client.stdout("ip", &["-batch", batch.to_str().expect("a plain path")]);
        let config = config(&users, &disk.path("knocks.log"));
        let sets = ruleset(&world.scratch.write("ketuk.uci", &config));
        world.router.nft(&sets);
        let ledger = Ledger::default();
        for user in &users {
            let comment =
                if user.kind == Kind::Plain { String::new() } else { format!("user {}", user.name) };
            ledger.enter(user.entry.clone(), comment, user.open);
        }
        let preload = stdout("faketime", &["-f", "+0", "printenv", "LD_PRELOAD"]);
        let site = Self {
            name,
            world,
            users,
            ledger,
            restarts,
            disk,
            config,
            sets,
            preload: preload.trim().to_owned(),
            daemon: Mutex::new(None),
            pid: AtomicU32::new(0),
        };
        site.set_clock(0);
        site.know_router();
        site.start();
        site
    }

    /// Tells the provider's router the Ethernet address. Otherwise it would delay packets while it asks for the address.
    pub(crate) fn know_router(&self) {
        let mac = self.world.router.mac("wan0").map(|byte| format!("{byte:02x}")).join(":");
        for address in [ROUTER, ROUTER_6] {
            self.world.isp.ip(&format!("neighbour replace {address} lladdr {mac} dev router0 nud permanent"));
        }
    }

    /// Starts the daemon as its service does, with its limit of memory and a wall clock that can be set.
    pub(crate) fn start(&self) {
        let mut start = Start::new(&self.world.router, &self.world.scratch, &self.config);
        start.socket(&self.disk.path("ketuk.sock"));
        start.through(&["prlimit", &format!("--data={MEMORY_BYTES}")]);
        let clock = self.clock();
        start
            .command()
            .env("LD_PRELOAD", &self.preload)
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let daemon = start.go();
        self.pid.store(daemon.pid(), Ordering::Relaxed);
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = Some(daemon);
    }

    /// Ends the daemon.
    pub(crate) fn stop(&self, signal: Signal) {
        self.pid.store(0, Ordering::Relaxed);
        let daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (status, log) = daemon.expect("it was started").end(signal);
        let is_clean = status.success() == (signal == Signal::SIGTERM);
        if !is_clean {
            self.ledger.broken(format!("the daemon ended with {status} at {signal}\n{log}"));
        }
    }

    /// Ends the soak if the daemon has ended by itself. Returns whether it has.
    pub(crate) fn has_died(&self) -> bool {
        let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(daemon) = daemon.as_mut() else { return false };
        if daemon.is_alive() {
            return false;
        }
        self.ledger.give_up(&format!("{}: the daemon ended by itself:\n{}", self.name, daemon.log()));
        true
    }

    /// Runs a command of ketukd against the daemon.
    pub(crate) fn with_daemon<T>(&self, ask: impl FnOnce(&Daemon<'w>) -> T) -> T {
        let daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        ask(daemon.as_ref().expect("it is started"))
    }

    /// Enters a broken promise, with the events before it and the daemon's status.
    pub(crate) fn broken(&self, what: &str, entry: &Entry) {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let address = entry.address.to_string();
        let mut about: Vec<&str> = log.lines().filter(|line| line.contains(&address)).collect();
        let said = about.split_off(about.len().saturating_sub(LINES)).join("\n  ");
        let lately = self.ledger.lately();
        self.ledger.broken(format!("{}: {what}: {} at {}{lately}\n  {said}", self.name, address, entry.door));
    }

    /// The daemon's process, at times when the daemon should run.
    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// Changes the configuration, and has the daemon read it. Returns whether the daemon accepted it.
    pub(crate) fn reload(&self, text: &str) -> bool {
        self.with_daemon(|daemon| {
            daemon.write_config(text);
            daemon.control(&["reload"]).status.success()
        })
    }

    /// The configuration.
    pub(crate) fn config(&self) -> &str {
        &self.config
    }

    /// Loads this text, and after it the firewall and the sets, in one transaction.
    pub(crate) fn load_firewall(&self, first: &str) {
        self.world.router.nft(&format!("{first}\n{FIREWALL}\n{}", self.sets));
    }

    /// Sets the daemon's wall clock this many seconds ahead of or behind the right time.
    pub(crate) fn set_clock(&self, offset_s: i64) {
        // The file is replaced in one step, so that a reader never finds it empty.
        let new = self.world.scratch.write("clock.new", &format!("{offset_s:+}\n"));
        fs::rename(new, self.clock()).expect("a file");
    }

    fn clock(&self) -> PathBuf {
        self.world.scratch.path("clock")
    }

    /// The daemon's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.world.scratch.path("ketuk.log")
    }

    /// Fills the disk.
    pub(crate) fn fill_disk(&self) {
        let filler = self.disk.path("filler");
        // It fills the last byte too, so that partial writes also fail.
        let _full = fs::write(filler, vec![0; 4 << 20]);
    }

    /// Makes room again, as rotating the log does.
    pub(crate) fn clear_disk(&self) {
        fs::remove_file(self.disk.path("filler")).expect("the file that filled the disk");
        if let Ok(log) = fs::File::options().write(true).open(self.disk.path("knocks.log")) {
            log.set_len(0).expect("a shorter file");
        }
    }

    /// The elements of all sets.
    pub(crate) fn nft_sets(&self) -> String {
        let output = self.world.router.run("nft", &["list", "sets", "inet"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Stops the daemon, and checks whether it shut all doors.
    pub(crate) fn finish(&self) {
        // The last knocks are over by then.
        let longest = self.users.iter().map(|user| user.open).max().unwrap_or_default();
        thread::sleep(longest + Duration::from_secs(1));
        let left = self.with_daemon(|daemon| daemon.status()["grants"].to_string());
        if left != "[]" {
            self.ledger.broken(format!("the daemon holds doors open at the end: {left}"));
        }
        let sets = self.nft_sets();
        if sets.contains("elements") {
            self.ledger.broken(format!("doors are open at the end: {sets}"));
        }
        let log = self.with_daemon(Daemon::log);
        if log.contains("panicked") {
            self.ledger.broken(format!("the daemon panicked:\n{log}"));
        }
        self.stop(Signal::SIGTERM);
        let folder = self.disk.path("");
        stdout("umount", &[folder.to_str().expect("a plain path")]);
    }
}

/// The addresses of strangers, which never knock right.
pub(crate) fn strangers() -> impl Iterator<Item = IpAddr> {
    (0..4).map(|number| address(200 + number))
}

/// Every second address is an IPv6 address.
fn address(number: u8) -> IpAddr {
    let text = if number.is_multiple_of(2) {
        format!("198.51.100.{number}")
    } else {
        format!("2001:db8:c::{number}")
    };
    text.parse().expect("an address")
}

fn users(crowd: Crowd, random: &mut Lcg) -> Vec<User> {
    let Crowd { packet, changing, plain } = crowd;
    let kinds = [
        (Kind::Packet, "ssh", packet, 6, "packet"),
        (Kind::Changing, "web", changing, 5, "changing"),
        (Kind::Plain, "plain", plain, 4, ""),
    ];
    let mut next = 20;
    let mut users = Vec::new();
    for (kind, door, count, open_s, name) in kinds {
        for number in 0..count {
            let mut secret = [0; SECRET];
            secret.fill_with(|| u8::try_from(random.below(256)).expect("a byte"));
            let entry = Entry { door, address: address(next) };
            let open = Duration::from_secs(open_s);
            users.push(User { kind, entry, secret, open, name: format!("{name}{number}") });
            next += 1;
        }
    }
    users
}

fn config(users: &[User], log_file: &std::path::Path) -> String {
    let mut config = format!(
        "config globals 'globals'\n\toption backend 'fw4'\n\toption trust_clock '1'\n\toption log_file '{}'\n\
         config door 'plain'\n\toption sequence '{}'\n\toption proto 'tcp'\n\toption dest_port '22'\n\toption open_time '4'\n\
         config door 'ssh'\n\toption proto 'tcp'\n\toption dest_port '222'\n\toption open_time '6'\n\
         config door 'web'\n\toption proto 'tcp'\n\toption dest_port '443'\n\toption open_time '5'\n",
        log_file.display(),
        PLAIN.join(" ")
    );
    for User { kind, entry, secret, name, .. } in users {
        let secret = match kind {
            Kind::Packet => {
                let mut text = [0; 48];
                let key: &[u8; packet::KEY] = secret;
                format!("key '{}'", base64::encode(key, &mut text).expect("room for it"))
            }
            Kind::Changing => format!("totp '{}'", base32::encode(secret).collect::<String>()),
            Kind::Plain | Kind::Renewal => continue,
        };
        let _ = write!(config, "config user '{name}'\n\toption {secret}\n\tlist door '{}'\n", entry.door);
    }
    config
}
