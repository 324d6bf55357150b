//! Stage three of the packet's way for users' knocks: finds the user, or the reason why the knock is refused.
//!
//! ```text
//!   datagram of 100 bytes --> tag: one look-up --> seal holds --.
//!   datagram like fwknop's --> limits --> HMAC of each key -----+--> age --> new? --> a user's request
//!   SYN in the range --> the source's last knocks: one look-up -'
//! ```
//! [`super::access`] decides whether the user's request is granted.

#[cfg(feature = "fwknop")]
mod fwknop_packet;
mod refusal;

use core::hash::BuildHasher;
use core::net::IpAddr;

pub use self::refusal::{Refusal, Refused};
use super::attempt::Mark;
use super::door::{DoorId, MAX_DOORS};
#[cfg(feature = "fwknop")]
use super::failures::Failures;
use super::packet::Probe;
use super::replay::Replay;
use super::tags::Tags;
use super::time::Instant;
use super::totp_knocks::{Heard, LastKnocks, Sequences};
use super::user::{KnownUser, MAX_USERS, UserId};
use ketuk_protocol::Identity;
#[cfg(feature = "fwknop")]
use ketuk_protocol::fwknop;
use ketuk_protocol::packet::{self, DoorName, PACKET};
use ketuk_protocol::totp::TotpPorts;

/// The large, fixed tables of [`Auth`]. They are a `static` of the daemon, as [`super::engine::EngineTables`] are.
#[derive(Debug)]
pub struct AuthTables {
    users: heapless::Vec<KnownUser, MAX_USERS>,
    replay: heapless::Vec<Replay, MAX_USERS>,
    /// For each user and door the newest window that opened it.
    used: heapless::Vec<[u64; MAX_DOORS], MAX_USERS>,
    tags: Tags,
    sequences: Sequences,
    knocks: LastKnocks,
    #[cfg(feature = "fwknop")]
    failures: Failures,
}

impl AuthTables {
    /// No users, nothing heard.
    pub const fn new() -> Self {
        Self {
            users: heapless::Vec::new(),
            replay: heapless::Vec::new(),
            used: heapless::Vec::new(),
            tags: Tags::new(),
            sequences: Sequences::new(),
            knocks: LastKnocks::new(),
            #[cfg(feature = "fwknop")]
            failures: Failures::new(),
        }
    }
}

impl Default for AuthTables {
    fn default() -> Self {
        Self::new()
    }
}

/// The request in a user's knock that is authentic and new. Only [`Auth`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRequest {
    /// The user whose key or secret made it.
    pub(crate) user: UserId,
    /// The time at which the client made it, by the client's clock, in seconds since 1970.
    pub(crate) time: u64,
    /// The address to open for; `None` means the address that it came from.
    pub(crate) address: Option<IpAddr>,
    /// Seconds to open for; `None` means the door's `open_time`.
    pub(crate) seconds: Option<u32>,
    /// The door or the ports to open.
    pub(crate) wanted: Wanted,
}

impl UserRequest {
    /// The user whose key or secret made it.
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The time at which the client made it, by the client's clock, in seconds since 1970.
    pub const fn time(&self) -> u64 {
        self.time
    }
}

/// The door or the ports that a user's knock asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A door, by its name.
    Named(DoorName),
    /// The door whose changing sequence was knocked.
    Door(DoorId),
    /// The ports that a fwknop client names.
    #[cfg(feature = "fwknop")]
    Ports(fwknop::FwknopRequest),
}

/// How a knock in the range of changing sequences was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knocked {
    /// The same knock was heard before.
    Again,
    /// The knock may be a part of a sequence; `true` if the table was full and another source was forgotten.
    Noted(bool),
    /// It completed a sequence.
    Request(UserRequest),
    /// It completed a sequence that was used before, or that an expired user made.
    Refused(Refused),
}

/// The rules that are the same for all users, from `config globals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthRules {
    /// Largest difference of the two clocks, in seconds; at most [`super::tags::MAX_SPA_AGE_S`].
    pub max_age_s: u64,
    /// The ports of changing sequences.
    pub range: TotpPorts,
}

/// The users, and the packets of theirs that were taken.
#[derive(Debug)]
pub struct Auth<'t, S> {
    tables: &'t mut AuthTables,
    keyed: S,
    rules: AuthRules,
    #[cfg(feature = "fwknop")]
    budget: fwknop_packet::Budget,
    /// Packets made at or before this time are refused, in seconds since 1970; `None` while this host does not know the time.
    floor: Option<u64>,
    /// The newest time of all packets that were taken, in seconds since 1970. A user that is added later begins with it, because
    /// it may have been deleted before, and its old packets must not be taken again.
    newest: u64,
}

impl<'t, S: BuildHasher> Auth<'t, S> {
    /// No users yet, on these tables.
    pub const fn new(tables: &'t mut AuthTables, keyed: S, rules: AuthRules) -> Self {
        Self {
            tables,
            keyed,
            rules,
            #[cfg(feature = "fwknop")]
            budget: fwknop_packet::Budget::new(),
            floor: None,
            newest: 0,
        }
    }

    /// Replaces all users. One whose secrets have changed begins anew.
    pub fn set_users(&mut self, rules: AuthRules, users: &[Option<KnownUser>]) {
        let Self { tables: AuthTables { users: known, replay, used, tags, sequences, .. }, newest, .. } =
            self;
        self.rules = rules;
        let nobody = KnownUser::default();
        // All places are made first, while the stack holds no secret that could get into their unused bytes.
        while known.len() < users.len().min(MAX_USERS) {
            let pushed = known.push(KnownUser::default()).is_ok()
                && replay.push(Replay::new(*newest)).is_ok()
                && used.push([0; MAX_DOORS]).is_ok();
            debug_assert!(pushed, "MAX_USERS slots");
        }
        for (slot, user) in users.iter().take(MAX_USERS).enumerate() {
            let (before, user) = (&mut known[slot], user.as_ref().unwrap_or(&nobody));
            if before == user {
                // A door may have got another slot. So every window up to the user's newest counts as used for each door.
                used[slot] = [used[slot].into_iter().max().unwrap_or(0); MAX_DOORS];
            } else {
                // The secrets may have been another user's, whose knocks are not known here.
                before.copy_from(user);
                replay[slot] = Replay::new(*newest);
                used[slot] = [*newest; MAX_DOORS];
            }
        }
        known.iter_mut().skip(users.len()).for_each(|user| user.copy_from(&nobody));
        tags.clear();
        sequences.clear();
    }

    /// The rules that are the same for all users.
    pub fn rules(&self) -> AuthRules {
        self.rules
    }

    /// From now on this host knows the time. Packets made at `floor` or before, in seconds since 1970, are refused.
    pub fn trust_clock(&mut self, floor: u64) {
        self.floor = Some(floor);
    }

    /// Whether the host knows the time.
    pub fn trusts_clock(&self) -> bool {
        self.floor.is_some()
    }

    /// Judges a datagram. `wall_s` is in seconds since 1970.
    ///
    /// # Errors
    /// The reason for the refusal, and the user if the packet proved one.
    pub fn packet(
        &mut self,
        now: Instant,
        wall_s: u64,
        source: IpAddr,
        payload: &[u8],
    ) -> Result<UserRequest, Refused> {
        if let Ok(packet) = <&[u8; PACKET]>::try_from(payload) {
            return self.ketuk(wall_s, packet);
        }
        #[cfg(feature = "fwknop")]
        if fwknop::is_plausible(payload) {
            return self.fwknop(now, wall_s, source, payload);
        }
        #[cfg(feature = "fwknop")]
        if fwknop::is_gnupg(payload) {
            return Err(Refusal::Gnupg.into());
        }
        let _ = (now, source);
        Err(Refusal::Form.into())
    }

    fn ketuk(&mut self, wall_s: u64, packet: &[u8; PACKET]) -> Result<UserRequest, Refused> {
        if self.floor.is_none() {
            return Err(Refusal::NoClock.into());
        }
        let AuthTables { tags, users, .. } = &mut *self.tables;
        tags.follow(&self.keyed, users, wall_s, self.rules.max_age_s);
        let mut refusal = Refusal::Unknown;
        let opened = tags.owners(&self.keyed, packet::tag_of(packet)).find_map(|owner| {
            let keys = users[owner.user.index()].keys.get(usize::from(owner.key))?;
            match keys.open(packet) {
                Ok(request) => Some(Ok((owner.user, request))),
                Err(packet::PacketError::Forged) => {
                    refusal = Refusal::Forged;
                    None
                }
                Err(packet::PacketError::Rules) => Some(Err(Refusal::Rules.of(owner.user))),
            }
        });
        let (user, request) = opened.ok_or(refusal)??;
        let packet::Request { time, seconds, address, door } = request;
        self.admit(wall_s, user, time, packet::identity(packet))?;
        let seconds = Some(seconds).filter(|seconds| *seconds > 0);
        Ok(UserRequest { user, time, address, seconds, wanted: Wanted::Named(door) })
    }

    /// Judges a SYN at a port of the range. `wall_s` is in seconds since 1970; `name` gives a door's name.
    pub fn knock<'n>(
        &mut self,
        now: Instant,
        wall_s: u64,
        probe: &Probe,
        name: impl Fn(DoorId) -> Option<&'n str>,
    ) -> Knocked {
        let Self { tables: AuthTables { users, sequences, knocks, used, .. }, keyed, rules, .. } = self;
        let mark = Mark::of(&probe.transport, keyed);
        let (ports, has_opened) = match knocks.hear(keyed, now, probe.source, probe.transport.port(), mark) {
            Heard::Again => return Knocked::Again,
            Heard::Noted(displaced) => return Knocked::Noted(displaced),
            Heard::Knocks { ports, has_opened } => (ports, has_opened),
        };
        let Some(floor) = self.floor else { return Knocked::Refused(Refusal::NoClock.into()) };
        sequences.follow(keyed, users, name, rules.range, wall_s);
        let mut refused = None;
        for current in sequences.find(keyed, ports) {
            let (user, time) = (current.user, current.time());
            let newest = &mut used[user.index()][current.door.index()];
            let refusal = if has_opened && time == *newest {
                return Knocked::Again;
            } else if time <= floor || time <= *newest {
                Refusal::Replay
            } else if users[user.index()].is_expired(wall_s) {
                Refusal::Expired
            } else {
                *newest = time;
                self.newest = self.newest.max(time);
                knocks.has_opened(keyed, probe.source, mark);
                let wanted = Wanted::Door(current.door);
                return Knocked::Request(UserRequest { user, time, address: None, seconds: None, wanted });
            };
            refused = Some(refusal.of(user));
        }
        refused.map_or(Knocked::Noted(false), Knocked::Refused)
    }

    /// Refuses an authentic packet that is too old, that was taken before, or whose user has expired.
    fn admit(&mut self, wall_s: u64, user: UserId, time: u64, identity: Identity) -> Result<(), Refused> {
        let refused = |refusal: Refusal| Err(refusal.of(user));
        let Some(floor) = self.floor else { return refused(Refusal::NoClock) };
        if time.abs_diff(wall_s) > self.rules.max_age_s {
            return refused(Refusal::Age);
        }
        // This comes before the question of expiry, so that a refused packet is used up too.
        if time <= floor || !self.tables.replay[user.index()].take(time, identity) {
            return refused(Refusal::Replay);
        }
        self.newest = self.newest.max(time);
        if self.tables.users[user.index()].is_expired(wall_s) {
            return refused(Refusal::Expired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
