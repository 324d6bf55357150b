//! The decisions: each rule, each pair of rules, and all of them against a naive model.

mod any_port;
mod endings;
mod model;
mod quotas;
mod rules;
#[cfg(feature = "fwknop")]
mod wanted;

use super::*;
use crate::hours::{DAY_S, Hours, WallTime};
use crate::network::Network;
use crate::ports::ProtocolPorts;
use crate::testing::Keyed;
use crate::time::Instant;
use crate::user::UserId;

const SSH: DoorId = DoorId(0);
const NAS: DoorId = DoorId(1);
const ALICE: UserId = UserId(0);
const BOB: UserId = UserId(1);
const CLIENT: &str = "198.51.100.10";
const STRANGER: &str = "192.0.2.66";
const WALL_S: u64 = 1_800_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A moment, in seconds since the start: Sunday at noon, later by as much.
fn at(s: u64) -> Moment {
    let second = u32::try_from(s).unwrap() + DAY_S / 2;
    Moment {
        now: Instant::from_millis(s * 1000),
        wall_s: WALL_S + s,
        local: WallTime { weekday: 0, second: second % DAY_S },
    }
}

/// A door's rules, owned.
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[derive(Clone, Debug, Default)]
struct OwnedRules {
    src: Vec<Network>,
    hours: Option<Hours>,
    closes: Option<DoorSet>,
    prefix: GrantPrefix,
    max_time: Option<Duration>,
    session: bool,
    until_shut: bool,
    one_time: bool,
    momentary: bool,
    any_port: Vec<ProtocolPorts>,
}

/// Two doors and two users, each of which may be missing.
#[derive(Clone, Debug)]
struct House {
    doors: [Option<OwnedRules>; 2],
    users: [Option<UserRules<'static>>; 2],
}

impl House {
    fn new() -> Self {
        let user = UserRules { doors: DoorSet(0b11), ..UserRules::default() };
        Self { doors: [Some(OwnedRules::default()), Some(OwnedRules::default())], users: [Some(user); 2] }
    }

    fn with(change: impl FnOnce(&mut OwnedRules)) -> Self {
        let mut house = Self::new();
        change(house.doors[0].as_mut().unwrap());
        house
    }

    fn with_user(change: impl FnOnce(&mut UserRules<'static>)) -> Self {
        let mut house = Self::new();
        change(house.users[0].as_mut().unwrap());
        house
    }
}

impl Policy for House {
    fn door(&self, id: DoorId) -> Option<DoorRules<'_>> {
        let door = self.doors.get(id.index())?.as_ref()?;
        Some(DoorRules {
            src: &door.src,
            hours: door.hours,
            closes: door.closes,
            prefix: door.prefix,
            open_time: (!door.until_shut).then_some(Duration::from_secs(30)),
            max_time: door.max_time,
            close: if door.session { Close::Session { max: door.max_time } } else { Close::Timeout },
            is_momentary: door.momentary,
            is_one_time: door.one_time,
            opening: None,
            any_port: &door.any_port,
            fwknop_port: None,
        })
    }

    fn name(&self, id: DoorId) -> Option<&str> {
        ["ssh", "nas"].get(id.index()).copied()
    }

    fn find(&self, name: &str) -> Option<DoorId> {
        ["ssh", "nas"].iter().zip([SSH, NAS]).find(|(known, _)| **known == name).map(|(_, id)| id)
    }

    fn user(&self, id: UserId) -> Option<UserRules<'_>> {
        self.users.get(id.index()).copied().flatten()
    }
}

fn asks(opener: Opener, address: &str) -> OpenRequest {
    let address = ip(address);
    let sender = (opener != Opener::Hand).then_some(address);
    OpenRequest { opener, door: SSH, sender, address, port: None, time: AskedTime::OpenTime }
}

/// Runs a test on an access without grants.
fn empty(test: impl FnOnce(&mut Access<'_, Keyed>)) {
    let mut tables = Box::new(AccessTables::new());
    test(&mut Access::new(&mut tables, Keyed::default()));
}

/// Decides, and does what the daemon does when the firewall takes every change.
fn open(access: &mut Access<'_, Keyed>, moment: &Moment, house: &House, request: &OpenRequest) -> Decision {
    let decision = access.decide(moment, house, request, None);
    if let Decision::Open(opening) = &decision {
        access.commit(moment, house, opening);
        if access.lease(moment.now, opening.door, opening.passage()).is_some() {
            access.confirm(opening.door, opening.passage());
        }
    }
    decision
}
