//! fwknop's packet: finds the user whose key made it, and computes a limited number of HMACs a second.

use core::hash::BuildHasher;
use core::net::IpAddr;

use super::{Auth, AuthTables, Refusal, Refused, UserRequest, Wanted};
use crate::limit::Limit;
use crate::time::Instant;
use crate::user::users_of;
use ketuk_protocol::fwknop;

/// Most HMACs of fwknop packets in a second, and at once. A packet that looks like fwknop's costs one HMAC for each key. An
/// HMAC takes 2 microseconds on a desktop. On a small MIPS it takes some ten times as long, so a flood takes half of it.
pub(super) const HMACS_PER_SECOND: u32 = 20_000;

/// Most packets in a second that fit no key and are then tried with the other types of HMAC too, so that the log can name
/// the wrong type. That is four times the work.
pub(super) const EXPLAINED_PER_SECOND: u32 = 2;

/// The work that fwknop's packets may cause.
#[derive(Debug)]
pub(super) struct Budget {
    hmacs: Limit,
    explained: Limit,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self {
            hmacs: Limit::new(HMACS_PER_SECOND, HMACS_PER_SECOND),
            explained: Limit::new(EXPLAINED_PER_SECOND, EXPLAINED_PER_SECOND),
        }
    }
}

impl<S: BuildHasher> Auth<'_, S> {
    /// Judges a datagram that has the form of fwknop's packet.
    pub(super) fn fwknop(
        &mut self,
        now: Instant,
        wall_s: u64,
        source: IpAddr,
        packet: &[u8],
    ) -> Result<UserRequest, Refused> {
        let Self { tables: AuthTables { users, failures, .. }, keyed, budget, .. } = self;
        // Failures count only while the budget is short. Otherwise a forger could keep a user out with failures from the
        // user's address.
        if budget.hmacs.is_short(now) && failures.are_too_many(keyed, now, source) {
            return Err(Refusal::Limited.into());
        }
        let mut found = None;
        for (user, keys) in
            users_of(users).flat_map(|(id, user)| user.fwknop.iter().map(move |keys| (id, keys)))
        {
            if !budget.hmacs.allow(now) {
                return Err(Refusal::Limited.into());
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
        let name = users[user.index()].fwknop_user.as_deref();
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
            refusal.of(user)
        })?;
        self.admit(wall_s, user, request.time, identity)?;
        let seconds = Some(request.seconds).filter(|seconds| *seconds > 0);
        let address = request.address.map(IpAddr::V4);
        Ok(UserRequest { user, time: request.time, address, seconds, wanted: Wanted::Ports(request) })
    }

    /// Why no user's key and type of HMAC fit. Perhaps a user's key fits with another type.
    fn why_unknown(&mut self, now: Instant, packet: &[u8]) -> Refused {
        if !self.budget.explained.allow(now) {
            return Refusal::Unknown.into();
        }
        for (id, user) in users_of(&self.tables.users) {
            for keys in &user.fwknop {
                let others = fwknop::HmacType::ALL.into_iter().filter(|hmac| *hmac != keys.hmac);
                for hmac in others {
                    if !self.budget.hmacs.allow(now) {
                        return Refusal::Unknown.into();
                    }
                    if fwknop::authenticate(hmac, keys.hmac_key.bytes(), packet).is_some() {
                        return Refusal::Digest.of(id);
                    }
                }
            }
        }
        Refusal::Unknown.into()
    }
}
