//! Stage three of the packet's way for knocks that prove who sent them: who it is, or why nobody.
//!
//! ```text
//!   datagram of 100 bytes --> tag: one look-up --> seal holds --.
//!   datagram like fwknop's --> limits --> HMAC of each key -----+--> age --> new? --> a user's request
//!   SYN in the range --> the source's last knocks: one look-up -'
//! ```
//! Whether the user may have what he asks for is the daemon's to say, who knows what doors open.

mod refusal;

use core::hash::BuildHasher;
use core::net::IpAddr;

pub use self::refusal::{Refusal, Refused};
use super::attempt::Mark;
use super::door::{DoorId, MAX_DOORS};
#[cfg(feature = "fwknop")]
use super::failures::Failures;
#[cfg(feature = "fwknop")]
use super::limit::Limit;
use super::packet::Probe;
use super::replay::{Identity, Replay};
use super::tags::Tags;
use super::time::Instant;
use super::totp_knocks::{Heard, LastKnocks, Sequences};
use super::user::{MAX_USERS, User, UserId};
#[cfg(feature = "fwknop")]
use ketuk_protocol::fwknop;
use ketuk_protocol::packet::{self, DoorName, PACKET};
use ketuk_protocol::totp::TotpPorts;

/// HMACs of fwknop packets a second, and at once. Each key costs one for each packet that looks like
/// fwknop's, about 2 microseconds on a desktop and some tens of them on a small MIPS: so that a flood takes
/// half of such a processor at most.
#[cfg(feature = "fwknop")]
const HMACS_PER_SECOND: u32 = 20_000;

/// Packets of nobody a second that are tried with the other HMACs too, to say what is wrong: four times the work.
#[cfg(feature = "fwknop")]
const EXPLAINED_PER_SECOND: u32 = 2;

/// The large, fixed tables, apart from what uses them as [`super::engine::Tables`] are.
#[derive(Debug)]
pub struct Tables {
    users: heapless::Vec<Option<User>, MAX_USERS>,
    replay: heapless::Vec<Replay, MAX_USERS>,
    /// For each user and door the newest window that opened it.
    used: heapless::Vec<[u64; MAX_DOORS], MAX_USERS>,
    tags: Tags,
    sequences: Sequences,
    knocks: LastKnocks,
    #[cfg(feature = "fwknop")]
    failures: Failures,
}

impl Tables {
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

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

/// What an authentic, new knock asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub user: UserId,
    /// When it was made, by its maker's clock, in seconds since 1970.
    pub time: u64,
    /// For whom; `None`: for where it came from.
    pub address: Option<IpAddr>,
    /// For how many seconds; `None`: as long as the door opens.
    pub seconds: Option<u32>,
    /// What.
    pub wanted: Wanted,
}

/// What is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A door, by its name.
    Named(DoorName),
    /// A door, by its own sequence.
    Door(DoorId),
    /// Ports, as fwknop asks for them.
    #[cfg(feature = "fwknop")]
    Ports(fwknop::FwknopRequest),
}

/// What came of a knock in the range of changing sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knocked {
    /// It was heard before.
    Again,
    /// It may be a part of something; `true` if another source had to be forgotten.
    Noted(bool),
    /// It completed a sequence.
    Request(Request),
    /// It completed a sequence that opens nothing any more.
    Refused(Refused),
}

/// The rules that are the same for all users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Largest difference of the two clocks, in seconds; at most [`super::tags::MAX_SPA_AGE_S`].
    pub max_age_s: u64,
    /// The ports of changing sequences.
    pub range: TotpPorts,
}

/// Who is who.
#[derive(Debug)]
pub struct Auth<'t, S> {
    tables: &'t mut Tables,
    keyed: S,
    rules: Rules,
    #[cfg(feature = "fwknop")]
    hmacs: Limit,
    #[cfg(feature = "fwknop")]
    explained: Limit,
    /// Nothing at or before this time is taken; `None` while this host does not know the time.
    floor: Option<u64>,
    /// The newest time that was taken. Users that come later begin here: he may have been there before.
    newest: u64,
}

impl<'t, S: BuildHasher> Auth<'t, S> {
    /// Nobody, on these tables.
    pub const fn new(tables: &'t mut Tables, keyed: S, rules: Rules) -> Self {
        Self {
            tables,
            keyed,
            rules,
            #[cfg(feature = "fwknop")]
            hmacs: Limit::new(HMACS_PER_SECOND, HMACS_PER_SECOND),
            #[cfg(feature = "fwknop")]
            explained: Limit::new(EXPLAINED_PER_SECOND, EXPLAINED_PER_SECOND),
            floor: None,
            newest: 0,
        }
    }

    /// Puts these users in the place of those before.
    pub fn set_users(&mut self, rules: Rules, users: &[Option<User>]) {
        let Self { tables: Tables { users: known, replay, used, tags, sequences, .. }, newest, .. } = self;
        self.rules = rules;
        for (slot, user) in users.iter().take(MAX_USERS).enumerate() {
            if let Some(before) = known.get_mut(slot) {
                // A key may have been another user's, whose memory does not count here.
                if before != user {
                    before.clone_from(user);
                    replay[slot] = Replay::new(*newest);
                }
            } else {
                let pushed = known.push(user.clone()).is_ok()
                    && replay.push(Replay::new(*newest)).is_ok()
                    && used.push([0; MAX_DOORS]).is_ok();
                debug_assert!(pushed, "MAX_USERS slots");
            }
            // Doors may have changed their slots: no window that anybody used opens anything.
            used[slot] = [*newest; MAX_DOORS];
        }
        known.iter_mut().skip(users.len()).for_each(|user| *user = None);
        tags.clear();
        sequences.clear();
    }

    /// The rules that are the same for all users.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The users that are there.
    pub fn users(&self) -> impl Iterator<Item = (UserId, &User)> {
        super::user::users_of(&self.tables.users)
    }

    /// The host knows the time from now on; nothing is taken that was made at `floor` or before, in seconds
    /// since 1970.
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
    /// Why it is nobody's request.
    pub fn packet(
        &mut self,
        now: Instant,
        wall_s: u64,
        source: IpAddr,
        payload: &[u8],
    ) -> Result<Request, Refused> {
        if let Ok(packet) = <&[u8; PACKET]>::try_from(payload) {
            return self.ketuk(wall_s, packet);
        }
        #[cfg(feature = "fwknop")]
        if fwknop::is_plausible(payload) {
            return self.fwknop(now, wall_s, source, payload);
        }
        #[cfg(feature = "fwknop")]
        if fwknop::is_gnupg(payload) {
            return Err((Refusal::Gnupg, None));
        }
        let _ = (now, source);
        Err((Refusal::Form, None))
    }

    fn ketuk(&mut self, wall_s: u64, packet: &[u8; PACKET]) -> Result<Request, Refused> {
        if self.floor.is_none() {
            return Err((Refusal::NoClock, None));
        }
        let Tables { tags, users, .. } = &mut *self.tables;
        tags.follow(&self.keyed, users, wall_s, self.rules.max_age_s);
        let mut refusal = Refusal::Unknown;
        let opened = tags.owners(&self.keyed, packet::tag_of(packet)).find_map(|owner| {
            let keys = users[owner.user.index()].as_ref()?.keys.get(usize::from(owner.key))?;
            match keys.open(packet) {
                Ok(request) => Some(Ok((owner.user, request))),
                Err(packet::PacketError::Forged) => {
                    refusal = Refusal::Forged;
                    None
                }
                Err(packet::PacketError::Rules) => Some(Err((Refusal::Rules, Some(owner.user)))),
            }
        });
        let (user, request) = opened.ok_or((refusal, None))??;
        let packet::Request { time, seconds, address, door } = request;
        self.admit(wall_s, user, time, packet::identity(packet))?;
        let seconds = Some(seconds).filter(|seconds| *seconds > 0);
        Ok(Request { user, time, address, seconds, wanted: Wanted::Named(door) })
    }

    #[cfg(feature = "fwknop")]
    fn fwknop(
        &mut self,
        now: Instant,
        wall_s: u64,
        source: IpAddr,
        packet: &[u8],
    ) -> Result<Request, Refused> {
        let Self { tables: Tables { users, failures, .. }, keyed, hmacs, .. } = self;
        if failures.are_too_many(keyed, now, source) {
            return Err((Refusal::Limited, None));
        }
        let mut found = None;
        for (user, keys) in
            super::user::users_of(users).flat_map(|(id, user)| user.fwknop.iter().map(move |keys| (id, keys)))
        {
            if !hmacs.allow(now) {
                return Err((Refusal::Limited, None));
            }
            if let Some(identity) = fwknop::authenticate(keys.hmac, keys.hmac_key.bytes(), packet) {
                found = Some((user, keys, identity));
                break;
            }
        }
        let Some((user, keys, identity)) = found else {
            failures.count(keyed, now, source);
            return Err(self.why_unknown(now, packet));
        };
        let name = users[user.index()].as_ref().and_then(|user| user.fwknop_user.as_deref());
        let request = fwknop::open(keys, name, packet).map_err(|error| {
            let refusal = match error {
                fwknop::FwknopError::Command => Refusal::Command,
                fwknop::FwknopError::Ports => Refusal::Ports,
                fwknop::FwknopError::Key => Refusal::Key,
                fwknop::FwknopError::Mode => Refusal::Mode,
                fwknop::FwknopError::Version => Refusal::Version,
                fwknop::FwknopError::User => Refusal::UserName,
                fwknop::FwknopError::Rules => Refusal::Rules,
            };
            (refusal, Some(user))
        })?;
        self.admit(wall_s, user, request.time, identity)?;
        let seconds = Some(request.seconds).filter(|seconds| *seconds > 0);
        let address = request.address.map(IpAddr::V4);
        Ok(Request { user, time: request.time, address, seconds, wanted: Wanted::Ports(request) })
    }

    /// Why no user's key and HMAC fit: perhaps his key does, with another HMAC.
    #[cfg(feature = "fwknop")]
    fn why_unknown(&mut self, now: Instant, packet: &[u8]) -> Refused {
        if !self.explained.allow(now) {
            return (Refusal::Unknown, None);
        }
        for (id, user) in super::user::users_of(&self.tables.users) {
            for keys in &user.fwknop {
                let others = fwknop::HmacType::ALL.into_iter().filter(|hmac| *hmac != keys.hmac);
                for hmac in others {
                    if !self.hmacs.allow(now) {
                        return (Refusal::Unknown, None);
                    }
                    if fwknop::authenticate(hmac, keys.hmac_key.bytes(), packet).is_some() {
                        return (Refusal::Digest, Some(id));
                    }
                }
            }
        }
        (Refusal::Unknown, None)
    }

    /// Judges a SYN at a port of the range. `name` names a door.
    pub fn knock<'n>(
        &mut self,
        now: Instant,
        wall_s: u64,
        probe: &Probe,
        name: impl Fn(DoorId) -> Option<&'n str>,
    ) -> Knocked {
        let Self { tables: Tables { users, sequences, knocks, used, .. }, keyed, rules, .. } = self;
        let mark = Mark::of(&probe.transport, keyed);
        let (ports, has_opened) = match knocks.hear(keyed, now, probe.source, probe.transport.port(), mark) {
            Heard::Again => return Knocked::Again,
            Heard::Noted(displaced) => return Knocked::Noted(displaced),
            Heard::Knocks { ports, has_opened } => (ports, has_opened),
        };
        let Some(floor) = self.floor else { return Knocked::Refused((Refusal::NoClock, None)) };
        sequences.follow(keyed, users, name, rules.range, wall_s);
        let mut refused = None;
        for current in sequences.find(keyed, ports) {
            let (user, time) = (current.user, current.time());
            let newest = &mut used[user.index()][current.door.index()];
            let refusal = if has_opened && time == *newest {
                return Knocked::Again;
            } else if time <= floor || time <= *newest {
                Refusal::Replay
            } else if users[user.index()].as_ref().is_none_or(|user| user.is_expired(wall_s)) {
                Refusal::Expired
            } else {
                *newest = time;
                self.newest = self.newest.max(time);
                knocks.has_opened(keyed, probe.source, mark);
                let wanted = Wanted::Door(current.door);
                return Knocked::Request(Request { user, time, address: None, seconds: None, wanted });
            };
            refused = Some((refusal, Some(user)));
        }
        refused.map_or(Knocked::Noted(false), Knocked::Refused)
    }

    /// Whether an authentic packet is of this time, new, and from somebody who may still send it.
    fn admit(&mut self, wall_s: u64, user: UserId, time: u64, identity: Identity) -> Result<(), Refused> {
        let refused = |refusal| Err((refusal, Some(user)));
        let Some(floor) = self.floor else { return refused(Refusal::NoClock) };
        if time.abs_diff(wall_s) > self.rules.max_age_s {
            return refused(Refusal::Age);
        }
        // Before expiry is asked, so that a packet is used up however that ends.
        if time <= floor || !self.tables.replay[user.index()].take(time, identity) {
            return refused(Refusal::Replay);
        }
        self.newest = self.newest.max(time);
        if self.tables.users[user.index()].as_ref().is_none_or(|user| user.is_expired(wall_s)) {
            return refused(Refusal::Expired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
