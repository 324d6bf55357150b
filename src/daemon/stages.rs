//! The stages of the start, from the configuration to a daemon that can hear knocks.
//!
//! Each stage is a frame of its own, so that the daemon can give back the stack that it has used.

use std::fs::File;
use std::hash::RandomState;
use std::path::{self, Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use log::{info, warn};
use nix::sys::signalfd::SignalFd;

use super::claim::{self, Claim};
use super::clock_trust::ClockTrust;
use super::clocks::Clocks;
use super::confinement::{self, Confinement};
use super::device_names;
use super::gate::Gate;
use super::monitor::{self, Monitor};
use super::options::RunOptions;
use super::porter::Porter;
use super::reload::{open_devices, start_log};
use super::start::StartError;
use super::state::Daemon;
use super::systemd;
use super::wait::block_signals;
use crate::config::{self, Config};
use crate::control::server::Server;
use crate::core::doorkeeper::Doorkeeper;
use crate::firewall::backend::Backend;
use crate::firewall::iptables::Shutting;
use crate::firewall::{own_chain, sweep};
use crate::linux::capture::PacketBuffers;
use crate::linux::clock::now;
use crate::linux::links::Links;
use crate::linux::memory::wipe_stack;

/// How long a start waits for the end of another daemon. The kernel keeps the sockets of a daemon that was killed for some
/// hundredths of a second after the signal.
const END_OF_ANOTHER: Duration = Duration::from_secs(1);

/// Time between two looks whether the other daemon has ended.
const LOOK: Duration = Duration::from_millis(50);

/// What the daemon has before it makes the monitor.
pub(super) struct Begun {
    options: RunOptions,
    pub(super) config: Config,
    signals: SignalFd,
    backend: Backend,
    claim: Option<Claim>,
    device_names: Vec<String>,
}

/// Reads the configuration, and finds out how doors are opened here. Nothing is changed yet.
#[inline(never)]
pub(super) fn begin(options: RunOptions) -> Result<Box<Begun>, StartError> {
    let config = config::load(&options.config).map_err(StartError::Config)?;
    // Remains of secrets on the stack must not get into the unused parts of what is made now.
    wipe_stack();
    start_log(&config);
    // This check comes before the sweep, which would delete the rules of a daemon that still runs.
    patiently(|| Server::check_free(&options.socket)).map_err(StartError::Control)?;
    let signals = block_signals().map_err(|error| StartError::Socket("a signal descriptor", error))?;
    let backend = Backend::find(&config).map_err(StartError::Backend)?;
    let claim = if claim::is_needed(backend.kind(), &config) {
        Some(patiently(Claim::take).map_err(StartError::Claimed)?)
    } else {
        Claim::take().ok()
    };
    let device_names = device_names::wanted(&options, &config, &|file| File::open(file));
    Ok(Box::new(Begun { options, config, signals, backend, claim, device_names }))
}

/// Tries again while another daemon may be about to end.
fn patiently<T, E>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = now().after(END_OF_ANOTHER);
    loop {
        match attempt() {
            Err(_) if now() < deadline => sleep(LOOK),
            done => return done,
        }
    }
}

/// Makes the monitor, if it is needed.
pub(super) fn make_monitor(begun: &mut Begun) -> Result<Option<Monitor>, StartError> {
    let Begun { options, config, signals, backend, claim, device_names } = begun;
    let is_needed = monitor::is_needed(config, backend.iptables().is_some())
        || confinement::needs_monitor(&options.socket, &inputs(options), config);
    let make = || Monitor::start(options, device_names, config, backend, claim, signals);
    is_needed.then(make).transpose().map_err(StartError::NoMonitor)
}

/// Opens everything that the daemon needs, adopts what an earlier run has left, and gives up all other rights.
#[inline(never)]
pub(super) fn open<'t>(
    begun: Box<Begun>,
    monitor: Option<Monitor>,
    keeper: Doorkeeper<'t, RandomState>,
    batch: &'t mut PacketBuffers,
) -> Result<Box<Daemon<'t>>, StartError> {
    let Begun { options, config, signals, backend, claim, device_names } = *begun;
    let started = now();
    let mut daemon = Box::new(Daemon {
        started,
        clocks: Clocks::new(),
        porter: Porter::new(keeper, Gate::new(backend, monitor), ClockTrust::new(started, &options.socket)),
        devices: open_devices(&device_names)?,
        batch,
        device_names,
        links: Links::open().map_err(|error| StartError::Socket("rtnetlink", error))?,
        signals,
        confinement: Confinement::default(),
        claim,
        config_path: path::absolute(&options.config).unwrap_or_else(|_| options.config.clone()),
        options,
        config,
    });
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
    Ok(daemon)
}

/// The files that the daemon reads again at a reload.
fn inputs(options: &RunOptions) -> Vec<&Path> {
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
}
