//! The packet's way through the core, from bytes to requests for [`super::access`].
//!
//! The daemon feeds it with packets from the wire, `ketukd explain` with those of a capture file.

use core::hash::BuildHasher;

use super::access::{Access, AskedTime, OpenRequest, Policy};
use super::auth::{Auth, Knocked, Refused, Request};
use super::counters::{Counter, Judged};
use super::door::DoorId;
use super::engine::{Engine, Judgement, Proof, Verdict};
use super::grants::Opener;
use super::moment::Moment;
use super::packet::{self, Malformed, Probe};
use super::place::Via;

/// What judges packets, and what decides who is let in.
#[derive(Debug)]
pub struct Doorkeeper<'t, S> {
    /// Plain sequences.
    pub engine: Engine<'t, S>,
    /// Users' knocks.
    pub auth: Auth<'t, S>,
    /// Who is in.
    pub access: Access<'t, S>,
}

/// A packet that was judged.
#[derive(Clone, Debug)]
pub struct Heard {
    /// What it is.
    pub probe: Probe,
    /// What it is as a user's knock, if its port is one of theirs.
    pub proof: Option<Proven>,
    /// What it is at the doors' own sequences; none if it can only be a user's.
    pub judgement: Option<Judgement>,
}

/// Why a packet is no knock at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// It cannot be read.
    Malformed(Malformed),
    /// The kernel itself would not take it.
    Implausible,
}

impl Unheard {
    /// What counts it.
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

/// What a packet is as a user's knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proven {
    /// A user's, and new.
    Request(Request),
    /// It may be a part of a changing sequence. `displaced`: another source had to be forgotten.
    Noted {
        /// Whether another source had to be forgotten.
        displaced: bool,
    },
    /// It was heard before.
    Again,
    /// Nobody's.
    Refused(Refused),
}

impl Heard {
    /// What a verdict asks for: a sequence that is complete asks that its door opens.
    pub fn request(&self, verdict: &Verdict) -> Option<OpenRequest> {
        let source = self.probe.source;
        (verdict.judged == Judged::Opened).then_some(OpenRequest {
            opener: Opener::Knock,
            door: verdict.door,
            sender: Some(source),
            address: source,
            time: AskedTime::OpenTime,
        })
    }
}

impl<S: BuildHasher> Doorkeeper<'_, S> {
    /// Parses a packet and judges it: at the ports of users' knocks, and at the doors' own sequences. A packet at the
    /// port of users' knocks that a door's sequence names too is both. `via` is the device that it came in over.
    ///
    /// # Errors
    /// Why it is no knock at all.
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
