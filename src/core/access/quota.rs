//! The share of the tables that each opener may use, so that nobody can use up what others need.
//!
//! An attacker who has overheard a plain sequence can repeat it from as many addresses as the attacker can forge. That
//! fills the quota of the door. Other doors, users and the operator have quotas of their own.

use core::net::IpAddr;

use crate::auth::Refusal;
use crate::door::{DoorId, MAX_DOORS};
use crate::grants::{Grant, Grants, MAX_GRANTS, Opener};
use crate::limit::{Bucket, Rate};
use crate::time::Instant;
use crate::user::MAX_USERS;

/// Most addresses that plain knocks hold one door open for: more than a household has.
pub const DOOR_KNOCK_GRANTS: usize = 48;
/// Most addresses that plain knocks hold all doors open for: twice [`DOOR_KNOCK_GRANTS`], so an attacker who fills one
/// door leaves as many for the others.
pub const ALL_KNOCK_GRANTS: usize = 96;
/// Most grants of one user: eight doors over both families.
pub const USER_GRANTS: usize = 16;
/// Most grants of all users.
pub const ALL_USER_GRANTS: usize = 128;
// The rest is for the operator, who has no quota.
const _: () = assert!(ALL_KNOCK_GRANTS + ALL_USER_GRANTS + 32 <= MAX_GRANTS);

/// The rate at which plain knocks open one door for new addresses. People do not come faster.
const DOOR_KNOCK_OPENS: Rate = Rate { per_second: 20, burst: 50 };
/// The rate at which plain knocks open all doors together.
const ALL_KNOCK_OPENS: Rate = Rate { per_second: 40, burst: 100 };
/// The rate at which one user opens doors for new addresses.
const USER_OPENS: Rate = Rate { per_second: 10, burst: 20 };

/// Most commands of one door that wait because of plain knocks: one for each address that it can be open for.
pub const DOOR_KNOCK_COMMANDS: usize = DOOR_KNOCK_GRANTS;
/// Places in the queue of commands that plain knocks leave to users and to the operator.
pub const COMMANDS_FOR_USERS: usize = 64;

/// The state of the queue of commands, seen from one door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandLoad {
    /// Whether the door's start command for this address has still to run.
    pub is_starting: bool,
    /// Commands of this door that wait.
    pub waiting_at_door: usize,
    /// Free places in the queue. The places kept for the stop commands of grants do not count.
    pub free: usize,
}

/// The quota that each opener has used. All zero means none.
#[derive(Debug)]
pub(super) struct Quotas {
    doors: [Bucket; MAX_DOORS],
    knocks: Bucket,
    users: [Bucket; MAX_USERS],
}

impl Quotas {
    pub(super) const fn new() -> Self {
        Self { doors: [Bucket::new(); MAX_DOORS], knocks: Bucket::new(), users: [Bucket::new(); MAX_USERS] }
    }

    /// Charges a new grant and one opening to the opener's quota.
    pub(super) fn take(
        &mut self,
        now: Instant,
        grants: &Grants,
        opener: Opener,
        door: DoorId,
    ) -> Result<(), Refusal> {
        match opener {
            Opener::Knock => {
                let by_knock = || grants.iter().filter(|grant| is_of_knock(grant));
                if by_knock().filter(|grant| grant.door() == door).count() >= DOOR_KNOCK_GRANTS
                    || by_knock().count() >= ALL_KNOCK_GRANTS
                {
                    return Err(Refusal::GrantsFull);
                }
                let of_door = &mut self.doors[door.index()];
                if !of_door.has(DOOR_KNOCK_OPENS, now) || !self.knocks.take(ALL_KNOCK_OPENS, now) {
                    return Err(Refusal::OpenRate);
                }
                of_door.take(DOOR_KNOCK_OPENS, now);
            }
            Opener::User(user) => {
                let of_users = || grants.iter().filter_map(Grant::user);
                if of_users().filter(|other| *other == user).count() >= USER_GRANTS
                    || of_users().count() >= ALL_USER_GRANTS
                {
                    return Err(Refusal::GrantsFull);
                }
                if !self.users[user.index()].take(USER_OPENS, now) {
                    return Err(Refusal::OpenRate);
                }
            }
            Opener::Hand => {}
        }
        if grants.len() < MAX_GRANTS { Ok(()) } else { Err(Refusal::GrantsFull) }
    }
}

/// Whether there is room for both commands of a new grant: the start command, and later the stop command.
pub(super) fn has_room_for_commands(opener: Opener, load: CommandLoad) -> bool {
    let left_free = match opener {
        Opener::Knock if load.waiting_at_door >= DOOR_KNOCK_COMMANDS => return false,
        Opener::Knock => COMMANDS_FOR_USERS,
        Opener::User(_) | Opener::Hand => 0,
    };
    load.free >= left_free + 2
}

/// Whether only plain knocks have opened this grant.
fn is_of_knock(grant: &Grant) -> bool {
    grant.user().is_none() && !grant.was_by_hand()
}

/// Whether an address can be another host's: it is not unspecified, multicast, loopback or 255.255.255.255.
pub fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast)
}
