//! The second process reads and writes the files that only root may use.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Instant;

use nix::sys::signal::Signal;

use super::support::daemon::{Start, USER_KETUK, capabilities, proc_status};
use super::support::{self, CLIENT, World, wait_until};
use super::{ECHO, door, start};

/// Only root can use the log file, the sequences for one time and the configuration. The process that reads packets is not root.
#[test]
fn the_second_process_writes_the_log_file_and_marks_sequences_for_one_time() {
    if !support::is_root_of_the_machine("other users") {
        return;
    }
    let world = World::with_firewall();
    let folder = world.scratch.path("private");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("a mode");
    let [log, other_log, once, other] = ["log", "other_log", "once", "other"].map(|name| folder.join(name));
    fs::write(&once, " 7000,8000\n 7100,8100\n").expect("a file");
    let config = |log: &std::path::Path, more: &str| {
        format!(
            "config globals 'globals'\n\toption backend 'fw4'\n\toption log_file '{}'\nconfig door 'ssh'\n\
             \toption one_time_sequences '{}'\n\toption dest_port '22'\n{more}",
            log.display(),
            once.display()
        )
    };
    let mut start = Start::new(&world.router, &world.scratch, &config(&log, ""));
    let file = world.scratch.path("ketuk.uci");
    world.router.nft(&support::daemon::ruleset(&file));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    start.with_user_ketuk(&world.scratch);
    let daemon = start.go();
    daemon.wait("the system calls are bounded", |daemon| proc_status(daemon.pid(), "Seccomp") == "2");
    let monitor = daemon.monitor().expect("a second process");
    assert_eq!(proc_status(daemon.pid(), "NoNewPrivs"), "1");
    assert_eq!(proc_status(daemon.pid(), "Uid"), [USER_KETUK; 4].map(|user| user.to_string()).join("\t"));
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(capabilities(daemon.pid(), set), [12, 13], "{set}");
    }
    let says =
        |file: &std::path::Path, words: &str| fs::read_to_string(file).is_ok_and(|text| text.contains(words));
    let knock = |ports: [&str; 2]| world.client.stdout("knock", &[support::ROUTER, ports[0], ports[1]]);

    knock(["7000", "8000"]);
    daemon.wait("it opens", |_| says(&log, &format!("{CLIENT}: ssh: OPEN SESAME")));
    assert_eq!(fs::read_to_string(&once).expect("the file"), "#7000,8000\n 7100,8100\n");
    let written = fs::metadata(&log).expect("the log file");
    assert_eq!((written.uid(), written.mode() & 0o777), (0, 0o600));
    // A line that was changed after it was read is not marked, and opens nothing.
    daemon.ask(&["close", "ssh"]);
    fs::write(&once, "#7000,8000\n 7200,8200\n").expect("written");
    knock(["7100", "8100"]);
    daemon.wait("it is said", |_| says(&log, "reload: not marked as used, so the door stays shut"));
    assert!(!daemon.lets_in("ssh", CLIENT));
    assert_eq!(fs::read_to_string(&once).expect("the file"), "#7000,8000\n 7200,8200\n");
    // The file was read again. A reload can name other files, without a restart.
    fs::write(&other, "7300\n").expect("a file");
    let more = format!(
        "config door 'web'\n\toption one_time_sequences '{}'\n\toption dest_port '80'\n",
        other.display()
    );
    daemon.write_config(&config(&other_log, &more));
    world.router.nft(&support::daemon::ruleset(&file));
    daemon.ask(&["reload"]);
    knock(["7200", "8200"]);
    daemon.wait("it opens", |_| says(&other_log, &format!("{CLIENT}: ssh: OPEN SESAME")));
    world.client.stdout("knock", &[support::ROUTER, "7300"]);
    daemon.wait("the other opens", |_| says(&other_log, &format!("{CLIENT}: web: OPEN SESAME")));
    assert_eq!(fs::read_to_string(&other).expect("the file"), "#300\n");
    // A log file that was moved away is opened anew, even if the configuration is wrong.
    fs::rename(&other_log, &log).expect("rotated");
    daemon.write_config("broken");
    daemon.signal(Signal::SIGHUP);
    daemon.wait("there is a new file", |_| says(&other_log, "the configuration stays as it was"));
    daemon.wait("it is said once", |_| {
        fs::read_to_string(&other_log).is_ok_and(|text| text.matches("the configuration stays").count() == 1)
    });
    assert_eq!(daemon.monitor(), Some(monitor));
    let (status, _) = daemon.end(Signal::SIGTERM);
    assert!(status.success());
    wait_until("the last line is written", || says(&other_log, "shutting down"));
}

/// Each reload repeats its warnings, which have no other limit.
#[test]
fn the_second_process_bounds_the_lines_of_the_log_file() {
    let world = World::new();
    let path = world.scratch.path("log");
    let log = || fs::read_to_string(&path).unwrap_or_default();
    let named = format!("'none'\n\toption log_file '{}'\n", path.display());
    let mut config = door(&world, &ECHO).replace("'none'\n", &named);
    for n in 0..60 {
        let _ = writeln!(
            config,
            "config door 'weak{n}'\n\tlist sequence '{}'\n\toption start_command 'true'",
            8000 + n
        );
    }
    let began = Instant::now();
    let (daemon, _) = start(&world, &config);
    for _ in 0..50 {
        daemon.ask(&["reload"]);
    }
    daemon.wait("the file says how many were left out", |daemon| {
        daemon.ask(&["reload"]);
        log().contains(" lines were left out\n")
    });
    let text = log();
    let (counts, lines): (Vec<_>, Vec<_>) =
        text.lines().partition(|line| line.ends_with(" lines were left out"));
    let allowed = 1000 + 100 * (usize::try_from(began.elapsed().as_secs()).expect("seconds") + 1);
    let all = daemon.log().lines().count();
    assert!(lines.len() <= allowed && allowed < all, "{} of {allowed} allowed, {all} in all", lines.len());
    assert!(counts.len() < 50, "{counts:?}");
}
