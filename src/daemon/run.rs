//! `ketukd run`: start-up, the loop, and the packet's way.

use std::hash::RandomState;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use log::{debug, error, info, warn};
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;

use super::devices::Devices;
use super::gate::Gate;
use super::names;
use super::porter::{Porter, tell_closed};
use super::reload::{auth_rules, open_devices, set_log, start_log};
use super::start::{Options, StartError};
use super::systemd;
use super::wait::{block_signals, polled};
use super::wall::Wall;
use crate::config::{self, Config};
use crate::control::server::Server;
use crate::core::auth::{self, Auth};
use crate::core::engine::{Engine, Tables};
use crate::core::time::Instant;
use crate::firewall::backend::Backend;
use crate::firewall::sweep;
use crate::linux::capture::Batch;
use crate::linux::clock::now;
use crate::linux::links::{Links, device_addresses};

/// How long a clean stop may take to run the doors' stop commands. procd kills after five seconds.
const STOP_TIME: Duration = Duration::from_millis(4500);

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
    systemd::tell();
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
    pub(super) device_names: Vec<String>,
    pub(super) links: Links,
    pub(super) signals: SignalFd,
}

impl Daemon<'_> {
    /// Waits, and does what is due, until a signal says to stop.
    fn serve(&mut self, server: &mut Server) {
        loop {
            self.porter.expire(server, now());
            let deadlines =
                [self.porter.next_deadline(), server.next_deadline(), self.devices.next_deadline()];
            let ready = self.wait(server, deadlines.into_iter().flatten().min());
            let now = now();
            if ready.signals && !self.on_signals(server, now) {
                return;
            }
            if ready.links || self.devices.next_deadline().is_some_and(|deadline| deadline <= now) {
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
                devices.receive(batch, |via, bytes| porter.on_packet(server, now, via, bytes));
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

    /// Says what is probably not meant.
    pub(super) fn warn(&self) {
        for warning in config::warnings(&self.options.config, &self.config) {
            warn!("{warning}");
        }
    }

    /// Looks which devices and addresses there are, and filters for what can matter to them.
    pub(super) fn follow_links(&mut self) {
        self.links.drain();
        match device_addresses() {
            Ok(addresses) => {
                let addresses: Vec<_> = addresses.map(|known| self.devices.own(&known)).collect();
                let left_out = self.porter.engine.set_addresses(&addresses);
                if left_out > 0 {
                    warn!("{left_out} of this host's addresses are too many to be knocked at");
                }
            }
            Err(error) => warn!("cannot read this host's addresses: {error}"),
        }
        self.devices.filter(now(), &self.porter.engine);
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
