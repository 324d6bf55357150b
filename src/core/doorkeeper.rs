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
pub struct JudgedPacket {
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

impl JudgedPacket {
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
    ) -> Result<JudgedPacket, Unheard> {
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
        Ok(JudgedPacket { probe, proof, judgement })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{DoorRules, UserRules};
    use crate::auth::AuthRules;
    use crate::engine::Listening;
    use crate::hours::WallTime;
    use crate::ports::PortRange;
    use crate::testing::{Keyed, ROUTER, door, on_stack, packet, probe};
    use crate::time::Instant;
    use crate::user::UserId;
    use crate::{access, auth, engine};
    use ketuk_protocol::totp::TotpPorts;

    struct NoRules;

    impl Policy for NoRules {
        fn door(&self, _: DoorId) -> Option<DoorRules<'_>> {
            None
        }

        fn name(&self, _: DoorId) -> Option<&str> {
            None
        }

        fn find(&self, _: &str) -> Option<DoorId> {
            None
        }

        fn user(&self, _: UserId) -> Option<UserRules<'_>> {
            None
        }
    }

    const MOMENT: Moment = Moment {
        now: Instant::from_millis(0),
        wall_s: 1_800_000_000,
        local: WallTime { weekday: 0, second: 0 },
    };

    #[test]
    fn a_packet_is_judged_as_what_its_port_is_for() {
        on_stack(|| {
            let mut tables = (
                Box::new(engine::EngineTables::new()),
                Box::new(auth::AuthTables::new()),
                Box::new(access::AccessTables::new()),
            );
            let rules = AuthRules { max_age_s: 120, range: TotpPorts::default() };
            let mut keeper = Doorkeeper {
                engine: Engine::new(&mut tables.0, Keyed::default()).without_scattered_traps(),
                auth: Auth::new(&mut tables.1, Keyed::default(), rules),
                access: Access::new(&mut tables.2, Keyed::default()),
            };
            keeper.engine.set_doors(&[Some(door(&["20000"])), Some(door(&["7000", "8000"]))], &[]).unwrap();
            keeper.engine.set_addresses(&[ROUTER.into()]);
            let packets = core::num::NonZeroU16::new(62_201);
            keeper.engine.set_listening(Listening { packets, changing: PortRange::new(20_000, 29_999) });
            let noted = Some(Proven::Noted { displaced: false });
            let forged = Some(Proven::Refused(auth::Refusal::Form.into()));
            for (port, proof, judged) in [
                ("20000", noted, Some(Judged::Opened)),
                ("25000", Some(Proven::Noted { displaced: false }), None),
                ("62201:udp", forged, None),
                ("7000", None, Some(Judged::Advanced)),
                ("4000", None, Some(Judged::NoDoor)),
            ] {
                let probe = probe("198.51.100.7", port, 1);
                let heard = keeper.hear(&MOMENT, &NoRules, Via::Network, &packet(&probe)).unwrap();
                assert_eq!((heard.probe(), heard.proof()), (&probe, proof), "{port}");
                assert_eq!(heard.judgement().map(Judgement::judged), judged, "{port}");
                let verdicts = heard.judgement().map_or(&[][..], Judgement::verdicts);
                let asked: Vec<_> = verdicts.iter().filter_map(|verdict| heard.request(verdict)).collect();
                let opens = OpenRequest {
                    opener: Opener::Knock,
                    door: DoorId(0),
                    sender: Some(probe.source),
                    address: probe.source,
                    port: None,
                    time: AskedTime::OpenTime,
                };
                let expected = if judged == Some(Judged::Opened) { vec![opens] } else { vec![] };
                assert_eq!(asked, expected, "{port}");
            }
            let mut unheard = |bytes: &[u8]| keeper.hear(&MOMENT, &NoRules, Via::Network, bytes).unwrap_err();
            let reasons = [unheard(&[]), unheard(&packet(&probe("127.0.0.1", "7000", 1)))];
            assert_eq!(reasons.map(Unheard::name), ["truncated", "implausible"]);
            let implausible = Counter::Judged(Judged::Implausible);
            assert_eq!(
                reasons.map(Unheard::counter),
                [Counter::Malformed(Malformed::Truncated), implausible]
            );
        });
    }
}
