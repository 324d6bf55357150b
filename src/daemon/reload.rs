//! A configuration takes effect, at start and whenever it is read anew.

use std::path::Path;

use log::{error, info, warn};

use super::devices::Devices;
use super::hotplug::Hotplug;
use super::names;
use super::porter::{Porter, tell_closed};
use super::run::Daemon;
use super::slots::never_traps;
use super::start::StartError;
use super::systemd;
use super::users::Users;
use crate::config::{self, Config, Door, MAX_DEVICES};
use crate::control::server::Server;
use crate::core::auth;
use crate::core::engine::Listening;
use crate::core::grants::Grant;
use crate::core::time::Instant;
use crate::core::user::{MAX_USERS, UserId};
use crate::log as sinks;

impl Daemon<'_> {
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

    /// Gives the core the doors of the configuration.
    pub(super) fn set_doors(&mut self) {
        let porter = &mut self.porter;
        porter.gate.set_command_limit(self.config.globals.command_timeout);
        porter.slots = porter.slots.with(&self.config);
        let knocks = porter.knocks();
        if porter.engine.set_doors(&knocks, &never_traps(&self.config)).is_err() {
            error!("the doors name too many different ports: some cannot be knocked");
        }
    }

    /// Gives the core the users of the configuration, once it has the doors. What is shut to those who may not
    /// any more is handed out.
    pub(super) fn set_users(
        &mut self,
        now: Instant,
        mut each: impl FnMut(&mut Hotplug, &Users, &Door, &Grant),
    ) {
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
        let changing = changing.then(|| totp_ports.range());
        engine.set_listening(Listening { packets, changing });
        if packets.is_some() || changing.is_some() {
            self.porter.look_at_clock(now);
        }
    }
}

/// The rules that are the same for all users.
pub(super) fn auth_rules(config: &Config) -> auth::Rules {
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
