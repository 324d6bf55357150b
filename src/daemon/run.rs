//! `ketukd run`: start-up, the loop, and the packet's way.

use std::hash::RandomState;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use log::{debug, error, info, warn};
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::Signal;

use super::clock_trust::ClockTrust;
use super::clocks::Clocks;
use super::device_names;
use super::gate::Gate;
use super::porter::Porter;
use super::reload::{auth_rules, open_devices, set_log, start_log};
use super::start::{Options, StartError};
use super::state::Daemon;
use super::systemd;
use super::wait::{block_signals, polled};
use crate::config;
use crate::control::server::Server;
use crate::core::access::{self, Access};
use crate::core::auth::{self, Auth};
use crate::core::doorkeeper::Doorkeeper;
use crate::core::engine::{Engine, Tables};
use crate::core::moment::Moment;
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
pub(crate) static AUTH_TABLES: Mutex<auth::Tables> = Mutex::new(auth::Tables::new());
pub(crate) static ACCESS_TABLES: Mutex<access::Tables> = Mutex::new(access::Tables::new());
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
    let mut access_tables = ACCESS_TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut batch = BATCH.lock().unwrap_or_else(PoisonError::into_inner);
    let started = now();
    let device_names = device_names::wanted(&options, &config);
    let mut daemon = Daemon {
        started,
        clocks: Clocks::new(),
        porter: Porter::new(
            Doorkeeper {
                engine: Engine::new(&mut tables, keyed.clone()),
                auth: Auth::new(&mut auth_tables, keyed.clone(), auth_rules(&config)),
                access: Access::new(&mut access_tables, keyed),
            },
            Gate::new(Backend::find(&config).map_err(StartError::Backend)?),
            ClockTrust::new(started, &options.socket),
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
    let moment = daemon.clocks.read();
    daemon.set_users(&moment);
    daemon.warn();
    daemon.load_own_table(&moment);
    daemon.say_what_is_shut();
    let moment = daemon.clocks.read();
    daemon.porter.adopt(&moment);
    daemon.look_at_firewall(&moment);
    daemon.follow_links();
    // Only now: whoever finds the socket may knock.
    let server = Server::open(&daemon.options.socket).map_err(StartError::Control)?;
    daemon.porter.audience.open(server);
    info!("starting up, listening on {}", device_names::shown(&daemon.device_names));
    systemd::tell();
    daemon.serve();
    daemon.stop();
    info!("shutting down");
    Ok(())
}

impl Daemon<'_> {
    /// Waits, and does what is due, until a signal says to stop.
    fn serve(&mut self) {
        let mut moment = self.clocks.read();
        loop {
            self.porter.expire(&moment);
            let ready = self.wait(self.next_deadline(&moment));
            moment = self.clocks.read();
            if ready.signals && !self.on_signals(&moment) {
                return;
            }
            if ready.links || self.devices.next_deadline().is_some_and(|deadline| deadline <= moment.now) {
                self.follow_links();
            }
            let porter = &mut self.porter;
            if ready.firewall && porter.gate.backend_mut().changed() {
                debug!("the firewall's tables changed, looking after open doors");
                porter.restore(&moment);
            }
            self.tend_firewall(&moment);
            let Self { porter, devices, batch, .. } = self;
            if ready.connections {
                porter.gate.connections.on_announcements(moment.now);
            }
            if ready.packets {
                porter.expire(&moment);
                porter.look_at_clock(&moment);
                devices.receive(batch, |via, bytes| porter.on_packet(&moment, via, bytes));
                porter.tend_gate(&moment);
                if porter.lines.is_used_up() {
                    self.set_doors();
                    self.follow_links();
                }
            }
            let server = self.porter.audience.server_mut();
            for client in server.map(|server| server.receive(moment.now)).unwrap_or_default() {
                self.answer(&moment, client);
            }
        }
    }

    fn next_deadline(&self, moment: &Moment) -> Option<Instant> {
        let server = self.porter.audience.server().and_then(Server::next_deadline);
        let Porter { gate, watch, .. } = &self.porter;
        let firewall = [gate.own.next_deadline(), watch.next_deadline()];
        let deadlines = [self.porter.next_deadline(moment), server, self.devices.next_deadline()];
        let deadlines = deadlines.into_iter().chain(firewall);
        deadlines.flatten().min()
    }

    /// Does what is due of the firewall as a whole.
    fn tend_firewall(&mut self, moment: &Moment) {
        let Porter { gate, household, watch, .. } = &mut self.porter;
        gate.own.tend(moment.now, &household.slots);
        if watch.is_due(moment.now) {
            self.look_at_firewall(moment);
        }
    }

    /// Whether to go on.
    fn on_signals(&mut self, moment: &Moment) -> bool {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGHUP)) => {
                    // The file may have been rotated away, whatever the configuration is worth.
                    set_log(&self.config);
                    if let Err(error) = self.reload(moment) {
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
                let left_out = self.porter.keeper.engine.set_addresses(&addresses);
                if left_out > 0 {
                    warn!("{left_out} of this host's addresses are too many to be knocked at");
                }
            }
            Err(error) => warn!("cannot read this host's addresses: {error}"),
        }
        self.devices.filter(now(), &self.porter.keeper.engine);
        self.devices.follow();
    }

    /// Shuts every door, and waits for the commands to run.
    fn stop(&mut self) {
        let moment = self.clocks.read();
        self.porter.stop_all(&moment);
        let deadline = now().after(STOP_TIME);
        while self.porter.is_busy() && now() < deadline {
            let ms = deadline.since(now()).min(Duration::from_millis(100)).as_millis();
            let _ = poll(
                &mut [polled(self.signals.as_fd())],
                PollTimeout::try_from(ms).unwrap_or(PollTimeout::ZERO),
            );
            let _ = self.signals.read_signal();
            let moment = self.clocks.read();
            self.porter.tend_gate(&moment);
            self.porter.audience.hotplug.tend(moment.now);
        }
        self.porter.gate.own.stop();
        if self.porter.gate.is_busy() {
            warn!("stop commands were still running, and are left behind");
        }
        if self.porter.gate.is_anyone_leaving() {
            warn!("the firewall did not let go of everybody: only its own timers shut those doors");
        }
    }
}
