//! Wrong requests, and requests at the wrong time.

use super::super::message::{Bytes, LEN, LineId, MAX_WORDS};
use super::*;

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
