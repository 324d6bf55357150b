//! The privileges that the daemon gives up after its start.
#![cfg(target_os = "linux")]

mod support;

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use nix::sys::signal::Signal;
use support::daemon::{Daemon, Start, USER_KETUK, capabilities, proc_status};
use support::{CLIENT, World};

const DOOR: &str = "
config globals 'globals'
	option backend 'fw4'
config door 'ssh'
	list sequence '7000'
	option dest_port '22'
";

const COMMAND: &str = "	option start_command 'true'\n";

#[test]
fn a_daemon_that_starts_no_programs_cannot() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, DOOR);
    daemon.wait("the system calls are bounded", |daemon| proc_status(daemon.pid(), "Seccomp") == "2");
    assert_eq!(proc_status(daemon.pid(), "NoNewPrivs"), "1");
    // CAP_DAC_OVERRIDE, which root keeps, CAP_NET_ADMIN, CAP_NET_RAW.
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(capabilities(daemon.pid(), set), [1, 12, 13], "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert!(capabilities(daemon.pid(), set).is_empty(), "{set}");
    }
    assert_eq!(daemon.monitor(), None, "there is nothing for a second process to do");
    // The log and the status say that it is root, and what to do.
    let why = "the process that reads packets is root, since there is no user ketuk: make one ('useradd --system ketuk'), and \
               restart ketukd with --socket in a folder of that user\n";
    daemon.wait_for_log(why);
    let said = daemon.ask(&["status"]);
    assert!(said.contains(why), "{said}");
    // The daemon still opens doors.
    daemon.ask(&["open", "ssh", CLIENT]);
    daemon.ask(&["reload"]);
    daemon.ask(&["status"]);
    let (status, log) = daemon.end(Signal::SIGTERM);
    assert!(status.success(), "{log}");
}

#[test]
fn what_was_given_up_comes_back_with_a_restart_only() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, DOOR);
    daemon.wait("the system calls are bounded", |daemon| proc_status(daemon.pid(), "Seccomp") == "2");
    daemon.ask(&["open", "ssh", CLIENT]);
    let once = DOOR.replace("list sequence '7000'", "option one_time_sequences '/etc/ketuk.once'");
    for (config, said) in [
        (format!("{DOOR}{COMMAND}"), "door 'ssh' has commands"),
        (once, "writing in the folder of /etc/ketuk.once"),
    ] {
        daemon.write_config(&config);
        let answer = daemon.control(&["reload"]);
        assert_eq!(answer.status.code(), Some(1), "{answer:?}");
        let answer = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert!(answer.contains(said) && answer.contains("restart ketukd"), "{answer}");
        assert!(daemon.lets_in("ssh", CLIENT), "the running configuration stays");
    }
    daemon.write_config(DOOR);
    daemon.ask(&["reload"]);
}

/// The process that reads packets becomes user ketuk, if there is such a user and it can write in the control socket's folder.
/// Only root may be able to read the configuration: then the second process opens it.
#[test]
fn root_becomes_user_ketuk_and_commands_stay_roots() {
    if !support::is_root_of_the_machine("other users") {
        return;
    }
    for (mode, folder, expected, has_command) in [
        (0o644, 0o777, USER_KETUK, true),
        (0o600, 0o777, USER_KETUK, true),
        (0o600, 0o777, USER_KETUK, false),
        (0o644, 0o755, 0, true),
    ] {
        let world = World::with_firewall();
        let ran = world.scratch.path("ran");
        let command = format!("\toption start_command 'echo $(id -u) %IP% >{}'\n", ran.display());
        let config = format!("{DOOR}{}", if has_command { &command } else { "" });
        let mut start = Start::new(&world.router, &world.scratch, &config);
        let path = world.scratch.path("ketuk.uci");
        world.router.nft(&support::daemon::ruleset(&path));
        start.with_user_ketuk(&world.scratch);
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        std::fs::set_permissions(world.scratch.path("."), Permissions::from_mode(folder)).expect("a mode");
        let daemon = start.go();
        daemon.wait("the system calls are bounded", |daemon| proc_status(daemon.pid(), "Seccomp") == "2");
        let user = [expected; 4].map(|user| user.to_string()).join("\t");
        assert_eq!(proc_status(daemon.pid(), "Uid"), user);
        let left = if expected == USER_KETUK { &[12, 13][..] } else { &[1, 12, 13] };
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(capabilities(daemon.pid(), set), left, "{set}");
        }
        assert_eq!(
            daemon.log().contains("the process that reads packets is root"),
            expected == 0,
            "{}",
            daemon.log()
        );
        daemon.ask(&["open", "ssh", CLIENT]);
        daemon.wait("the command ran as root", |_| {
            !has_command || std::fs::read_to_string(&ran).is_ok_and(|text| text == format!("0 {CLIENT}\n"))
        });
        assert!(daemon.lets_in("ssh", CLIENT));
        std::fs::write(&path, format!("{config}\toption enabled '0'\n")).expect("written");
        daemon.ask(&["reload"]);
        assert!(!daemon.control(&["open", "ssh", CLIENT]).status.success(), "the reload has read nothing");
        let (status, log) = daemon.end(Signal::SIGTERM);
        assert!(status.success(), "{log}");
    }
}

/// systemd has made the folder of the control socket for root, since its unit says `User=root`.
#[test]
fn user_ketuk_gets_the_folder_that_systemd_made_for_the_daemon() {
    if !support::is_root_of_the_machine("other users") {
        return;
    }
    let world = World::with_firewall();
    let folder = world.scratch.path("run");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("a mode");
    let mut start = Start::new(&world.router, &world.scratch, DOOR);
    world.router.nft(&support::daemon::ruleset(&world.scratch.path("ketuk.uci")));
    start.socket(&folder.join("ketuk.sock")).with_user_ketuk(&world.scratch);
    start.command().env("RUNTIME_DIRECTORY", &folder);
    let daemon = start.go();
    daemon.wait("the system calls are bounded", |daemon| proc_status(daemon.pid(), "Seccomp") == "2");
    let user = [USER_KETUK; 4].map(|user| user.to_string()).join("\t");
    assert_eq!(proc_status(daemon.pid(), "Uid"), user, "{}", daemon.log());
    assert_eq!(std::fs::metadata(&folder).expect("a folder").uid(), USER_KETUK);
    assert_eq!(daemon.monitor(), None, "that user needs no second process");
}

/// SIGQUIT dumps the core of a process that permits core dumps.
#[test]
fn no_core_is_dumped() {
    use std::os::unix::process::ExitStatusExt as _;
    for more in ["", COMMAND] {
        let world = World::with_firewall();
        let config = format!("{DOOR}{more}");
        let mut start = Start::new(&world.router, &world.scratch, &config);
        world.router.nft(&support::daemon::ruleset(&world.scratch.path("ketuk.uci")));
        let folder = world.scratch.path(".");
        let shell = "cd \"$0\" && ulimit -c unlimited && exec \"$@\"";
        start.through(&["sh", "-c", shell, folder.to_str().expect("a plain path")]);
        let daemon = start.go();
        daemon.ask(&["open", "ssh", CLIENT]);
        let (status, log) = daemon.end(Signal::SIGABRT);
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{log}");
        assert!(!status.core_dumped(), "{more}");
    }
}
