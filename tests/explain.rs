//! `ketukd explain`: the knocks in a capture file.
#![cfg(all(target_os = "linux", feature = "explain"))]

mod support;

use std::process::Output;

use support::frames::{capture, ethernet, ip, tcp};
use support::{CLIENT, CLIENT_6, ROUTER, ROUTER_6, STRANGER, Scratch, ketukd, run};

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

/// The rows below the heading with one blank between their words, and without the time.
fn rows(output: &Output) -> String {
    let said = text(&output.stdout);
    let mut lines = said.lines();
    assert!(lines.next().is_some_and(|heading| heading.starts_with("TIME ")), "{said}");
    let words = |line: &str| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    lines.map(|line| words(line) + "\n").collect()
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
        rows(&output),
        format!(
            "{CLIENT} 7000/tcp ssh 1/3 right: step 1 of 3
{CLIENT} 7000/tcp shed 1/2 right: step 1 of 2
{CLIENT} 7000/tcp ssh 1/3 the same knock came again, which changes nothing
{CLIENT} 7000/tcp shed 1/2 the same knock came again, which changes nothing
{CLIENT} 8000/udp ssh 2/3 right: step 2 of 3
{CLIENT} 7001/tcp shed 2/2 would open for {CLIENT} for 30 s
{CLIENT_6} 7000/tcp ssh 1/3 right: step 1 of 3
{CLIENT_6} 7000/tcp shed 1/2 right: step 1 of 2
{CLIENT} 9000/tcp ssh 3/3 would open for {CLIENT} for 30 s
"
        )
    );
    let expected = "packets: advanced 3, not_ours 2, retransmission 1, truncated 1, would_open 2\n";
    assert_eq!(text(&output.stderr), expected);
    assert!(output.status.success());
}

#[test]
fn a_capture_of_another_host_counts_whole() {
    let frames = [ethernet([2; 6], None, &syn(CLIENT, "203.0.113.99", 7001, 1))];
    let scratch = Scratch::new();
    let output = explain(&scratch, &frames, &[]);
    let nothing = "step 1 of 2 is 7000/tcp, 7001/tcp came: nothing has begun";
    assert_eq!(rows(&output), format!("{CLIENT} 7001/tcp shed 0/2 {nothing}\n"));
    assert!(
        text(&output.stderr)
            .starts_with("no packet goes to an address of this host, so knocks to every destination count: ")
    );
}

#[test]
fn time_is_the_captures() {
    let far = |port, n| ethernet([2; 6], None, &syn(CLIENT, ROUTER, port, n));
    let mut frames = vec![far(7000, 1)];
    frames.resize_with(11, || ethernet([2; 6], None, &tcp(CLIENT, ROUTER, (1, 1), 1, 0)));
    frames.push(ethernet([2; 6], None, &udp(CLIENT, ROUTER, 8000)));
    let scratch = Scratch::new();
    let output = explain(&scratch, &frames, &["--address", ROUTER]);
    let rows = rows(&output);
    let ends: Vec<_> = rows.lines().skip(2).collect();
    let nothing = "step 1 of 3 is 7000/tcp, 8000/udp came: nothing has begun";
    let [last, late] = [
        format!("{CLIENT} 8000/udp ssh 0/3 {nothing}"),
        format!("{CLIENT} - ssh 0/3 step 2 of 3 is 8000/udp, and did not come in time"),
    ];
    assert!(ends.contains(&late.as_str()), "{rows}");
    assert_eq!(ends.last(), Some(&last.as_str()));
}

/// Runs it on this file.
fn explain_file(scratch: &Scratch, file: &[u8]) -> Output {
    let config = scratch.write("ketuk.uci", DOORS);
    let path = scratch.path("capture");
    std::fs::write(&path, file).expect("a file");
    let (path, config) = (path.to_str().expect("plain"), config.to_str().expect("plain"));
    run(ketukd().to_str().expect("plain"), &["explain", path, "--config", config, "--address", ROUTER])
}

/// Wireshark's own tool turns a pcap file into pcapng. Both files are judged alike.
#[test]
fn pcapng_is_read_as_wireshark_writes_it() {
    let frames = [
        ethernet([2; 6], None, &syn(CLIENT, ROUTER, 7000, 1)),
        ethernet([2; 6], None, &udp(CLIENT, ROUTER, 8000)),
        ethernet([2; 6], None, &syn(CLIENT, ROUTER, 9000, 2)),
    ];
    let scratch = Scratch::new();
    let (pcap, pcapng) = (scratch.path("knocks.pcap"), scratch.path("knocks.pcapng"));
    std::fs::write(&pcap, capture(&frames)).expect("a file");
    let paths = [&pcap, &pcapng].map(|path| path.to_str().expect("plain").to_owned());
    let converted = run("editcap", &["-F", "pcapng", &paths[0], &paths[1]]);
    assert!(converted.status.success(), "{}", text(&converted.stderr));
    let file = std::fs::read(&pcapng).expect("the file");
    assert!(file.starts_with(b"\x0a\x0d\x0d\x0a"), "editcap wrote pcapng");
    let expected = explain_file(&scratch, &std::fs::read(&pcap).expect("the file"));
    assert!(
        rows(&expected).ends_with(&format!("{CLIENT} 9000/tcp ssh 3/3 would open for {CLIENT} for 30 s\n"))
    );
    let output = explain_file(&scratch, &file);
    assert_eq!((output.status, text(&output.stdout)), (expected.status, text(&expected.stdout)));
}

/// A pcapng file by its specification (draft-ietf-opsawg-pcapng): two interfaces of a big-endian host.
struct Pcapng(Vec<u8>);

impl Pcapng {
    fn new() -> Self {
        let mut file = Self(Vec::new());
        file.block(
            0x0a0d_0d0a,
            &[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255],
        );
        file
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        let len = u32::try_from(padded + 12).expect("short").to_be_bytes();
        self.0.extend(kind.to_be_bytes());
        self.0.extend(len);
        self.0.extend(body);
        self.0.resize(self.0.len() + padded - body.len(), 0);
        self.0.extend(len);
    }

    fn interface(&mut self, link: u16, options: &[u8]) {
        self.block(1, &[&link.to_be_bytes(), &[0; 6][..], options].concat());
    }

    fn packet(&mut self, interface: u32, time: u64, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).expect("short");
        let (high, low) =
            (u32::try_from(time >> 32).expect("high"), u32::try_from(time & 0xffff_ffff).expect("low"));
        let header = [interface, high, low, len, len].map(u32::to_be_bytes).concat();
        self.block(6, &[&header, bytes].concat());
    }
}

#[test]
fn the_times_of_pcapng_are_in_each_interfaces_units() {
    let scratch = Scratch::new();
    let mut file = Pcapng::new();
    // Ethernet in microseconds; raw IP in 1/1024 s, 100 s ahead.
    file.interface(1, &[]);
    file.interface(
        101,
        &[0, 2, 0, 2, b'i', b'f', 0, 0, 0, 9, 0, 1, 0x8a, 0, 0, 0, 0, 14, 0, 8, 0, 0, 0, 0, 0, 0, 0, 100],
    );
    file.packet(0, 1_000_000_000, &ethernet([2; 6], None, &syn(CLIENT, ROUTER, 7000, 1)));
    file.block(0x0bad_cafe, b"a kind that nobody knows");
    // 9.5 s after the first: within seq_timeout, which is 10 s.
    file.packet(1, 909 * 1024 + 512, &udp(CLIENT, ROUTER, 8000));
    // A simple packet has the time of the packet before it, and belongs to the first interface.
    let last = ethernet([2; 6], None, &syn(CLIENT, ROUTER, 9000, 2));
    let len = u32::try_from(last.len()).expect("short").to_be_bytes();
    file.block(3, &[&len, last.as_slice()].concat());
    file.packet(0, 1_000_000_000, &ethernet([2; 6], None, &syn(CLIENT, ROUTER, 7000, 3)));
    let whole = file.0.clone();
    // 11 s after that one.
    file.packet(1, 920 * 1024 + 512, &udp(CLIENT, ROUTER, 8000));

    let ssh = |output: &Output| -> Vec<String> {
        rows(output).lines().filter(|line| line.contains(" ssh ")).map(str::to_owned).collect()
    };
    let expected = [
        format!("{CLIENT} 7000/tcp ssh 1/3 right: step 1 of 3"),
        format!("{CLIENT} 8000/udp ssh 2/3 right: step 2 of 3"),
        format!("{CLIENT} 9000/tcp ssh 3/3 would open for {CLIENT} for 30 s"),
        format!("{CLIENT} 7000/tcp ssh 1/3 right: step 1 of 3"),
        format!("{CLIENT} - ssh 0/3 step 2 of 3 is 8000/udp, and did not come in time"),
        format!("{CLIENT} 8000/udp ssh 0/3 step 1 of 3 is 7000/tcp, 8000/udp came: nothing has begun"),
    ];
    assert_eq!(ssh(&explain_file(&scratch, &file.0)), expected);
    // A file that is cut off is read up to the cut.
    for end in whole.len() - 40..whole.len() {
        assert_eq!(ssh(&explain_file(&scratch, &whole[..end])), expected[..3], "{end} bytes");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let scratch = Scratch::new();
    let config = scratch.write("ketuk.uci", DOORS);
    for (content, expected) in [
        (&b""[..], "this is no pcap or pcapng file"),
        (b"\xd4\xc3\xb2\xa1", "the pcap file ends within its header"),
        (b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x93\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "does not know"),
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
        let said = rows(&run(ketukd().to_str().expect("a plain path"), &arguments));
        assert!(
            said.starts_with(&format!("{CLIENT} 7000/tcp ssh 1/3 right: step 1 of 3\n")),
            "{link} {header:?}: {said}"
        );
    }
}
