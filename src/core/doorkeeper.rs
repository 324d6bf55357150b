//! The packet's way through the core, from bytes to requests for [`super::access`].
//!
//! The daemon feeds it with packets from the wire, `ketukd explain` with those of a capture file.

use core::hash::BuildHasher;

use super::access::{Access, AskedTime, OpenRequest, Policy};
use super::auth::{Auth, Knocked, Refused, UserRequest};
use super::counters::{Counter, Judged};
use super::door::DoorId;
use super::engine::{Engine, Judgement, Proof, Verdict};
use super::grants::Opener;
use super::moment::Moment;
use super::packet::{self, Malformed, Probe};
use super::place::Via;

/// The parts of the core that a packet goes through: two that judge it, and one that decides.
#[derive(Debug)]
pub struct Doorkeeper<'t, S> {
    /// Judges plain sequences.
    pub engine: Engine<'t, S>,
    /// Judges users' knocks.
    pub auth: Auth<'t, S>,
    /// Decides whether a door opens.
    pub access: Access<'t, S>,
}

/// A packet that was judged.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The packet.
    pub(crate) probe: Probe,
    /// The result as a user's knock; `None` if its port is not one of those for users' knocks.
    pub(crate) proof: Option<Proven>,
    /// The result at the doors' own sequences; `None` if it can only be a user's knock.
    pub(crate) judgement: Option<Judgement>,
}

/// The reason why a packet is no knock at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// It cannot be read.
    Malformed(Malformed),
    /// The kernel itself would not take it.
    Implausible,
}

impl Unheard {
    /// The counter for it.
    pub const fn counter(self) -> Counter {
        match self {
            Self::Malformed(reason) => Counter::Malformed(reason),
            Self::Implausible => Counter::Judged(Judged::Implausible),
        }
    }

    /// The counter's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(reason) => reason.name(),
            Self::Implausible => Judged::Implausible.name(),
        }
    }
}

/// The result of a packet as a user's knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proven {
    /// It is a user's, and new.
    Request(UserRequest),
    /// It may be a part of a changing sequence.
    Noted {
        /// Whether another source had to be forgotten.
        displaced: bool,
    },
    /// It was heard before.
    Again,
    /// It is refused.
    Refused(Refused),
}

impl Heard {
    /// The packet.
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    /// The result as a user's knock; `None` if its port is not for those.
    pub const fn proof(&self) -> Option<Proven> {
        self.proof
    }

    /// The result at the doors' own sequences; `None` if it is only a user's knock.
    pub const fn judgement(&self) -> Option<&Judgement> {
        self.judgement.as_ref()
    }

    /// The request that a verdict makes: a complete sequence asks that its door opens.
    pub fn request(&self, verdict: &Verdict) -> Option<OpenRequest> {
        let source = self.probe.source;
        (verdict.judged == Judged::Opened).then_some(OpenRequest {
            opener: Opener::Knock,
            door: verdict.door,
            sender: Some(source),
            address: source,
            port: None,
            time: AskedTime::OpenTime,
        })
    }
}

impl<S: BuildHasher> Doorkeeper<'_, S> {
    /// Parses a packet and judges it as a user's knock, as a knock at the doors' own sequences, or as both if its port is for
    /// both. `via` is the kind of the device that it came in over.
    ///
    /// # Errors
    /// The reason why it is no knock at all.
    pub fn hear(
        &mut self,
        moment: &Moment,
        policy: &impl Policy,
        via: Via,
        bytes: &[u8],
    ) -> Result<Heard, Unheard> {
        let probe = packet::parse(bytes).map_err(Unheard::Malformed)?;
        if !self.engine.is_plausible(&probe, via) {
            return Err(Unheard::Implausible);
        }
        let proof = match self.engine.proof(&probe) {
            Some(Proof::Packet) => Some(self.datagram(moment, &probe, bytes)),
            Some(Proof::Totp) => Some(self.totp_knock(moment, policy, &probe)),
            None => None,
        };
        let judged = proof.is_none() || self.engine.is_step(&probe);
        let judgement = judged.then(|| self.engine.judge(moment.now, &probe));
        Ok(Heard { probe, proof, judgement })
    }

    fn datagram(&mut self, moment: &Moment, probe: &Probe, bytes: &[u8]) -> Proven {
        let payload = packet::udp_payload(bytes);
        match self.auth.packet(moment.now, moment.wall_s, probe.source, payload) {
            Ok(request) => Proven::Request(request),
            Err(refused) => Proven::Refused(refused),
        }
    }

    fn totp_knock(&mut self, moment: &Moment, policy: &impl Policy, probe: &Probe) -> Proven {
        let name = |id: DoorId| policy.name(id);
        match self.auth.knock(moment.now, moment.wall_s, probe, name) {
            Knocked::Again => Proven::Again,
            Knocked::Noted(displaced) => Proven::Noted { displaced },
            Knocked::Request(request) => Proven::Request(request),
            Knocked::Refused(refused) => Proven::Refused(refused),
        }
    }
}
