//! Wrong requests, and requests at the wrong time.

use std::net::IpAddr;
use std::rc::Rc;

use super::super::message::{Bytes, LEN, LineId, MAX_WORDS};
use super::*;
use crate::config::Commands;

/// A monitor for this configuration, on a host without devices.
fn server(link: Link, config: &str) -> MonitorProcess {
    let nowhere = || "/nowhere".into();
    let options = RunOptions { config: nowhere(), socket: nowhere(), devices: Vec::new(), device_file: None };
    MonitorProcess::new(
        link,
        options,
        &[],
        &config::parse("test", config.as_bytes()).expect("a configuration"),
        None,
    )
}

#[test]
fn what_means_nothing_ends_the_conversation() {
    let begins = |begins| MonitorRequest::Log {
        begins,
        ends: false,
        words: OutputPart::from_slice(&[b'x'; MAX_WORDS]).expect("it fits"),
    };
    let control: Bytes = std::array::from_fn(|at| [22, 1, 1, 1, b'\n'].get(at).copied().unwrap_or_default());
    let mut too_long = vec![begins(true).encode()];
    too_long.extend(std::iter::repeat_n(begins(false).encode(), 10));
    let is_served = |messages: &[Bytes]| {
        let (ours, theirs) = Link::pair().expect("a pair of sockets");
        let mut server = server(theirs, "");
        for message in messages {
            ours.send(message).expect("sent");
        }
        server.receive_all()
    };
    for wrong in [vec![[0; LEN]], vec![control], too_long] {
        assert_eq!(is_served(&wrong), Some(PacketSideEnd::Died), "{wrong:?}");
    }
    let right = MonitorRequest::Log { begins: true, ends: true, words: OutputPart::new() };
    assert_eq!(is_served(&[right.encode()]), None);
}

#[test]
fn only_a_line_that_was_read_is_marked_and_only_once() {
    let path = std::env::temp_dir().join(format!("ketuk-mark-{}", std::process::id()));
    std::fs::write(&path, " 1,2\n 3,4\n").expect("a file");
    let text =
        format!("config door 'a'\noption one_time_sequences '{}'\noption dest_port '1'\n", path.display());
    let (_ours, theirs) = Link::pair().expect("a pair of sockets");
    let mut server = server(theirs, &text);
    let door = ConfigPlace { generation: 0, number: 0 };
    let mut marks = |offset| server.files.mark(LineId { door, offset });
    assert_eq!([0, 5].map(&mut marks), [Err(Errno::ENOENT); 2], "nobody has asked for them");
    server.read_line(RunId(1), door).expect("a line");
    let mut marks = |offset| server.files.mark(LineId { door, offset });
    assert_eq!([5, 0, 0].map(&mut marks), [Err(Errno::ENOENT), Ok(()), Err(Errno::ESTALE)]);
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), "#1,2\n 3,4\n");
    server.read_line(RunId(1), door).expect("a line");
    server.files.forget_lines();
    assert_eq!(server.files.mark(LineId { door, offset: 5 }), Err(Errno::ENOENT), "read before the reload");
    let old = ConfigPlace { generation: 1, ..door };
    assert_eq!(server.read_line(RunId(1), old).expect_err("old").raw_os_error(), Some(libc::ESTALE));
    std::fs::remove_file(&path).expect("the file");
}

#[test]
fn a_packet_side_that_announces_its_end_has_not_died() {
    for (leaves, expected) in [(true, PacketSideEnd::Left), (false, PacketSideEnd::Died)] {
        let (ours, theirs) = Link::pair().expect("a pair of sockets");
        if leaves {
            ours.send(&MonitorRequest::Leave.encode()).expect("sent");
        }
        drop(ours);
        assert_eq!(server(theirs, "").receive_all(), Some(expected));
    }
}

/// A monitor that knows an opening of a door with these commands, with this ticket.
fn holding(commands: &[(u32, &str)]) -> MonitorProcess {
    let (_ours, theirs) = Link::pair().expect("a pair of sockets");
    let mut server = server(theirs, "");
    for (ticket, command) in commands {
        let command = Some((*command).to_owned());
        let commands = Commands { start: command.clone(), stop: command, ..Commands::default() };
        let door = Rc::new(Door { commands, ..Door::named("a") });
        let passage = IpAddr::from([192, 0, 2, 1]).into();
        server.held.add(Ticket(*ticket), &door, passage, false).expect("room");
    }
    server
}

/// Whatever the packet side asks for, the monitor starts no more programs than this.
#[test]
fn the_programs_are_bounded_and_each_has_its_own_number() {
    let mut server = holding(&[(1, "true")]);
    let mut run = |id| {
        let started = server.run(RunId(id), Ticket(1), JobKind::Start, JobPart::Command, None);
        started.map_err(|error| error.raw_os_error())
    };
    let most = u32::try_from(MAX_PROGRAMS).expect("few");
    assert_eq!([1, 1].map(&mut run), [Ok(()), Err(Some(libc::EAGAIN))]);
    assert!((2..=most).all(|id| run(id).is_ok()));
    assert_eq!(run(most + 1), Err(Some(libc::EAGAIN)));
}

#[test]
fn a_command_that_was_not_started_leaves_its_opening_to_undo() {
    let mut server = holding(&[(1, "no \0 program"), (2, "no \0 program")]);
    server.held.on_run(Ticket(2), JobKind::Start, JobPart::Command);
    for (ticket, kind) in [(1, JobKind::Start), (2, JobKind::Stop)] {
        let started = server.run(RunId(ticket), Ticket(ticket), kind, JobPart::Command, None);
        started.expect_err("such a command line is impossible");
    }
    let stops = server.held.take_stops(|_| false);
    assert_eq!(stops.iter().map(|job| job.ticket.0).collect::<Vec<_>>(), [1, 2]);
    assert!(stops.iter().all(|job| job.door.commands.stop.is_some()));
}
