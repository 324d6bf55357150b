//! `ketukd run`: start-up, the loop, and the packet's way.

use std::fs::File;
use std::hash::RandomState;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use log::{debug, error, info, warn};
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::Signal;

use super::clock_trust::ClockTrust;
use super::clocks::Clocks;
use super::confinement::{self, Confinement};
use super::device_names;
use super::gate::Gate;
use super::last_shut;
use super::monitor::{self, Monitor};
use super::options::Options;
use super::porter::Porter;
use super::reload::{auth_rules, open_devices, start_log};
use super::start::StartError;
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
use crate::firewall::iptables::Shutting;
use crate::firewall::{own_chain, sweep};
use crate::linux::capture::Batch;
use crate::linux::clock::now;
use crate::linux::links::{Links, device_addresses};
use crate::protocol::secret::wipe_stack;

/// The time limit for the doors' stop commands at a clean stop. procd kills the daemon after five seconds.
const STOP_TIME: Duration = Duration::from_millis(4500);

/// The core's tables. Their size is fixed, and their pages use no memory until they are touched.
pub(crate) static TABLES: Mutex<Tables> = Mutex::new(Tables::new());
pub(crate) static AUTH_TABLES: Mutex<auth::Tables> = Mutex::new(auth::Tables::new());
pub(crate) static ACCESS_TABLES: Mutex<access::Tables> = Mutex::new(access::Tables::new());
/// The buffer that packets are read into. Its pages too use no memory until they are touched.
static BATCH: Mutex<Batch> = Mutex::new(Batch::new());

/// Why the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
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
pub fn run(options: Options) -> Result<(), StartError> {
    start(options).inspect_err(|error| {
        // With any other error the own table exists, or another daemon uses it, or there is no nf_tables.
        if matches!(error, StartError::Config(_) | StartError::Devices(_) | StartError::Socket(..)) {
            last_shut::shut();
        }
    })
}

fn start(options: Options) -> Result<(), StartError> {
    let mut config = config::load(&options.config).map_err(StartError::Config)?;
    // Remains of secrets on the stack must not get into the unused parts of what is made now.
    wipe_stack();
    start_log(&config);
    // This check comes before the sweep, which would delete the rules of a daemon that still runs.
    Server::check_free(&options.socket).map_err(StartError::Control)?;
    let signals = block_signals().map_err(|error| StartError::Socket("a signal descriptor", error))?;
    let mut backend = Backend::find(&config).map_err(StartError::Backend)?;
    // The monitor is made early, so that it has no copy of packets, tables or the control socket.
    let is_needed = monitor::is_needed(&config, backend.iptables().is_some())
        || confinement::needs_monitor(&options.socket, &inputs(&options), &config);
    let device_names = device_names::wanted(&options, &config, &|file| File::open(file));
    let make = || Monitor::start(&options, &device_names, &mut config, &mut backend, &signals);
    let monitor = is_needed.then(make).transpose().map_err(StartError::NoMonitor)?;
    let keyed = RandomState::new();
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut auth_tables = AUTH_TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut access_tables = ACCESS_TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut batch = BATCH.lock().unwrap_or_else(PoisonError::into_inner);
    let started = now();
    let mut daemon = Daemon {
        started,
        clocks: Clocks::new(),
        porter: Porter::new(
            Doorkeeper {
                engine: Engine::new(&mut tables, keyed.clone()),
                auth: Auth::new(&mut auth_tables, keyed.clone(), auth_rules(&config)),
                access: Access::new(&mut access_tables, keyed),
            },
            Gate::new(backend, monitor),
            ClockTrust::new(started, &options.socket),
        ),
        devices: open_devices(&device_names)?,
        batch: &mut batch,
        device_names,
        links: Links::open().map_err(|error| StartError::Socket("rtnetlink", error))?,
        signals,
        confinement: Confinement::default(),
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
    // The socket appears last: a program that finds it may knock.
    let server = Server::open(&daemon.options.socket).map_err(StartError::Control)?;
    daemon.porter.audience.open(server);
    daemon.confine();
    match daemon.devices.heard().join(", ").as_str() {
        "" => info!("starting up, and no device can be listened on yet"),
        names => info!("starting up, listening on {names}"),
    }
    systemd::tell();
    // The loop's own frame must not keep remains of the configuration: no later call overwrites that part of the stack.
    wipe_stack();
    let ending = daemon.serve();
    daemon.stop(ending);
    if ending == Ending::LostMonitor {
        return Err(StartError::LostMonitor);
    }
    info!("shutting down");
    Ok(())
}

/// The files that the daemon reads again at a reload.
fn inputs(options: &Options) -> Vec<&Path> {
    [Some(&options.config), options.device_file.as_ref()]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
        .collect()
}

impl Daemon<'_> {
    /// Gives up the rights that the configuration does not need, for ever.
    fn confine(&mut self) {
        let has_monitor = self.porter.gate.monitor().is_some();
        // The daemon also reads the file of the newest packet time, if an earlier run has written it.
        let mut read: Vec<&Path> =
            Some(self.porter.clock.file()).filter(|file| file.exists()).into_iter().collect();
        // The monitor opens the others.
        if !has_monitor {
            read.extend(inputs(&self.options));
        }
        self.confinement = Confinement::begin(&self.options.socket, &read, &self.config, has_monitor);
    }

    /// Runs the loop until a signal ends the daemon.
    fn serve(&mut self) -> Ending {
        let mut moment = self.clocks.read();
        loop {
            self.porter.expire(&moment);
            let ready = self.wait(self.next_deadline(&moment));
            moment = self.clocks.read();
            if ready.signals {
                if let Some(ending) = self.on_signals(&moment) {
                    return ending;
                }
                wipe_stack();
            }
            if ready.links || self.devices.next_deadline().is_some_and(|deadline| deadline <= moment.now) {
                self.follow_links();
            }
            if self.is_monitor_lost() {
                return Ending::LostMonitor;
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
                // A reload may have removed secrets.
                wipe_stack();
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

    /// Reacts to changes of the firewall's tables, and to deadlines of the own table, the own chains and the checks.
    fn tend_firewall(&mut self, moment: &Moment) {
        let Porter { gate, household, watch, .. } = &mut self.porter;
        gate.own.tend(moment.now, &household.slots);
        gate.tend_chains(moment.now);
        if gate.chains.has_changed(moment.now) {
            watch.on_change(moment.now);
            self.porter.mend_chains(moment.now);
            self.porter.tend_gate(moment);
        }
        if self.porter.watch.is_due(moment.now) {
            self.look_at_firewall(moment);
        }
    }

    /// Handles the signals that have come. Returns how the daemon must end, if one of them ends it.
    fn on_signals(&mut self, moment: &Moment) -> Option<Ending> {
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
                Ok(Ok(Signal::SIGUSR1)) => ending = Some(Ending::Handover),
                // If SIGUSR1 came too, it decides, whichever came first.
                Ok(Ok(Signal::SIGTERM | Signal::SIGINT)) => {
                    ending.get_or_insert(Ending::Stop);
                }
                // SIGCHLD: every turn of the loop checks the commands.
                _ => {}
            }
        }
        ending
    }

    /// Deletes the iptables rules that an earlier run left. They have no timer. Deletes its own chains too, if this run
    /// does not make them.
    fn sweep(&self) {
        let Some(iptables) = self.porter.gate.backend().iptables() else { return };
        if iptables.shutting == Shutting::Firewall
            && sweep::has_chain(iptables, iptables.own_input())
            && let Err(error) = own_chain::unload()
        {
            warn!("the ports of an earlier configuration stay shut: {error}");
        }
        let openings = self.config.doors.iter().filter_map(|door| door.opening.as_ref());
        let forwards = openings.into_iter().any(|opening| opening.forward.is_some());
        // The first load of the daemon's own chains empties them. Older rules may be in the firewall's.
        for swept in sweep::sweep(&iptables.swept(), forwards, sweep::SWEEP_TIME_LIMIT) {
            if swept.fault.is_some() {
                warn!("{swept}");
            } else if swept.deleted > 0 {
                info!("{swept}");
            }
        }
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
                let addresses: Vec<_> = addresses.map(|known| self.devices.own(&known)).collect();
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
    fn stop(&mut self, ending: Ending) {
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
