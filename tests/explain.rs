//! `ketukd explain`: the knocks in a capture file.
#![cfg(all(target_os = "linux", feature = "explain"))]

mod support;

use std::process::Output;

use support::frames::{capture, ethernet, ip, tcp};
use support::{CLIENT, CLIENT_6, ROUTER, ROUTER_6, STRANGER, Scratch, ketukd, run, stdout};

const DOORS: &str = "
config door 'ssh'
	list sequence '7000'
	list sequence '8000:udp'
	list sequence '9000'
	option dest_port '22'
	option seq_timeout '10'
config door 'shed'
	list sequence '7000'
	list sequence '7001'
	option dest_port '23'
";

const SYN: u8 = 2;

fn syn(from: &str, to: &str, port: u16, sequence_number: u32) -> Vec<u8> {
    tcp(from, to, (50_000, port), sequence_number, SYN)
}

fn udp(from: &str, to: &str, port: u16) -> Vec<u8> {
    let port = port.to_be_bytes();
    ip(from, to, 17, &[0x80, 0, port[0], port[1], 0, 9, 0, 0, 0])
}

/// Runs it on these packets, one second after the other.
fn explain(scratch: &Scratch, frames: &[Vec<u8>], more: &[&str]) -> Output {
    let config = scratch.write("ketuk.uci", DOORS);
    let file = scratch.path("knocks.pcap");
    std::fs::write(&file, capture(frames)).expect("a file");
    let paths = [file, config].map(|path| path.to_str().expect("a plain path").to_owned());
    let arguments = [&["explain", &paths[0], "--config", &paths[1]], more].concat();
    run(ketukd().to_str().expect("a plain path"), &arguments)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn knocks_are_judged_as_on_the_wire() {
    let frames = [
        ethernet([2; 6], None, &syn(CLIENT, ROUTER, 7000, 1)),
        ethernet([2; 6], None, &syn(CLIENT, ROUTER, 7000, 1)),
        ethernet([2; 6], Some(7), &udp(CLIENT, ROUTER, 8000)),
        ethernet([2; 6], None, &tcp(ROUTER, CLIENT, (7000, 50_000), 1, 0x14)),
        ethernet([2; 6], None, &syn(CLIENT, ROUTER, 7001, 2)),
        ethernet([2; 6], None, &syn(CLIENT_6, ROUTER_6, 7000, 3)),
        ethernet([2; 6], None, &syn(CLIENT, ROUTER, 9000, 4)),
        ethernet([2; 6], None, &syn(CLIENT, STRANGER, 7000, 5)),
        ethernet([2; 6], None, &[0x45, 0, 0]),
        vec![1, 2, 3],
    ];
    let scratch = Scratch::new();
    let output = explain(&scratch, &frames, &["--address", ROUTER, "--address", ROUTER_6]);
    assert_eq!(
        text(&output.stdout),
        format!(
            "{CLIENT} 7000:tcp ssh 1/3 advanced
{CLIENT} 7000:tcp shed 1/2 advanced
{CLIENT} 7000:tcp ssh 1/3 retransmission
{CLIENT} 7000:tcp shed 1/2 retransmission
{CLIENT} 8000:udp ssh 2/3 advanced
{CLIENT} 7001:tcp shed 2/2 opened
{CLIENT_6} 7000:tcp ssh 1/3 advanced
{CLIENT_6} 7000:tcp shed 1/2 advanced
{CLIENT} 9000:tcp ssh 3/3 opened
"
        )
    );
    let expected = "packets: advanced 3, not_ours 2, opened 2, retransmission 1, truncated 1\n";
    assert_eq!(text(&output.stderr), expected);
    assert!(output.status.success());
}

#[test]
fn a_capture_of_another_host_counts_whole() {
    let frames = [ethernet([2; 6], None, &syn(CLIENT, "203.0.113.99", 7001, 1))];
    let scratch = Scratch::new();
    let output = explain(&scratch, &frames, &[]);
    assert_eq!(text(&output.stdout), format!("{CLIENT} 7001:tcp shed 0/2 not_begun\n"));
    assert!(text(&output.stderr).starts_with("no packet is to an address of this host: "));
}

#[test]
fn time_is_the_captures() {
    let far = |port, n| ethernet([2; 6], None, &syn(CLIENT, ROUTER, port, n));
    let mut frames = vec![far(7000, 1)];
    frames.resize_with(11, || ethernet([2; 6], None, &tcp(CLIENT, ROUTER, (1, 1), 1, 0)));
    frames.push(ethernet([2; 6], None, &udp(CLIENT, ROUTER, 8000)));
    let scratch = Scratch::new();
    let output = explain(&scratch, &frames, &["--address", ROUTER]);
    let last = text(&output.stdout).lines().last().map(str::to_owned);
    assert_eq!(last, Some(format!("{CLIENT} 8000:udp ssh 0/3 not_begun")));
}

#[test]
fn what_cannot_be_read_is_named() {
    let scratch = Scratch::new();
    let config = scratch.write("ketuk.uci", DOORS);
    for (content, expected) in [
        (&b"\x0a\x0d\x0d\x0a\x1c\0\0\0"[..], "this is pcapng"),
        (b"", "this is no pcap file"),
        (b"\xd4\xc3\xb2\xa1", "the pcap file ends within its header"),
        (b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x93\0\0\0", "does not know"),
    ] {
        let file = scratch.path("capture");
        std::fs::write(&file, content).expect("a file");
        let arguments =
            ["explain", file.to_str().expect("plain"), "--config", config.to_str().expect("plain")];
        let output = run(ketukd().to_str().expect("plain"), &arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
}

/// tcpdump's own file, of every link type that a router has.
#[test]
fn the_packet_is_found_behind_every_link() {
    let scratch = Scratch::new();
    let packet = syn(CLIENT, ROUTER, 7000, 1);
    for (link, header) in [
        (0_u8, &[2, 0, 0, 0][..]),
        (9, &[0xff, 3, 0, 0x21]),
        (9, &[0, 0x21]),
        (101, &[]),
        (113, &[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 0, 0, 0, 8, 0]),
        (228, &[]),
        (1, &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0x64, 0x11, 0, 0, 1, 0, 42, 0, 0x21]),
        (1, &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0]),
    ] {
        let frames = [[header, &packet].concat()];
        let mut file = capture(&frames);
        file[20] = link;
        let config = scratch.write("ketuk.uci", DOORS);
        let path = scratch.path("capture");
        std::fs::write(&path, file).expect("a file");
        let paths = [path, config].map(|path| path.to_str().expect("a plain path").to_owned());
        let arguments = ["explain", &paths[0], "--config", &paths[1], "--address", ROUTER];
        let said = stdout(ketukd().to_str().expect("a plain path"), &arguments);
        assert!(
            said.starts_with(&format!("{CLIENT} 7000:tcp ssh 1/3 advanced\n")),
            "{link} {header:?}: {said}"
        );
    }
}
