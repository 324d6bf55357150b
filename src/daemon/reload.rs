//! A configuration takes effect, at start and whenever it is read anew.

use std::path::Path;

use log::{error, info, warn};

use super::device_names;
use super::devices::{self, Devices};
use super::household::Household;
use super::porter::Porter;
use super::slots::never_traps;
use super::start::StartError;
use super::state::Daemon;
use super::systemd;
use crate::config::{self, Config, Door, MAX_DEVICES};
use crate::core::access::{Cause, Policy as _};
use crate::core::auth;
use crate::core::door::DoorId;
use crate::core::moment::Moment;
use crate::core::user::{MAX_USERS, UserId};
use crate::log as sinks;

impl Daemon<'_> {
    /// Reads the configuration anew. A wrong one changes nothing.
    pub(super) fn reload(&mut self, moment: &Moment) -> Result<(), StartError> {
        info!("re-reading config file: {}", self.options.config.display());
        let config = config::load(&self.options.config).map_err(StartError::Config)?;
        let names = device_names::wanted(&self.options, &config);
        let devices = if names == self.device_names { None } else { Some(open_devices(&names)?) };

        // From here on nothing can fail.
        set_log(&config);
        let globals = |config: &Config| (config.globals.backend, config.globals.nft_table.clone());
        if globals(&config) != globals(&self.config) {
            warn!("another backend or table is used only after a restart");
        }
        self.porter.change_doors(moment, &config);
        if let Some(devices) = devices {
            info!("listening on {} from now on", device_names::shown(&names));
            self.devices = devices;
            self.device_names = names;
        }
        self.config = config;
        self.set_doors();
        self.load_own_table(moment);
        self.set_users(moment);
        self.warn();
        self.look_at_firewall(moment);
        self.porter.restore_rules(moment.now);
        self.porter.tend_gate(moment);
        self.follow_links();
        Ok(())
    }

    /// Gives the core the doors of the configuration.
    pub(super) fn set_doors(&mut self) {
        self.porter.gate.set_command_limit(self.config.globals.command_timeout);
        let Porter { keeper, household, lines, .. } = &mut self.porter;
        household.slots = household.slots.with(&self.config);
        let mut knocks = household.slots.knocks();
        lines.read(&household.slots, &mut knocks);
        let exposed = config::exposed_ports(&self.options.config, &self.config);
        if keeper.engine.set_doors(&knocks, &never_traps(&self.config, exposed)).is_err() {
            error!("the doors name too many different ports: some cannot be knocked");
        }
    }

    /// Makes the daemon's own table what the configuration wants.
    pub(super) fn load_own_table(&mut self, moment: &Moment) {
        let Porter { gate, household, .. } = &mut self.porter;
        let shut = gate.backend().is_own().then_some(&self.device_names[..]);
        gate.own.load(moment.now, &household.slots, shut);
        // That was this daemon's own doing.
        gate.backend_mut().changed();
    }

    /// Says which ports the daemon's own table shuts.
    pub(super) fn say_what_is_shut(&self) {
        if !self.porter.gate.backend().is_own() {
            return;
        }
        let any = self.device_names.is_empty() || self.device_names.iter().any(|name| name == devices::ANY);
        let on = if any { "every device but lo".to_owned() } else { self.device_names.join(", ") };
        for (_, door) in self.porter.household.slots.iter() {
            if let Some(opening) = &door.opening {
                info!("door '{}': {opening} is shut on {on} for everybody who has not knocked", door.name);
            }
        }
    }

    /// Looks what the firewall makes of the doors, and says what is new.
    pub(super) fn look_at_firewall(&mut self, moment: &Moment) {
        self.porter.look_at_firewall(moment.now, &self.config, &self.device_names);
    }

    /// Gives the core the users of the configuration, once it has the doors.
    pub(super) fn set_users(&mut self, moment: &Moment) {
        self.porter.clock.vouch(self.config.globals.auth.trust_clock);
        self.porter.change_users(moment, &self.config);
        let Porter { keeper, household, .. } = &mut self.porter;
        keeper.engine.set_listening(household.listening(&self.config));
        self.porter.look_at_clock(moment);
    }
}

impl Porter<'_> {
    /// Puts new doors in the place of the old. Who is in stays in, unless his door is gone or opens something else now.
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

    /// Puts new users in the place of the old. What a user opened who may not any more is shut.
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
        let users = self.household.users.for_core(&self.household.slots);
        self.keeper.auth.set_users(auth_rules(config), &users);
    }
}

/// Whether whoever is in at a door may stay in. The name is that of the sets, and in the comments of rules.
fn opens_the_same(old: &Door, new: &Door) -> bool {
    new.name == old.name
        && new.grant_prefix == old.grant_prefix
        && new.opening == old.opening
        && new.commands == old.commands
        && new.kill == old.kill
}

/// The rules that are the same for all users.
pub(crate) fn auth_rules(config: &Config) -> auth::Rules {
    let config::Auth { max_age, totp_ports, .. } = config.globals.auth;
    auth::Rules { max_age_s: max_age.as_secs(), range: totp_ports }
}

/// Begins to log.
pub(super) fn start_log(config: &Config) {
    sinks::start(config.globals.log_level);
    set_log(config);
}

/// Logs as the configuration says from now on.
pub(super) fn set_log(config: &Config) {
    sinks::set_level(config.globals.log_level);
    let file: Option<&Path> = config.globals.log_file.as_deref();
    if let (Some(path), Err(error)) = (file, sinks::set_file(file)) {
        warn!("log file {}: {error}{}", path.display(), systemd::advice(&error, path));
    }
}

/// Opens sockets for these devices.
pub(super) fn open_devices(names: &[String]) -> Result<Devices, StartError> {
    if names.len() > MAX_DEVICES {
        return Err(StartError::Devices(names.len()));
    }
    Devices::open(names).map_err(|error| StartError::Socket("a packet socket (CAP_NET_RAW is needed)", error))
}
