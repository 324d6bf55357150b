//! Puts a configuration into effect, at start and at each reload.

use std::fs::File;
use std::io;
use std::path::Path;

use log::{error, info, warn};

use super::claim::{self, Claim};
use super::device_names;
use super::devices::{self, Devices};
use super::household::Household;
use super::last_shut;
use super::monitor::Input;
use super::porter::Porter;
use super::slots::never_traps;
use super::start::StartError;
use super::state::Daemon;
use super::systemd;
use crate::config::{self, AllowedPorts, Config, Door, FirewallFile, MAX_DEVICES};
use crate::core::access::{Cause, Policy as _};
use crate::core::auth;
use crate::core::door::DoorId;
use crate::core::moment::Moment;
use crate::core::user::{MAX_USERS, UserId};
use crate::firewall::absent::NotShut;
use crate::firewall::backend::BackendKind;
use crate::firewall::iptables::Shutting;
use crate::linux::memory::wipe_stack;
use crate::linux::upper::{NamedDevice, Upper, with_uppers};
use crate::log as sinks;

impl Daemon<'_> {
    /// Reads the configuration again. A wrong one changes nothing.
    pub(super) fn reload(&mut self, moment: &Moment) -> Result<(), StartError> {
        info!("re-reading config file: {}", self.options.config.display());
        let config =
            config::load_opened(&self.options.config, self.open(Input::Config, &self.options.config))
                .map_err(StartError::Config)?;
        self.confinement.check(&config).map_err(StartError::Unfit)?;
        let names = device_names::wanted(&self.options, &config, &|file| self.open(Input::Devices, file));
        let devices = if names == self.device_names { None } else { Some(open_devices(&names)?) };
        if self.claim.is_none() && claim::is_needed(self.porter.gate.backend().kind(), &config) {
            self.claim = Some(Claim::take().map_err(StartError::Claimed)?);
        }
        self.porter.gate.reload(&config).map_err(StartError::Disagreement)?;

        // From here on nothing can fail.
        self.set_log(&config);
        let globals = |config: &Config| (config.globals.backend, config.globals.nft_table.clone());
        if globals(&config) != globals(&self.config) {
            warn!("another backend or table is used only after a restart");
        }
        self.porter.change_doors(moment, &config);
        let has_moved = devices.is_some();
        if let Some(devices) = devices {
            info!("listening on {} from now on", device_names::shown(&names));
            self.devices = devices;
            self.device_names = names;
        }
        self.config = config;
        self.set_doors();
        self.load_own_table(moment);
        if has_moved {
            self.say_what_is_shut();
        }
        self.set_users(moment);
        self.warn();
        self.look_at_firewall(moment);
        self.porter.restore_rules(moment.now);
        self.porter.tend_gate(moment);
        self.follow_links();
        Ok(())
    }

    /// Opens a file that the daemon reads again. If there is a monitor, the monitor opens it, because this process may have
    /// given up the right to open it.
    fn open(&self, input: Input, file: &Path) -> io::Result<File> {
        self.porter.gate.monitor().map_or_else(|| File::open(file), |monitor| monitor.hand(input))
    }

    /// Reads the firewall's configuration.
    pub(super) fn firewall_file(&self) -> FirewallFile {
        let path = FirewallFile::path(&self.options.config);
        let opened = self.open(Input::Firewall, &path);
        FirewallFile::read(path, opened)
    }

    /// Sets the log level of the configuration, and opens the log file anew, because it may have been rotated away.
    pub(super) fn set_log(&self, config: &Config) {
        sinks::set_level(config.globals.log_level);
        let file = config.globals.log_file.as_deref();
        said(file, self.porter.gate.monitor().map_or_else(|| sinks::set_file(file), |it| it.open_log(file)));
    }

    /// Gives the core the doors of the configuration.
    pub(super) fn set_doors(&mut self) {
        self.porter.gate.set_command_limit(self.config.globals.command_timeout);
        let exposed = self.firewall_file().exposed_ports(&self.config);
        let Porter { keeper, household, lines, gate, .. } = &mut self.porter;
        household.slots = household.slots.with(&self.config);
        let mut knocks = household.slots.knocks();
        lines.read(&household.slots, &mut knocks, gate.monitor());
        if keeper.engine.set_doors(&knocks, &never_traps(&self.config, exposed)).is_err() {
            error!("the doors name too many different ports: some cannot be knocked");
        }
    }

    /// Loads the daemon's own table, or its own chains, for the doors of the configuration.
    pub(super) fn load_own_table(&mut self, moment: &Moment) {
        let Porter { gate, household, .. } = &mut self.porter;
        let is_own = gate.backend().is_own();
        // Without a claim the table, if there is one, is another daemon's.
        if self.claim.is_some() {
            gate.own.load(moment.now, &household.slots, is_own.then_some(&self.device_names[..]));
            let doors = household.slots.iter().map(|(_, door)| &**door);
            last_shut::keep(doors.filter(|_| is_own), &self.device_names);
        }
        if !claim::is_needed(gate.backend().kind(), &self.config) {
            self.claim = None;
        }
        let iptables = gate.backend().iptables();
        if iptables.is_some_and(|iptables| iptables.shutting == Shutting::OwnChain) {
            gate.load_chains(moment.now);
        }
    }

    /// Logs which ports the daemon's own table or chains shut.
    pub(super) fn say_what_is_shut(&self) {
        let gate = &self.porter.gate;
        match gate.backend().kind() {
            BackendKind::Own if !gate.own.is_missing() => {}
            BackendKind::Iptables(Shutting::OwnChain) if !gate.chains.is_missing() => {}
            _ => return,
        }
        if let Some(not_shut) = NotShut::with(&self.device_names) {
            warn!("{not_shut}");
        }
        let any = self.device_names.is_empty() || self.device_names.iter().any(|name| name == devices::ANY);
        let on = if any {
            "every device but lo".to_owned()
        } else {
            // The rules see another device in the place of a port, so they shut nothing there.
            let named = with_uppers(&self.device_names);
            let own = |(_, upper): &&NamedDevice<'_>| !upper.as_ref().is_some_and(Upper::hides_port);
            named.iter().filter(own).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        };
        if on.is_empty() {
            return;
        }
        for (_, door) in self.porter.household.slots.iter() {
            if !door.any_port.is_empty() {
                let ports = AllowedPorts(&door.any_port);
                info!(
                    "door '{}': {ports} are shut on {on} for everybody who has not asked for them",
                    door.name
                );
            }
            if let Some(opening) = &door.opening {
                info!("door '{}': {opening} is shut on {on} for everybody who has not knocked", door.name);
            }
        }
    }

    /// Checks the doors in the loaded firewall, and logs new findings.
    pub(super) fn look_at_firewall(&mut self, moment: &Moment) {
        self.porter.look_at_firewall(moment.now, &self.config, &self.device_names);
    }

    /// Gives the core the users of the configuration. The core must have the doors already.
    pub(super) fn set_users(&mut self, moment: &Moment) {
        self.porter.clock.vouch(self.config.globals.auth.trust_clock);
        self.porter.change_users(moment, &self.config);
        let Porter { keeper, household, .. } = &mut self.porter;
        keeper.engine.set_listening(household.listening(&self.config));
        self.porter.look_at_clock(moment);
    }
}

impl Porter<'_> {
    /// Replaces the doors. Grants stay, unless their door is gone or opens something else now.
    fn change_doors(&mut self, moment: &Moment, config: &Config) {
        let new = self.household.slots.with(config);
        let old = self.household.slots.clone();
        for (id, door) in old.iter() {
            if !new.get(id).is_some_and(|new| opens_the_same(door, new)) {
                self.shut(moment, id, None, Cause::Reload);
            }
            if new.get(id).is_none_or(|new| new.name != door.name) {
                self.audience.recents.forget(id);
            }
        }
        self.household.slots = new;
    }

    /// Replaces the users. Grants of users who may no longer open their door end.
    fn change_users(&mut self, moment: &Moment, config: &Config) {
        let (old, new) = (self.household.users.clone(), self.household.users.with(config));
        let after = Household { slots: self.household.slots.clone(), users: new };
        let may_open = |user: UserId, door: DoorId| {
            let stays = old.keeps_secrets(&after.users, user);
            let rules = after.user(user).filter(|rules| !rules.is_expired(moment.wall_s));
            stays && rules.is_some_and(|rules| rules.may_open(door))
        };
        let access = &mut self.keeper.access;
        let ends: Vec<_> = std::iter::from_fn(|| access.end_users(moment.now, may_open)).collect();
        self.carry_out_ends(moment, &ends);
        for slot in (0..).map(UserId).take(MAX_USERS) {
            if old.name(slot).is_some() && old.name(slot) != after.users.name(slot) {
                self.audience.recents.forget_user(slot);
            }
        }
        self.household = after;
        // Remains of packets and keys on the stack must not get into the unused parts of the tables.
        wipe_stack();
        let users = self.household.users.for_core(&self.household.slots);
        wipe_stack();
        self.keeper.auth.set_users(auth_rules(config), &users);
    }
}

/// Whether a door's grants may stay after a reload. The door's name counts, because it is part of set names and rule
/// comments.
fn opens_the_same(old: &Door, new: &Door) -> bool {
    new.name == old.name
        && new.grant_prefix == old.grant_prefix
        && new.opening == old.opening
        && new.any_port == old.any_port
        && new.commands == old.commands
        && new.kill == old.kill
}

/// The rules that apply to all users.
pub(crate) fn auth_rules(config: &Config) -> auth::AuthRules {
    let config::AuthOptions { max_age, totp_ports, .. } = config.globals.auth;
    auth::AuthRules { max_age_s: max_age.as_secs(), range: totp_ports }
}

/// Starts the log.
pub(super) fn start_log(config: &Config) {
    sinks::start(config.globals.log_level);
    let file = config.globals.log_file.as_deref();
    said(file, sinks::set_file(file));
}

/// Logs that the log file could not be opened.
fn said(file: Option<&Path>, opened: io::Result<()>) {
    if let (Some(path), Err(error)) = (file, opened) {
        warn!("log file {}: {error}{}", path.display(), systemd::advice(&error, path));
    }
}

/// Opens sockets for these devices.
pub(super) fn open_devices(names: &[String]) -> Result<Devices, StartError> {
    if names.len() > MAX_DEVICES {
        return Err(StartError::Devices(names.len()));
    }
    Devices::open(names).map_err(|error| StartError::Socket("a packet socket", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_may_be_no_more_devices_than_descriptors_to_poll() {
        let open = |count| open_devices(&vec![devices::ANY.to_owned(); count]);
        assert!(matches!(open(MAX_DEVICES + 1), Err(StartError::Devices(count)) if count == MAX_DEVICES + 1));
        // Without the right to open packet sockets it is another error.
        assert!(!matches!(open(MAX_DEVICES), Err(StartError::Devices(_))));
    }
}
