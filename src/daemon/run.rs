//! `ketukd run`: start-up, the loop, and the packet's way.

use std::hash::RandomState;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use log::{debug, error, info, trace, warn};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::backend::Backend;
use super::devices::{Devices, Filters};
use super::gate::Gate;
use super::hotplug::Hotplug;
use super::names;
use super::porter::{Porter, tell_closed};
use super::slots::never_traps;
use super::start::{Options, StartError};
use super::sweep;
use super::users::Users;
use super::wall::Wall;
use crate::config::{self, Config, Door, MAX_DEVICES};
use crate::control::server::{MAX_CLIENTS, Server};
use crate::core::auth::{self, Auth};
use crate::core::engine::{Engine, Listening, Tables};
use crate::core::grants::Grant;
use crate::core::ports::Ports;
use crate::core::time::Instant;
use crate::core::user::{MAX_USERS, UserId};
use crate::linux::capture::Batch;
use crate::linux::clock::now;
use crate::linux::filter::{self, Family};
use crate::linux::links::{Links, own_addresses};
use crate::log as sinks;

/// How long a clean stop may take to run the doors' stop commands. procd kills after five seconds.
const STOP_TIME: Duration = Duration::from_millis(4500);

/// Two sockets a device, the control socket and its clients, links, firewall, connections, signals.
const MAX_DESCRIPTORS: usize = 2 * MAX_DEVICES + 1 + MAX_CLIENTS + 4;

/// The core's tables: fixed, and no memory until they are touched.
pub(crate) static TABLES: Mutex<Tables> = Mutex::new(Tables::new());
static AUTH_TABLES: Mutex<auth::Tables> = Mutex::new(auth::Tables::new());
/// Where packets are read to, likewise.
static BATCH: Mutex<Batch> = Mutex::new(Batch::new());

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The daemon could not start. Once it runs, nothing on the network ends it.
pub fn run(options: Options) -> Result<(), StartError> {
    let config = config::load(&options.config).map_err(StartError::Config)?;
    start_log(&config);
    // Before anything changes: the sweep would take the rules of a daemon that lives.
    Server::check_free(&options.socket).map_err(StartError::Control)?;
    let signals = block_signals().map_err(|error| StartError::Socket("a signal descriptor", error))?;
    let keyed = RandomState::new();
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut auth_tables = AUTH_TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut batch = BATCH.lock().unwrap_or_else(PoisonError::into_inner);
    let started = now();
    let device_names = names::wanted(&options, &config);
    let mut daemon = Daemon {
        started,
        porter: Porter::new(
            Engine::new(&mut tables, keyed.clone()),
            Auth::new(&mut auth_tables, keyed.clone(), auth_rules(&config)),
            Gate::new(keyed, Backend::find(&config).map_err(StartError::Backend)?),
            Wall::new(started, &options.socket),
        ),
        devices: open_devices(&device_names)?,
        batch: &mut batch,
        device_names,
        links: Links::open().map_err(|error| StartError::Socket("rtnetlink", error))?,
        signals,
        options,
        config,
    };
    daemon.sweep();
    daemon.set_doors();
    daemon.set_users(started, |_, _, _, _| {});
    daemon.warn();
    daemon.porter.gate.load_cuts(&daemon.porter.slots, true);
    daemon.porter.gate.adopt(now(), &daemon.porter.slots);
    daemon.porter.gate.check_sets(&daemon.porter.slots);
    daemon.follow_links();
    // Only now: whoever finds the socket may knock.
    let mut server = Server::open(&daemon.options.socket).map_err(StartError::Control)?;
    info!("starting up, listening on {}", names::shown(&daemon.device_names));
    daemon.serve(&mut server);
    daemon.stop(&mut server);
    info!("shutting down");
    Ok(())
}

/// Everything that the daemon holds.
#[derive(Debug)]
pub struct Daemon<'t> {
    pub(super) started: Instant,
    pub(super) options: Options,
    pub(super) config: Config,
    pub(super) porter: Porter<'t>,
    pub(super) devices: Devices,
    batch: &'t mut Batch,
    device_names: Vec<String>,
    links: Links,
    signals: SignalFd,
}

impl Daemon<'_> {
    /// Waits, and does what is due, until a signal says to stop.
    fn serve(&mut self, server: &mut Server) {
        loop {
            self.porter.expire(server, now());
            let deadlines = [self.porter.next_deadline(), server.next_deadline()];
            let ready = self.wait(server, deadlines.into_iter().flatten().min());
            let now = now();
            if ready.signals && !self.on_signals(server, now) {
                return;
            }
            if ready.links {
                self.follow_links();
            }
            let Self { porter, devices, batch, .. } = self;
            if ready.firewall && porter.gate.backend_mut().changed() {
                debug!("the firewall's tables changed, looking after open doors");
                porter.gate.restore(now, &mut porter.counters, &porter.slots);
            }
            if ready.connections {
                porter.gate.on_announcements(now);
            }
            if ready.packets {
                porter.expire(server, now);
                devices.receive(batch, |bytes| porter.on_packet(server, now, bytes));
                if porter.is_used_up {
                    self.set_doors();
                    self.follow_links();
                }
            }
            for client in server.receive(now) {
                self.answer(server, now, client);
            }
        }
    }

    /// Sleeps until something is there to read, or until `deadline`.
    fn wait(&self, server: &Server, deadline: Option<Instant>) -> Ready {
        let mut fds = heapless::Vec::<PollFd<'_>, MAX_DESCRIPTORS>::new();
        let firewall = self.porter.gate.backend().events().map(AsFd::as_fd);
        let connections = self.porter.gate.announcements();
        // What is not there keeps its place.
        let signals = self.signals.as_fd();
        let fixed =
            [signals, self.links.as_fd(), firewall.unwrap_or(signals), connections.unwrap_or(signals)];
        fds.extend(fixed.map(polled));
        fds.extend(self.devices.descriptors().chain(server.descriptors()).map(polled));
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            // Rounded up by the clock's own granularity: waking early would only mean sleeping again.
            let ms = deadline.since(now()).as_millis();
            PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => {
                // Only a lack of memory can do this; do not make it worse by trying at full speed.
                error!("poll: {}", io::Error::from(errno));
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        let (fixed, rest) = fds.split_at(4);
        Ready {
            signals: ready(&fixed[0]),
            links: ready(&fixed[1]),
            firewall: firewall.is_some() && ready(&fixed[2]),
            connections: connections.is_some() && ready(&fixed[3]),
            packets: rest.iter().take(self.devices.descriptors().count()).any(ready),
        }
    }

    /// Whether to go on.
    fn on_signals(&mut self, server: &mut Server, now: Instant) -> bool {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGHUP)) => {
                    // The file may have been rotated away, whatever the configuration is worth.
                    set_log(&self.config);
                    if let Err(error) = self.reload(server, now) {
                        error!("the configuration stays as it was: {error}");
                    }
                }
                Ok(Ok(Signal::SIGTERM | Signal::SIGINT)) => return false,
                // SIGCHLD: the loop looks after commands each time round.
                _ => {}
            }
        }
        true
    }

    /// Reads the configuration anew. A wrong one changes nothing.
    pub(super) fn reload(&mut self, server: &mut Server, now: Instant) -> Result<(), StartError> {
        info!("re-reading config file: {}", self.options.config.display());
        let config = config::load(&self.options.config).map_err(StartError::Config)?;
        let names = names::wanted(&self.options, &config);
        let devices = if names == self.device_names { None } else { Some(open_devices(&names)?) };

        // From here on nothing can fail.
        set_log(&config);
        let globals = |config: &Config| (config.globals.backend, config.globals.nft_table.clone());
        if globals(&config) != globals(&self.config) {
            warn!("another backend or table is used only after a restart");
        }
        let Porter { slots, users, gate, counters, recents, hotplug, .. } = &mut self.porter;
        let new = slots.with(&config);
        gate.change_doors(now, counters, (slots, &new), &mut |door, grant| {
            tell_closed((server, hotplug), now, users, door, grant, "reload");
        });
        for (id, old) in slots.iter() {
            if new.get(id).is_none_or(|new| new.name != old.name) {
                recents.forget(id);
            }
        }
        *slots = new;
        gate.load_cuts(slots, true);
        if let Some(devices) = devices {
            info!("listening on {} from now on", names::shown(&names));
            self.devices = devices;
            self.device_names = names;
        }
        self.config = config;
        self.set_doors();
        self.set_users(now, |hotplug, users, door, grant| {
            tell_closed((server, hotplug), now, users, door, grant, "reload");
        });
        self.warn();
        self.porter.gate.check_sets(&self.porter.slots);
        self.porter.gate.restore_rules(now, &self.porter.slots);
        self.follow_links();
        Ok(())
    }

    /// Deletes the rules that a daemon before this one left: they have no timer.
    fn sweep(&self) {
        let Some(iptables) = self.porter.gate.backend().iptables() else { return };
        let openings = self.config.doors.iter().filter_map(|door| door.opening.as_ref());
        let forwards = openings.into_iter().any(|opening| opening.forward.is_some());
        for swept in sweep::sweep(iptables, forwards, sweep::SWEEP_TIME_LIMIT) {
            if swept.fault.is_some() {
                warn!("{swept}");
            } else if swept.deleted > 0 {
                info!("{swept}");
            }
        }
    }

    /// Gives the core the doors of the configuration.
    fn set_doors(&mut self) {
        let porter = &mut self.porter;
        porter.slots = porter.slots.with(&self.config);
        let knocks = porter.knocks();
        if porter.engine.set_doors(&knocks, &never_traps(&self.config)).is_err() {
            error!("the doors name too many different ports: some cannot be knocked");
        }
    }

    /// Gives the core the users of the configuration, once it has the doors. What is shut to those who may not
    /// any more is handed out.
    fn set_users(&mut self, now: Instant, mut each: impl FnMut(&mut Hotplug, &Users, &Door, &Grant)) {
        self.porter.wall.vouch(self.config.globals.auth.trust_clock);
        let Porter { engine, slots, auth, users, gate, counters, recents, hotplug, .. } = &mut self.porter;
        let new = users.with(&self.config);
        gate.change_users(now, counters, slots, (users, &new), &mut |door, grant| {
            each(hotplug, users, door, grant);
        });
        auth.set_users(auth_rules(&self.config), &new.for_core(slots));
        for slot in (0..).map(UserId).take(MAX_USERS) {
            if users.name(slot).is_some() && users.name(slot) != new.name(slot) {
                recents.forget_user(slot);
            }
        }
        *users = new;
        let config::Auth { spa_port, totp_ports, .. } = self.config.globals.auth;
        let packets = auth.users().any(|(_, user)| user.sends_packets()).then_some(spa_port);
        let changing = auth.users().any(|(_, user)| !user.totp.is_empty());
        let changing = changing.then(|| Ports { first: totp_ports.first(), last: totp_ports.last() });
        engine.set_listening(Listening { packets, changing });
        if packets.is_some() || changing.is_some() {
            self.porter.look_at_clock(now);
        }
    }

    /// Says what is probably not meant.
    fn warn(&self) {
        for warning in config::warnings(&self.options.config, &self.config) {
            warn!("{warning}");
        }
    }

    /// Looks which devices and addresses there are, and filters for what can matter to them.
    fn follow_links(&mut self) {
        self.links.drain();
        match own_addresses() {
            Ok(addresses) => {
                let left_out = self.porter.engine.set_addresses(addresses);
                if left_out > 0 {
                    warn!("{left_out} of this host's addresses are too many to be knocked at");
                }
            }
            Err(error) => warn!("cannot read this host's addresses: {error}"),
        }
        let [v4, v6] = [Family::V4, Family::V6].map(|family| filter::compile(&self.porter.engine, family));
        trace!("kernel filter: {} instructions for IPv4, {} for IPv6", v4.len(), v6.len());
        self.devices.filter(&Filters { v4, v6 });
        self.devices.follow();
    }

    /// Shuts every door, and waits for the commands to run.
    fn stop(&mut self, server: &mut Server) {
        let Porter { gate, counters, slots, users, hotplug, .. } = &mut self.porter;
        gate.stop_all(now(), counters, slots, &mut |door, grant| {
            tell_closed((server, hotplug), now(), users, door, grant, "stop");
        });
        let deadline = now().after(STOP_TIME);
        while (gate.is_busy() || gate.is_anyone_leaving() || hotplug.is_busy()) && now() < deadline {
            let ms = deadline.since(now()).min(Duration::from_millis(100)).as_millis();
            let _ = poll(
                &mut [polled(self.signals.as_fd())],
                PollTimeout::try_from(ms).unwrap_or(PollTimeout::ZERO),
            );
            let _ = self.signals.read_signal();
            gate.tend(now(), counters, slots);
            hotplug.tend(now());
        }
        if gate.is_busy() {
            warn!("stop commands were still running, and are left behind");
        }
        if gate.is_anyone_leaving() {
            warn!("the firewall did not let go of everybody: only its own timers shut those doors");
        }
    }
}

fn polled(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}

/// What there is to read.
#[expect(clippy::struct_excessive_bools, reason = "each is a descriptor of its own")]
#[derive(Clone, Copy, Debug)]
struct Ready {
    signals: bool,
    links: bool,
    firewall: bool,
    connections: bool,
    packets: bool,
}

fn auth_rules(config: &Config) -> auth::Rules {
    let config::Auth { max_age, totp_ports, .. } = config.globals.auth;
    auth::Rules { max_age_s: max_age.as_secs(), range: totp_ports }
}

fn start_log(config: &Config) {
    sinks::start(config.globals.log_level);
    set_log(config);
}

fn set_log(config: &Config) {
    sinks::set_level(config.globals.log_level);
    let file: Option<&Path> = config.globals.log_file.as_deref();
    if let (Some(path), Err(error)) = (file, sinks::set_file(file)) {
        warn!("log file {}: {error}", path.display());
    }
}

/// Opens sockets for these devices.
fn open_devices(names: &[String]) -> Result<Devices, StartError> {
    if names.len() > MAX_DEVICES {
        return Err(StartError::Devices(names.len()));
    }
    Devices::open(names).map_err(|error| StartError::Socket("a packet socket (CAP_NET_RAW is needed)", error))
}

/// Signals come by a descriptor, like everything else.
fn block_signals() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
        mask.add(signal);
    }
    mask.thread_block()?;
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}
