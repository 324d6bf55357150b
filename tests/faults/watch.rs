//! `ketukd watch`: its rows, its colours, its end.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::SSH;
use super::control::stderr;
use super::support::daemon::Daemon;
use super::support::{CLIENT, STRANGER, World, ketukd};

#[test]
fn watch_prints_each_knock_and_event() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    // The most watchers that may connect at a time.
    let mut watches = [&[][..], &["--door", "ssh"], &["--from", STRANGER], &["--json"]]
        .map(|more| Watching::start(&daemon, more));
    for watch in &mut watches[..3] {
        assert!(watch.next().starts_with("TIME "));
    }
    let mut wire = super::support::wire::Wire::new(&world);
    wire.knock(STRANGER, "7001");
    wire.knock(CLIENT, "7000 = 8000 9000");
    wire.send();
    daemon.wait("the client is in", |daemon| daemon.lets_in("ssh", CLIENT));
    daemon.ask(&["close", "ssh", CLIENT]);
    daemon.ask(&["open", "ssh", CLIENT, "1"]);
    daemon.wait("the time is over", |daemon| !daemon.lets_in("ssh", CLIENT));
    wire.knock(STRANGER, "9000");
    wire.send();
    let trap = "192.0.2.10 7001/tcp - - a foreign port, as in a scan: nothing has begun";
    let clients = [
        "198.51.100.10 7000/tcp ssh 1/3 right: step 1 of 3",
        "198.51.100.10 7000/tcp ssh 1/3 the same knock came again, which changes nothing",
        "198.51.100.10 8000/tcp ssh 2/3 right: step 2 of 3",
        "198.51.100.10 9000/tcp ssh 3/3 right: the door is open",
        "198.51.100.10 - ssh - opened for 60 s by a knock",
        "198.51.100.10 - ssh - shut: it was shut by hand",
        "198.51.100.10 - ssh - opened for 1 s by hand",
        "198.51.100.10 - ssh - shut: its time is over",
    ];
    let last = "192.0.2.10 9000/tcp ssh 0/3 step 1 of 3 is 7000/tcp, 9000/tcp came: nothing has begun";
    let [all, ssh, from_stranger, json] = &mut watches;
    assert_eq!(all.rows(10), [&[trap][..], &clients, &[last]].concat());
    assert_eq!(ssh.rows(9), [&clients[..], &[last]].concat());
    assert_eq!(from_stranger.rows(2), [trap, last]);
    let json: serde_json::Value = serde_json::from_str(&json.next()).expect("JSON");
    assert_eq!((&json["judged"], &json["failed"]), (&"trap".into(), &true.into()));
    assert_eq!(json["text"], "a foreign port, as in a scan: nothing has begun");
    let status = daemon.ask(&["status"]);
    let failure = ", 192.0.2.10, door ssh: step 1 of 3 is 7000/tcp, 9000/tcp came: nothing has begun\n";
    assert!(status.contains("recent failures:\n  ") && status.contains(failure), "{status}");
    assert!(!status.contains("right: step"), "{status}");
    let unknown = world.router.run(
        ketukd().to_str().expect("plain"),
        &["watch", "--door", "shed", "--socket", daemon.socket().to_str().expect("plain")],
    );
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(stderr(&unknown), "ketukd: there is no door 'shed'; there are: ssh\n");
}

/// `ketukd watch`, until it is dropped.
struct Watching {
    program: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watching {
    fn start(daemon: &Daemon<'_>, more: &[&str]) -> Self {
        let mut program = Command::new(ketukd())
            .args(["watch", "--socket", daemon.socket().to_str().expect("plain")])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("ketukd");
        let lines = BufReader::new(program.stdout.take().expect("piped")).lines();
        Self { program, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().expect("a line").expect("text")
    }

    /// The next rows, with one blank between their words, and without the time.
    fn rows(&mut self, count: usize) -> Vec<String> {
        let words = |line: String| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
        (0..count).map(|_| words(self.next())).collect()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn watch_has_colours_on_a_terminal_only() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let said = world.scratch.path("said");
    for (no_color, is_coloured) in [("", true), ("1", false)] {
        std::fs::write(&said, "").expect("a file");
        let (program, socket) = (ketukd().display(), daemon.socket().display());
        let watch = format!("{program} watch --socket {socket}");
        let script = format!("NO_COLOR={no_color} exec script -qefc '{watch}' {} </dev/null", said.display());
        let _watch = super::support::Process::start("sh", &["-c", &script]);
        let read = || std::fs::read_to_string(&said).unwrap_or_default();
        daemon.wait("it watches", |_| read().contains("RESULT"));
        daemon.ask(&["open", "ssh", CLIENT, "60"]);
        daemon.wait("it tells", |_| read().contains(" by hand"));
        assert_eq!(read().contains("\x1b[32m"), is_coloured, "{:?}", read());
        daemon.ask(&["close", "ssh", CLIENT]);
    }
}

#[test]
fn watch_ends_well_when_its_reader_has_seen_enough() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let script = "exec 3> >(head -n 1)
        \"$0\" watch --socket \"$1\" >&3 & watch=$!
        exec 3>&-
        while kill -0 $watch; do \"$0\" open ssh 192.0.2.$((++n % 250 + 1)) --socket \"$1\"; done 2>/dev/null
        wait $watch";
    let [program, socket] = [ketukd(), daemon.socket()].map(|path| path.to_str().expect("plain"));
    let output = world.router.run("bash", &["-c", script, program, socket]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}
