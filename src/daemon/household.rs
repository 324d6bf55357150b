//! The enabled doors and users of the configuration, by the numbers that the core uses.

use crate::config::{self, Config, Door, DoorPorts, User};
use crate::core::access::{DoorRules, OpeningRules, Policy, UserRules};
use crate::core::door::DoorId;
use crate::core::engine::Listening;
use crate::core::ports::DoorSet;
use crate::core::user::UserId;

use super::slots::Slots;
use super::users::Users;

/// The enabled doors and users.
#[derive(Clone, Debug, Default)]
pub struct Household {
    /// The doors by their numbers.
    pub slots: Slots,
    /// The users by their numbers.
    pub users: Users,
}

impl Household {
    /// The household of a new configuration. Doors and users that exist already keep their numbers.
    #[must_use]
    pub fn with(&self, config: &Config) -> Self {
        Self { slots: self.slots.with(config), users: self.users.with(config) }
    }

    /// The ports and settings for users' packets.
    pub fn listening(&self, config: &Config) -> Listening {
        let config::AuthOptions { spa_port, totp_ports, .. } = config.globals.auth;
        let users = || self.users.iter().map(|(user, _)| user);
        let changing = users().any(|user| !user.totp.is_empty());
        Listening {
            packets: users().any(User::sends_packets).then_some(spa_port),
            changing: changing.then(|| totp_ports.range()),
        }
    }

    /// The doors with these names. Disabled doors are left out.
    fn set(&self, names: &[String]) -> DoorSet {
        let mut set = DoorSet::default();
        names.iter().filter_map(|name| self.slots.find(name)).for_each(|id| set.add(id));
        set
    }

    fn rules<'a>(&self, door: &'a Door) -> DoorRules<'a> {
        DoorRules {
            src: &door.src,
            hours: door.hours,
            closes: (!door.closes.is_empty()).then(|| self.set(&door.closes)),
            prefix: door.grant_prefix,
            open_time: door.open_time,
            max_time: door.max_time,
            close: door.close,
            is_momentary: is_momentary(door),
            is_one_time: door.one_time.is_some(),
            opening: door.opening.as_ref().map(opening),
            any_port: &door.any_port,
            #[cfg(feature = "fwknop")]
            fwknop_port: door.fwknop_port,
            #[cfg(not(feature = "fwknop"))]
            fwknop_port: None,
        }
    }
}

impl Policy for Household {
    fn door(&self, id: DoorId) -> Option<DoorRules<'_>> {
        self.slots.get(id).map(|door| self.rules(door))
    }

    fn name(&self, id: DoorId) -> Option<&str> {
        self.slots.get(id).map(|door| door.name.as_str())
    }

    fn find(&self, name: &str) -> Option<DoorId> {
        self.slots.find(name)
    }

    fn user(&self, id: UserId) -> Option<UserRules<'_>> {
        let User { doors, src, require_address, other_address, expires, .. } = &**self.users.get(id)?;
        Some(UserRules {
            doors: self.set(doors),
            src,
            require_address: *require_address,
            other_address: *other_address,
            expires: *expires,
        })
    }
}

/// Whether a door only runs a command and has nothing to undo. Each knock then runs the command, as with knockd.
fn is_momentary(door: &Door) -> bool {
    !door.opens_ports() && door.commands.stop.is_none() && door.commands.stop_6.is_none()
}

fn opening(opening: &DoorPorts) -> OpeningRules<'_> {
    OpeningRules {
        protocols: &opening.protocols,
        dest_port: &opening.dest_port,
        forward: opening.forward.as_ref().map(|forward| (&forward.src_dport[..], &forward.dest_ip[..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        config::parse("test", text.as_bytes()).expect("a configuration")
    }

    #[test]
    fn only_what_a_user_can_send_is_heard() {
        let listening = |user: &str| {
            let config =
                config(&format!("config door a\noption dest_port 1\nconfig user b\nlist door a\n{user}\n"));
            let Listening { packets, changing } = Household::default().with(&config).listening(&config);
            (packets.is_some(), changing.is_some())
        };
        assert_eq!(listening(""), (false, false));
        assert_eq!(listening("option totp JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"), (false, true));
        let key = format!("option key {}=", "A".repeat(43));
        assert_eq!(listening(&key), (true, false));
    }

    #[test]
    fn a_door_with_something_to_undo_is_not_momentary() {
        let start = "option start_command a";
        for (options, expected) in [
            (start.to_owned(), true),
            (format!("{start}\noption stop_command b"), false),
            (format!("{start}\noption stop_command_6 b"), false),
            (format!("{start}\noption dest_port 1"), false),
        ] {
            let config = config(&format!("config door a\nlist sequence 1\n{options}\n"));
            assert_eq!(is_momentary(&config.doors[0]), expected, "{options}");
        }
    }
}
