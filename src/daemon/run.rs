//! `ketukd run`: start-up, the loop, and the packet's way.

use std::hash::RandomState;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use log::{debug, error, info, warn};
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::Signal;

use super::claim::Claim;
use super::last_shut;
use super::monitor::Monitor;
use super::options::RunOptions;
use super::porter::Porter;
use super::reload::auth_rules;
use super::stages::{begin, make_monitor, open};
use super::start::StartError;
use super::state::Daemon;
use super::wait::polled;
use crate::config;
use crate::control::server::Server;
use crate::core::access::{Access, AccessTables};
use crate::core::auth::{Auth, AuthTables};
use crate::core::doorkeeper::Doorkeeper;
use crate::core::engine::{Engine, EngineTables};
use crate::core::moment::Moment;
use crate::core::time::Instant;
use crate::linux::capture::PacketBuffers;
use crate::linux::clock::now;
use crate::linux::links::device_addresses;
use crate::linux::memory::rest;

/// The time limit for the doors' stop commands at a clean stop. procd kills the daemon after five seconds.
const STOP_TIME: Duration = Duration::from_millis(4500);

/// Least time from the beginning of knocks to the moment after them at which memory is given back. Giving it back costs some
/// page faults, and strangers can cause it.
const REST_SPACING: Duration = Duration::from_millis(150);

/// The core's tables. Their size is fixed, and their pages use no memory until they are touched.
pub(crate) static TABLES: Mutex<EngineTables> = Mutex::new(EngineTables::new());
pub(crate) static AUTH_TABLES: Mutex<AuthTables> = Mutex::new(AuthTables::new());
pub(crate) static ACCESS_TABLES: Mutex<AccessTables> = Mutex::new(AccessTables::new());
/// The buffer that packets are read into. Its pages too use no memory until they are touched.
static BATCH: Mutex<PacketBuffers> = Mutex::new(PacketBuffers::new());

/// Why the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    /// SIGTERM or SIGINT. `on_stop` says which doors stay open.
    Stop,
    /// SIGUSR1. Another daemon takes over at once. It adopts every door that the kernel times.
    Handover,
    /// The monitor has ended, so commands cannot be run.
    LostMonitor,
}

/// Runs until SIGTERM, SIGINT or SIGUSR1.
///
/// # Errors
/// The daemon could not start. Once it runs, nothing on the network ends it.
pub fn run(options: RunOptions) -> Result<(), StartError> {
    start(options).inspect_err(|error| {
        // With any other error the own table exists, or another daemon uses it, or there is no nf_tables.
        if matches!(error, StartError::Config(_) | StartError::Devices(_) | StartError::Socket(..))
            && let Ok(_claim) = Claim::take()
        {
            last_shut::shut();
        }
    })
}

fn start(options: RunOptions) -> Result<(), StartError> {
    let mut begun = begin(options)?;
    // The monitor is made early, so that it has no copy of packets, tables or the control socket.
    let monitor = make_monitor(&mut begun)?;
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut auth_tables = AUTH_TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut access_tables = ACCESS_TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut batch = BATCH.lock().unwrap_or_else(PoisonError::into_inner);
    let keyed = RandomState::new();
    let keeper = Doorkeeper {
        engine: Engine::new(&mut tables, keyed.clone()),
        auth: Auth::new(&mut auth_tables, keyed.clone(), auth_rules(&begun.config)),
        access: Access::new(&mut access_tables, keyed),
    };
    let mut daemon = open(begun, monitor, keeper, &mut batch)?;
    // The stack must not keep remains of the configuration: no later call overwrites that part of it.
    rest();
    let ending = daemon.serve();
    daemon.stop(ending);
    if ending == StopReason::LostMonitor {
        return Err(StartError::LostMonitor);
    }
    info!("shutting down");
    Ok(())
}

impl Daemon<'_> {
    /// Runs the loop until a signal ends the daemon.
    fn serve(&mut self) -> StopReason {
        let mut moment = self.clocks.read();
        // The moment at which somebody began to knock, until the memory that this took is given back.
        let mut busy_since = None;
        loop {
            self.porter.expire(&moment);
            if self.porter.keeper.engine.is_calm()
                && busy_since.take_if(|since: &mut Instant| moment.now >= since.after(REST_SPACING)).is_some()
            {
                rest();
            }
            let ready = self.wait(self.next_deadline(&moment));
            moment = self.clocks.read();
            if ready.signals
                && let Some(ending) = self.on_signals(&moment)
            {
                return ending;
            }
            let mut is_rare = ready.signals || ready.links || ready.firewall;
            if ready.links || self.devices.next_deadline().is_some_and(|deadline| deadline <= moment.now) {
                self.follow_links();
            }
            if self.is_monitor_lost() {
                return StopReason::LostMonitor;
            }
            let porter = &mut self.porter;
            if ready.firewall && porter.gate.backend_mut().changed() {
                debug!("the firewall's tables changed, looking after open doors");
                porter.restore(&moment);
            }
            is_rare |= self.tend_firewall(&moment);
            let Self { porter, devices, batch, .. } = self;
            if ready.connections {
                porter.gate.connections.on_announcements(moment.now);
            }
            if ready.packets {
                porter.expire(&moment);
                porter.look_at_clock(&moment);
                devices.receive(batch, |via, bytes| porter.on_packet(&moment, via, bytes));
                porter.tend_gate(&moment);
                if !porter.keeper.engine.is_calm() {
                    busy_since.get_or_insert(moment.now);
                }
                if porter.lines.is_used_up() {
                    self.set_doors();
                    self.follow_links();
                }
            }
            let server = self.porter.audience.server_mut();
            for client in server.map(|server| server.receive(moment.now)).unwrap_or_default() {
                self.answer(&moment, client);
                is_rare = true;
            }
            if is_rare {
                // A reload may have removed secrets, whose remains are on the stack.
                rest();
            }
        }
    }

    fn is_monitor_lost(&self) -> bool {
        self.porter.gate.monitor().is_some_and(|monitor| {
            monitor.receive();
            monitor.is_lost()
        })
    }

    fn next_deadline(&self, moment: &Moment) -> Option<Instant> {
        let server = self.porter.audience.server().and_then(Server::next_deadline);
        let Porter { gate, watch, .. } = &self.porter;
        let firewall = [gate.own.next_deadline(), gate.chains.next_deadline(), watch.next_deadline()];
        let deadlines = [self.porter.next_deadline(moment), server, self.devices.next_deadline()];
        let deadlines = deadlines.into_iter().chain(firewall);
        deadlines.flatten().min()
    }

    /// Reacts to changes of the firewall's tables, and to deadlines of the own table, the own chains and the checks. Returns whether the
    /// loaded rules were read.
    fn tend_firewall(&mut self, moment: &Moment) -> bool {
        let Porter { gate, household, watch, .. } = &mut self.porter;
        gate.own.tend(moment.now, &household.slots);
        if gate.backend().iptables().is_some() {
            gate.tend_chains(moment.now);
            if gate.chains.has_changed(moment.now) {
                watch.on_change(moment.now);
                self.porter.mend_chains(moment.now);
                self.porter.tend_gate(moment);
            }
        }
        let is_due = self.porter.watch.is_due(moment.now);
        if is_due {
            self.look_at_firewall(moment);
        }
        is_due
    }

    /// Handles the signals that have come. Returns how the daemon must end, if one of them ends it.
    fn on_signals(&mut self, moment: &Moment) -> Option<StopReason> {
        let mut ending = None;
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGHUP)) => {
                    // Log rotation may have moved the file, so the log is opened again even if the configuration is
                    // wrong.
                    self.set_log(&self.config);
                    if let Err(error) = self.reload(moment) {
                        error!("the configuration stays as it was: {error}");
                    }
                }
                Ok(Ok(Signal::SIGUSR1)) => ending = Some(StopReason::Handover),
                // If SIGUSR1 came too, it decides, whichever came first.
                Ok(Ok(Signal::SIGTERM | Signal::SIGINT)) => {
                    ending.get_or_insert(StopReason::Stop);
                }
                // SIGCHLD: every turn of the loop checks the commands.
                _ => {}
            }
        }
        ending
    }

    /// Logs warnings about settings that are probably mistakes.
    pub(super) fn warn(&self) {
        for warning in config::warnings(&self.options.config, &self.firewall_file(), &self.config) {
            warn!("{warning}");
        }
    }

    /// Reads the host's devices and addresses, and sets the filters for them.
    pub(super) fn follow_links(&mut self) {
        self.links.drain();
        match device_addresses() {
            Ok(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(|known| self.devices.own(known)).collect();
                let left_out = self.porter.keeper.engine.set_addresses(&addresses);
                if left_out > 0 {
                    warn!("this host has too many addresses and networks: {left_out} of them do not count");
                }
            }
            Err(error) => warn!("cannot read this host's addresses: {error}"),
        }
        self.devices.filter(now(), &self.porter.keeper.engine);
        self.devices.follow();
    }

    /// Shuts the doors that are not to stay open, and waits until the commands have run.
    fn stop(&mut self, ending: StopReason) {
        let moment = self.clocks.read();
        self.porter.stop_all(&moment, ending);
        let deadline = now().after(STOP_TIME);
        while self.porter.is_busy() && now() < deadline {
            let ms = deadline.since(now()).min(Duration::from_millis(100)).as_millis();
            let signals = self.signals.as_fd();
            let monitor = self.porter.gate.monitor().map_or(signals, Monitor::descriptor);
            let _ = poll(
                &mut [polled(signals), polled(monitor)],
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
        if let Some(monitor) = self.porter.gate.monitor() {
            monitor.leave();
        }
        if self.porter.gate.is_anyone_leaving() {
            warn!("the firewall did not remove every address: only its own timers shut these doors");
        }
    }
}
