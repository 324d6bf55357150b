//! Round trips of messages, and bytes that are no message.

use std::net::IpAddr;
use std::num::NonZeroU16;

use super::*;
use crate::core::sequence::{Protocol, Step};
use proptest::prelude::*;

fn requests() -> Vec<MonitorRequest> {
    let place = ConfigPlace { generation: 3, number: 59 };
    let port = Some(Step { protocol: Protocol::Udp, port: NonZeroU16::MAX });
    let v4 = Passage::from(IpAddr::from([192, 0, 2, 1]));
    let v6 = Passage { address: IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]), port };
    let (id, ticket) = (RunId(u32::MAX), Ticket(7));
    let mut all = vec![
        MonitorRequest::Kill(id),
        MonitorRequest::Release(ticket),
        MonitorRequest::Reload { id, generation: u32::MAX, fingerprint: u64::MAX },
        MonitorRequest::LookForRules { id },
        MonitorRequest::LoadChains { id },
        MonitorRequest::LookAtChains { id },
        MonitorRequest::Leave,
        MonitorRequest::OpenLog { id },
        MonitorRequest::Log {
            begins: true,
            ends: false,
            words: OutputPart::from_slice(&[b'~'; MAX_WORDS]).expect("it fits"),
        },
        MonitorRequest::Log { begins: false, ends: true, words: OutputPart::new() },
        MonitorRequest::NextLine { id, door: place },
        MonitorRequest::Mark { id, line: LineId { door: place, offset: u64::MAX } },
    ];
    all.extend(INPUTS.map(|input| MonitorRequest::Hand { id, input }));
    for passage in [v4, v6] {
        all.extend([true, false].map(|is_open| MonitorRequest::Hold { ticket, place, passage, is_open }));
        for (user, left) in [(None, None), (Some(place), Some(Duration::from_secs(u64::MAX)))] {
            let event = ScriptEvent { is_open: user.is_some(), door: place, passage, left, user };
            all.push(MonitorRequest::Call { id, event });
        }
    }
    for kind in KINDS {
        for (part, lease) in [
            (JobPart::Command, None),
            (JobPart::Rule(0), Some(Duration::ZERO)),
            (JobPart::Rule(u16::MAX), Some(Duration::from_secs(u64::MAX))),
        ] {
            all.push(MonitorRequest::Run { id, ticket, kind, part, lease });
        }
    }
    all
}

fn replies() -> [Reply; 7] {
    let id = RunId(9);
    let step = Step { protocol: Protocol::Tcp, port: NonZeroU16::MAX };
    [
        Reply::Answer(id, Ok(())),
        Reply::Answer(id, Err(-1)),
        Reply::Ended(id, Exit::Code(-1)),
        Reply::Ended(id, Exit::Signal(64)),
        Reply::Printed(id, OutputPart::new()),
        Reply::Line(id, u64::MAX, [step; crate::core::sequence::MAX_STEPS].into()),
        Reply::Printed(id, OutputPart::from_slice(&[b'!'; MAX_WORDS]).expect("it fits")),
    ]
}

#[test]
fn messages_are_read_as_they_were_written() {
    for request in requests() {
        assert_eq!(MonitorRequest::decode(&request.encode()), Ok(request));
    }
    for reply in replies() {
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
    }
}

#[test]
fn everything_else_is_refused() {
    let malformed = |at: usize, value: u8, request: &MonitorRequest| {
        let mut bytes = request.encode();
        bytes[at] = value;
        assert_eq!(MonitorRequest::decode(&bytes), Err(MalformedMessage), "{request:?}, byte {at}: {value}");
    };
    for request in requests() {
        // No such kind of message, and something behind the message.
        for tag in [0, 19, u8::MAX] {
            malformed(0, tag, &request);
        }
        malformed(LEN - 1, 1, &request);
    }
    let place = ConfigPlace { generation: 1, number: 0 };
    let port = Some(Step { protocol: Protocol::Tcp, port: NonZeroU16::MIN });
    let passage = Passage { address: IpAddr::from([192, 0, 2, 1]), port };
    let hold = MonitorRequest::Hold { ticket: Ticket(1), place, passage, is_open: true };
    // The family, the protocol, port 0, a flag that is neither.
    for (at, value) in [(10, 0), (10, 5), (15, 3), (16, 0), (18, 2)] {
        malformed(at, value, &hold);
    }
    let (id, ticket, kind) = (RunId(1), Ticket(1), JobKind::Stop);
    let run = MonitorRequest::Run { id, ticket, kind, part: JobPart::Command, lease: None };
    // The kind of job, the number of a rule, a time that is not there.
    for (at, value) in [(9, 4), (13, 1), (14, 2), (15, 1)] {
        malformed(at, value, &run);
    }
    malformed(5, 3, &MonitorRequest::Hand { id, input: Input::Config });
    // A log file gets printable characters only, and no more than a message holds.
    let log = MonitorRequest::Log {
        begins: true,
        ends: true,
        words: OutputPart::from_slice(b"abc").expect("it fits"),
    };
    for (at, value) in [(1, 2), (2, 2), (3, 126), (4, b'\n'), (5, 0x1b), (6, 0x7f), (6, 0x80)] {
        malformed(at, value, &log);
    }
    for tag in [0, 7, u8::MAX] {
        let mut bytes = replies()[0].encode();
        bytes[0] = tag;
        assert_eq!(Reply::decode(&bytes), Err(MalformedMessage));
    }
    // A sequence of too many steps, and a step without a protocol.
    let mut line = replies()[5].encode();
    assert!(Reply::decode(&line).is_ok());
    line[14] = 0;
    assert_eq!(Reply::decode(&line), Err(MalformedMessage));
    line[13] = 33;
    assert_eq!(Reply::decode(&line), Err(MalformedMessage));
}

proptest! {
    /// No two messages mean the same.
    #[test]
    fn each_value_has_one_form(tag in 0..26_u8, rest in proptest::collection::vec(0..7_u8, LEN - 1), len in 0..LEN) {
        let mut bytes = [0; LEN];
        bytes[0] = tag;
        bytes[1..len.max(1)].copy_from_slice(&rest[..len.max(1) - 1]);
        if let Ok(request) = MonitorRequest::decode(&bytes) {
            prop_assert_eq!(request.encode(), bytes);
        }
        if let Ok(reply) = Reply::decode(&bytes) {
            prop_assert_eq!(reply.encode(), bytes);
        }
    }
}
