//! The code against docs/protocol.md: a Python script that was written from the document makes the vectors.

use std::process::Command;

use ketuk::protocol::packet::{DoorName, KEY, Keys, NONCE, Request};
use ketuk::protocol::totp::{TotpPorts, sequence};

const VECTORS: &str = include_str!("protocol/vectors.txt");

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("digits")).collect()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().expect("so many bytes")
}

fn vectors(kind: &str) -> Vec<Vec<&'static str>> {
    let lines = VECTORS.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let vectors: Vec<_> = lines.filter(|words| words[0] == kind).map(|words| words[1..].to_vec()).collect();
    assert!(vectors.len() >= 4, "{kind}");
    vectors
}

#[test]
fn sequences() {
    for words in vectors("sequence") {
        let [secret, door, window, first, last, ports @ ..] = words.as_slice() else { panic!("{words:?}") };
        let range = TotpPorts::new(first.parse().unwrap(), last.parse().unwrap()).expect("a range");
        let drawn = sequence(&hex(secret), door, window.parse().unwrap(), range);
        assert_eq!(drawn.map(|port| port.to_string()).to_vec(), ports, "{words:?}");
    }
}

#[test]
fn packets() {
    for words in vectors("packet") {
        let [key, nonce, time, seconds, address, door, sealed] = words[..] else { panic!("{words:?}") };
        let keys = Keys::derive(&array::<KEY>(key));
        let request = Request {
            time: time.parse().unwrap(),
            seconds: seconds.parse().unwrap(),
            address: (address != "-").then(|| address.parse().unwrap()),
            door: DoorName::new(door).expect("a name"),
        };
        assert_eq!(keys.seal(array::<NONCE>(nonce), &request).to_vec(), hex(sealed), "{words:?}");
        assert_eq!(keys.open(&array(sealed)), Ok(request));
    }
}

/// The script prints the vectors, and the document quotes them.
#[test]
fn the_script_says_so_and_the_document_too() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/protocol/vectors.py");
    let printed = Command::new("python3").arg(script).output().expect("this test needs python3");
    assert!(printed.status.success(), "{printed:?}");
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), VECTORS);
    let document = include_str!("../docs/protocol.md");
    for kind in ["sequence", "packet"] {
        for words in &vectors(kind)[..2] {
            let result = words[words.len() - if kind == "sequence" { 4 } else { 1 }..].join(" ");
            assert!(document.contains(&result), "docs/protocol.md lacks {result}");
        }
    }
}
