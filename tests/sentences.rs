//! A knock has one sentence: it is the same in `ketukd watch`, `status`, `explain` and the log.
#![cfg(all(target_os = "linux", feature = "explain"))]

mod support;

use std::fs::read_to_string;

use support::daemon::Daemon;
use support::frames::{capture, ethernet, ip, send, tcp};
use support::{CLIENT, Process, ROUTER, World, ketukd};

/// At this level the log has the reasons of wrong knocks, which name steps of the sequence.
const CONFIG: &str = "
config globals 'globals'
	option log_level 'debug'
	option trust_clock '1'
config door 'ssh'
	list sequence '7000'
	list sequence '8000:udp'
	list sequence '9000'
	option dest_port '22'
	option seq_timeout '3'
config user 'eve'
	list door 'ssh'
	option key 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8'
";

/// A source that opens no door.
struct Stranger {
    address: &'static str,
    /// Its TCP knocks, in order.
    ports: &'static [u16],
    /// The port, the door and the step in the row about its last knock.
    cells: &'static str,
    sentence: &'static str,
    /// The log's text about it, if that is not the sentence.
    logged: Option<&'static str>,
}

const STRANGERS: [Stranger; 4] = [
    Stranger {
        address: "198.51.100.21",
        ports: &[7000],
        cells: "- ssh 0/3",
        sentence: "step 2 of 3 is 8000/udp, and did not come in time",
        logged: Some("sequence timeout (stage 1)"),
    },
    Stranger {
        address: "198.51.100.22",
        ports: &[7000, 9000],
        cells: "9000/tcp ssh 0/3",
        sentence: "step 2 of 3 is 8000/udp, 9000/tcp came: begin again",
        logged: None,
    },
    Stranger {
        address: "198.51.100.23",
        ports: &[9000],
        cells: "9000/tcp ssh 0/3",
        sentence: "step 1 of 3 is 7000/tcp, 9000/tcp came: nothing has begun",
        logged: None,
    },
    Stranger {
        address: "198.51.100.24",
        ports: &[7000, 7001, 8999],
        cells: "8999/tcp ssh 0/3",
        sentence: "a second foreign port, as in a scan: begin again",
        logged: None,
    },
];

/// The sentence about a packet that has no known form.
const REFUSED: &str = "not opened: it is neither ketuk's packet nor fwknop's";

/// The lines with one blank between their words, and without the first word.
fn rows(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn one_knock_has_one_sentence_everywhere() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    let [program, socket] = [ketukd(), daemon.socket()].map(|path| path.to_str().expect("plain").to_owned());
    let watched = world.scratch.path("watched");
    let watch = format!("exec '{program}' watch --socket '{socket}' >'{}'", watched.display());
    let _watch = Process::start("sh", &["-c", &watch]);
    let read = || read_to_string(&watched).unwrap_or_default();
    daemon.wait("it watches", |_| read().contains("RESULT"));

    let mac = world.router.mac("wan0");
    let mut frames = Vec::new();
    for (n, Stranger { address, ports, .. }) in (0..).zip(&STRANGERS) {
        for &port in *ports {
            let from = 50_000 + n;
            frames.push(ethernet(mac, None, &tcp(address, ROUTER, (from, port), port.into(), 2)));
        }
    }
    let mut datagram = [50_009_u16, 62_201, 8 + 96, 0].map(u16::to_be_bytes).concat();
    datagram.extend([7; 96]);
    frames.push(ethernet(mac, None, &ip(CLIENT, ROUTER, 17, &datagram)));
    send(&world.isp, "router0", &world.scratch, &frames);
    daemon.wait("the first one's time is over", |_| read().contains(STRANGERS[0].sentence));

    let file = world.scratch.path("knocks.pcap");
    std::fs::write(&file, capture(&frames)).expect("a file");
    let (file, config) = (file.to_str().expect("plain"), daemon.config().to_str().expect("plain"));
    let explained =
        world.router.stdout(&program, &["explain", file, "--config", config, "--address", ROUTER]);
    let (watched, explained) = (rows(&read()), rows(&explained));
    let (status, log) = (daemon.ask(&["status"]), daemon.log());
    let users =
        Stranger { address: CLIENT, ports: &[], cells: "62201/udp - -", sentence: REFUSED, logged: None };
    for Stranger { address, cells, sentence, logged, .. } in STRANGERS.iter().chain([&users]) {
        let row = format!("{address} {cells} {sentence}");
        assert!(watched.contains(&row), "'{row}' is not watched: {watched:#?}");
        assert!(explained.contains(&row), "'{row}' is not explained: {explained:#?}");
        let line = status.lines().find(|line| line.contains(&format!(" {address}"))).unwrap_or_default();
        assert!(line.ends_with(&format!(": {sentence}")), "'{row}' is not in the status: {status}");
        let logged = logged.unwrap_or(sentence);
        let is_logged = |line: &str| line.starts_with(&format!("{address}: ")) && line.ends_with(logged);
        assert!(log.lines().any(is_logged), "'{row}' is not in the log: {log}");
    }
    assert!(status.lines().count() < 24, "it is longer than a screen: {status}");
}
