//! Grants that last as long as the knocker's connections.

use core::hash::BuildHasher;
use core::time::Duration;

use super::{Access, Close};
use crate::door::DoorId;
use crate::grants::Grant;
use crate::passage::Passage;
use crate::session::Session;
use crate::time::Instant;

impl<S: BuildHasher> Access<'_, S> {
    /// Whether the connections of sessions must be counted before anything ends.
    pub fn is_count_due(&self, now: Instant) -> bool {
        let due = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        self.grants().iter().any(|grant| grant.session().is_some() && due(grant.until()))
    }

    /// Takes the number of connections of each grant, in the order of [`Self::grants`], and decides which sessions go
    /// on. A session that is over ends like any grant whose time is over.
    pub fn count_connections(&mut self, now: Instant, counts: impl Iterator<Item = u32>) {
        for (grant, count) in self.tables.grants.iter_mut().zip(counts) {
            let Some(session) = grant.session_mut() else { continue };
            session.live = count;
            let hold = session.hold(now);
            grant.set_until(Some(hold.unwrap_or(now)));
        }
    }

    /// A session whose timer in the kernel must be set anew. Call [`Self::lease`] for it, until there is none.
    pub fn lease_due(&self, now: Instant) -> Option<(DoorId, Passage)> {
        let due = self.grants().iter().find(|grant| {
            let goes_on = grant.until().is_none_or(|until| until > now);
            goes_on && grant.session().is_some_and(|session| session.needs_lease(now))
        });
        due.map(|grant| (grant.door(), grant.passage()))
    }

    /// Whether the kernel announces the end of every connection of this session.
    pub fn set_announced(&mut self, door: DoorId, passage: Passage, announced: bool) {
        let grant = self.tables.grants.get_mut(&self.keyed, door, passage);
        if let Some(session) = grant.and_then(Grant::session_mut) {
            session.announced = announced;
        }
    }
}

/// The session of a grant that opens at `now` for `time`. Renewing never shortens.
pub(super) fn session_of(
    now: Instant,
    close: Close,
    time: Option<Duration>,
    old: Option<&Session>,
) -> Option<Session> {
    let (Close::Session { max }, Some(time)) = (close, time) else { return None };
    let new = Session::new(now, time, max);
    Some(match old {
        Some(old) => Session { open_until: new.open_until.max(old.open_until), limit: new.limit, ..*old },
        None => new,
    })
}
