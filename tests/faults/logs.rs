//! The log's destinations, and failures to write to them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start, ruleset};
use super::support::{CLIENT, PATIENCE, Scratch, World, copy_program};
use super::{SSH, knock, knock_and_enter};

/// [`SSH`] with a log file.
fn logging_to(path: &Path) -> String {
    SSH.replace("'fw4'", &format!("'fw4'\n\toption log_file '{}'", path.display()))
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, &logging_to(Path::new("/dev/full")));
    knock_and_enter(&world, &daemon);
    let complaints = daemon.log().matches("log file /dev/full: No space left on device").count();
    assert_eq!(complaints, 1, "said once");
}

#[test]
fn a_log_file_that_cannot_be_opened_is_named() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, &logging_to(Path::new("/nowhere/ketuk.log")));
    daemon.wait_for_log("log file /nowhere/ketuk.log: No such file or directory");
    knock_and_enter(&world, &daemon);
}

#[test]
fn a_log_file_that_was_rotated_is_opened_anew() {
    let world = World::with_firewall();
    let path = world.scratch.path("knocks.log");
    let daemon = Daemon::start(&world.router, &world.scratch, &logging_to(&path));
    knock_and_enter(&world, &daemon);
    let text = fs::read_to_string(&path).expect("the log file");
    // These are knockd's lines, which scripts parse.
    let line = text.lines().find(|line| line.ends_with(&format!("{CLIENT}: ssh: OPEN SESAME")));
    let (stamp, _) = line.expect("the opening").split_at("[2026-11-22 12:34] ".len());
    let form: String = stamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "[0000-00-00 00:00] ");
    assert_eq!(fs::metadata(&path).expect("the log file").permissions().mode() & 0o777, 0o600);

    for (rotated, config) in [("1.log", logging_to(&path)), ("2.log", "broken".to_owned())] {
        let rotated = world.scratch.path(rotated);
        fs::rename(&path, &rotated).expect("rotated");
        daemon.write_config(&config);
        daemon.signal(Signal::SIGHUP);
        daemon.wait("there is a new file", |_| {
            fs::read_to_string(&path).is_ok_and(|text| text.contains("re-reading config file"))
        });
    }
}

#[test]
fn a_standard_error_that_nobody_reads_stops_nothing() {
    let world = World::with_firewall();
    let fifo = world.scratch.path("fifo");
    let path = fifo.to_str().expect("a plain path");
    world.router.stdout("mkfifo", &[path]);
    // The pipe is full, and both ends are open, so that opening it does not wait.
    let mut pipe = fs::File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&fifo)
        .expect("the fifo");
    while pipe.write(&[b'x'; 512]).is_ok() {}
    let mut start = Start::new(&world.router, &world.scratch, SSH);
    world.router.nft(&ruleset(&world.scratch.path("ketuk.uci")));
    start.through(&["sh", "-c", "exec \"$@\" 2>\"$0\"", path]);
    let daemon = start.go();
    knock_and_enter(&world, &daemon);
}

/// A /dev that has `null`, and `log` if the test asks for it.
fn private_dev(scratch: &Scratch) -> PathBuf {
    let dev = scratch.path("dev");
    fs::create_dir(&dev).expect("a folder");
    fs::write(dev.join("null"), "").expect("a file");
    dev
}

/// A daemon that sees this /dev, started by this program.
fn with_dev<'h>(world: &'h World, dev: &Path, parent: &[&str]) -> Start<'h> {
    let mut start = Start::new(&world.router, &world.scratch, SSH);
    if !parent.is_empty() {
        start.through(parent);
    }
    world.router.nft(&ruleset(&world.scratch.path("ketuk.uci")));
    let script = "mount --bind /dev/null \"$0/null\" && mount --rbind \"$0\" /dev && exec \"$@\"";
    start.through(&["unshare", "-m", "sh", "-c", script, dev.to_str().expect("a plain path")]);
    // Under systemd standard error would lead to its journal.
    start.command().env_remove("JOURNAL_STREAM");
    start
}

/// Waits for a line to the socket.
fn hear(socket: &UnixDatagram, wanted: &str) -> String {
    let mut buffer = [0; 2048];
    loop {
        let len = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no '{wanted}': {error}"));
        let line = String::from_utf8_lossy(&buffer[..len]).into_owned();
        if line.contains(wanted) {
            return line;
        }
    }
}

#[test]
fn syslog_gets_every_line_with_its_severity() {
    let world = World::with_firewall();
    let dev = private_dev(&world.scratch);
    let socket = UnixDatagram::bind(dev.join("log")).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    let daemon = with_dev(&world, &dev, &[]).go();
    let line = hear(&socket, "starting up");
    // RFC 3164: facility daemon (3) times eight and severity notice (5).
    assert!(line.starts_with("<29>") && line.contains(&format!("ketukd[{}]: ", daemon.pid())), "{line}");
    knock(&world);
    hear(&socket, &format!("{CLIENT}: ssh: OPEN SESAME"));
    daemon.write_config("broken");
    daemon.signal(Signal::SIGHUP);
    let line = hear(&socket, "the configuration stays as it was");
    assert!(line.starts_with("<27>"), "an error: {line}");
    let line = hear(&socket, "^~");
    assert!(line.starts_with("<27>") && !line.contains('\n'), "each line by itself: {line}");
}

#[test]
fn procd_s_log_gets_each_line_once_with_its_own_level() {
    let world = World::with_firewall();
    let dev = private_dev(&world.scratch);
    let socket = UnixDatagram::bind(dev.join("log")).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    // A stand-in for procd and its jail. The daemon recognises them by the parent's name and by the environment.
    let procd = world.scratch.path("procd");
    copy_program(Path::new("/bin/sh"), &procd);
    let procd = procd.to_str().expect("a plain path");
    for parent in [&["env", "container=ujail"][..], &[procd, "-c", "\"$@\"; exit $?", "sh"]] {
        let daemon = with_dev(&world, &dev, parent).go();
        let line = hear(&socket, "starting up");
        assert!(line.starts_with("<29>"), "a notice: {line}");
        daemon.write_config("broken");
        daemon.control(&["reload"]);
        let line = hear(&socket, "the configuration stays as it was");
        assert!(line.starts_with("<27>"), "an error: {line}");
        assert_eq!(daemon.log(), "", "procd would log it a second time, as an error");
    }
}

#[test]
fn what_syslog_does_not_take_procd_gets() {
    let world = World::with_firewall();
    let dev = private_dev(&world.scratch);
    let daemon = with_dev(&world, &dev, &["env", "container=ujail"]).go();
    knock_and_enter(&world, &daemon);
    daemon.wait_for_log(&format!("{CLIENT}: ssh: OPEN SESAME"));
}

#[test]
fn the_journal_gets_each_line_with_its_level() {
    let world = World::with_firewall();
    for (named, level) in [("%d:%i", "<5>"), ("1%d:%i", "")] {
        let mut start = Start::new(&world.router, &world.scratch, SSH);
        world.router.nft(&ruleset(&world.scratch.path("ketuk.uci")));
        let script = format!("JOURNAL_STREAM=$(stat -L -c {named} /proc/self/fd/2) exec \"$0\" \"$@\"");
        start.through(&["sh", "-c", &script]);
        let daemon = start.go();
        daemon.wait_for_log("starting up");
        let log = daemon.log();
        let line = log.lines().rfind(|line| line.contains("starting up")).expect("the line");
        assert!(line.starts_with(&format!("{level}starting up")), "{line}");
    }
}

#[test]
fn syslog_may_come_later_and_go() {
    let world = World::with_firewall();
    let dev = private_dev(&world.scratch);
    let daemon = with_dev(&world, &dev, &[]).go();
    knock_and_enter(&world, &daemon);
    let socket = UnixDatagram::bind(dev.join("log")).expect("a socket");
    socket.set_nonblocking(true).expect("a socket");
    let mut buffer = [0; 2048];
    daemon.wait("syslog is found", |daemon| {
        daemon.ask(&["open", "ssh", CLIENT, "60"]);
        daemon.ask(&["close", "ssh"]);
        std::thread::sleep(Duration::from_millis(100));
        socket.recv(&mut buffer).is_ok()
    });
    drop(socket);
    daemon.ask(&["open", "ssh", CLIENT, "60"]);
    daemon.ask(&["close", "ssh"]);
    knock_and_enter(&world, &daemon);
}
