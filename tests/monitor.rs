//! The second process: it runs the configured commands, so that the process that reads packets need not be able to.
#![cfg(target_os = "linux")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::daemon::{Daemon, Start, USER_KETUK, capabilities, is_running, proc_status, processor_ticks};
use support::{CLIENT, CLIENT_6, STRANGER, World, wait_until};

/// The capabilities of the process that reads packets: `CAP_DAC_OVERRIDE`, which root keeps, `CAP_NET_ADMIN`, `CAP_NET_RAW`.
const LEFT: [u32; 3] = [1, 12, 13];

/// A door with these commands, which write into the file `RAN`.
fn door(world: &World, more: &[(&str, &str)]) -> String {
    let ran = world.scratch.path("ran").display().to_string();
    let mut config = "config globals 'globals'\n\toption backend 'none'\nconfig door 'run'\n".to_owned();
    config += "\tlist sequence '7000'\n\toption open_time '0'\n";
    for (option, value) in more {
        let _ = writeln!(config, "\toption {option} '{}'", value.replace("RAN", &ran));
    }
    config
}

const ECHO: [(&str, &str); 2] =
    [("start_command", "echo start %IP% >>RAN"), ("stop_command", "echo stop %IP% >>RAN")];

fn ran(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.scratch.path("ran")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn wait_for(daemon: &Daemon<'_>, world: &World, lines: &[&str]) {
    daemon.wait(&format!("{lines:?} ran"), |_| ran(world) == lines);
}

fn start<'w>(world: &'w World, config: &str) -> (Daemon<'w>, u32) {
    let daemon = Start::new(&world.router, &world.scratch, config).go();
    daemon.wait("the system calls are bounded", |daemon| proc_status(daemon.pid(), "Seccomp") == "2");
    let monitor = daemon.monitor().expect("a second process");
    (daemon, monitor)
}

fn kill_9(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a process id")), Signal::SIGKILL).expect("alive");
}

/// The packet side has only the privileges that it needs to hear knocks and to change the firewall.
fn assert_confined(daemon: &Daemon<'_>) {
    assert_eq!(proc_status(daemon.pid(), "NoNewPrivs"), "1");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(capabilities(daemon.pid(), set), LEFT, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert!(capabilities(daemon.pid(), set).is_empty(), "{set}");
    }
}

#[test]
fn commands_run_with_all_privileges_and_the_process_that_reads_packets_has_none_of_them() {
    let world = World::new();
    let command = "echo $PPID $(id -u) %IP% $(grep CapEff /proc/self/status) >>RAN";
    let stop = "sleep 0.5; echo stop %IP% >>RAN";
    let (daemon, monitor) =
        start(&world, &door(&world, &[("start_command", command), ("stop_command", stop)]));
    assert_confined(&daemon);
    assert_eq!(proc_status(monitor, "Seccomp"), "0");
    let capable = proc_status(std::process::id(), "CapEff");
    assert_ne!(capabilities(monitor, "CapEff"), LEFT);
    world.client.stdout("knock", &[support::ROUTER, "7000"]);
    let expected = format!("{monitor} 0 {CLIENT} CapEff: {capable}");
    daemon.wait("the command ran", |_| ran(&world) == [expected.as_str()]);
    daemon.wait_for_log("running command: echo $PPID");
    let (status, log) = daemon.end(Signal::SIGTERM);
    assert!(status.success() && !log.contains("left behind"), "{log}");
    assert_eq!(ran(&world), [expected.as_str(), &format!("stop {CLIENT}")], "the daemon waited for it");
    wait_until("the second process ends", || !is_running(monitor));
    let log = fs::read_to_string(world.scratch.path("ketuk.log")).expect("the log");
    assert!(!log.contains("has ended"), "a clean end leaves nothing to undo: {log}");
}

/// The commands of each door and address run in order, even after the packet side has died.
#[test]
fn the_death_of_the_packet_side_shuts_what_it_opened() {
    let world = World::new();
    let may_end = world.scratch.path("may_end").display().to_string();
    let slow = "echo start %IP% >>RAN; while [ %IP% = 192.0.2.10 ] && ! [ -e END ]; do sleep 0.05; done; \
                echo started %IP% >>RAN";
    let commands = [("start_command", &*slow.replace("END", &may_end)), ECHO[1]];
    let (mut daemon, monitor) = start(&world, &door(&world, &commands));
    daemon.ask(&["open", "run", CLIENT]);
    let mut lines = vec![format!("start {CLIENT}"), format!("started {CLIENT}")];
    daemon.wait("it ran", |_| ran(&world) == lines);
    daemon.ask(&["open", "run", CLIENT_6]);
    daemon.ask(&["close", "run", CLIENT_6]);
    lines.extend([format!("start {CLIENT_6}"), format!("started {CLIENT_6}"), format!("stop {CLIENT_6}")]);
    daemon.wait("it ran and was undone", |_| ran(&world) == lines);
    daemon.ask(&["open", "run", STRANGER]);
    lines.push(format!("start {STRANGER}"));
    daemon.wait("it began", |_| ran(&world) == lines);

    daemon.signal(Signal::SIGKILL);
    daemon.wait_for_end();
    lines.push(format!("stop {CLIENT}"));
    daemon.wait("what is open is shut", |_| ran(&world) == lines);
    assert!(is_running(monitor), "a start command still runs");
    fs::write(&may_end, "").expect("a file");
    lines.extend([format!("started {STRANGER}"), format!("stop {STRANGER}")]);
    daemon.wait("what was opening is shut", |_| ran(&world) == lines);
    wait_until("the second process ends", || !is_running(monitor));
    assert!(daemon.log().contains("has ended: what it opened is shut"), "{}", daemon.log());
}

#[test]
fn the_death_of_the_second_process_shuts_the_doors_and_ends_the_daemon() {
    let world = World::with_firewall();
    let config = "config globals 'globals'\n\toption backend 'fw4'\nconfig door 'ssh'\n\tlist sequence '7000'\n\
                  \toption dest_port '22'\n\toption open_time '600'\n\toption start_command 'true'\n";
    let mut daemon = Daemon::start(&world.router, &world.scratch, config);
    let monitor = daemon.monitor().expect("a second process");
    daemon.ask(&["open", "ssh", CLIENT]);
    let set = || world.router.stdout("nft", &["list", "set", "inet", "fw4", "ketuk_ssh_4"]);
    assert!(set().contains(CLIENT), "{}", set());
    kill_9(monitor);
    assert_eq!(daemon.wait_for_end().code(), Some(1), "{}", daemon.log());
    assert!(!set().contains(CLIENT), "{}", set());
    assert!(
        daemon.log().contains("the process that runs commands has ended, so ketukd ends"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_reload_reaches_both_and_what_was_started_is_undone_as_it_was_configured() {
    let world = World::new();
    let (daemon, monitor) = start(&world, &door(&world, &ECHO));
    daemon.ask(&["open", "run", CLIENT]);
    wait_for(&daemon, &world, &[&format!("start {CLIENT}")]);
    daemon.write_config(&door(&world, &[("start_command", "echo new %IP% >>RAN"), ("stop_command", "none")]));
    daemon.ask(&["reload"]);
    let mut lines = vec![format!("start {CLIENT}"), format!("stop {CLIENT}")];
    daemon.wait("the old stop command ran", |_| ran(&world) == lines);
    daemon.ask(&["open", "run", CLIENT]);
    lines.push(format!("new {CLIENT}"));
    daemon.wait("the new start command ran", |_| ran(&world) == lines);
    assert_eq!(daemon.monitor(), Some(monitor));
    // A wrong file changes nothing for either process.
    daemon.write_config("config door\n\toption wrong\n");
    assert_eq!(daemon.control(&["reload"]).status.code(), Some(2));
    daemon.ask(&["open", "run", STRANGER]);
    lines.push(format!("new {STRANGER}"));
    daemon.wait("the running configuration stays", |_| ran(&world) == lines);
}

#[test]
fn the_command_timeout_kills_what_hangs() {
    let world = World::new();
    let config = door(&world, &[("start_command", "echo $$ >>RAN; exec sleep 1000")]);
    let config = config.replace("'none'\n", "'none'\n\toption command_timeout '1'\n");
    let (daemon, _) = start(&world, &config);
    daemon.ask(&["open", "run", CLIENT]);
    daemon.wait("it hangs", |_| ran(&world).len() == 1);
    let pid: u32 = ran(&world)[0].parse().expect("a process id");
    daemon.wait_for_log("command killed after 1 s");
    wait_until("it is killed", || !is_running(pid));
    daemon.wait_for_commands();
}

#[test]
fn rules_of_iptables_are_made_by_the_second_process_and_go_when_the_first_dies() {
    let world = World::new();
    let config = "config globals 'globals'\n\toption backend 'iptables'\nconfig door 'ssh'\n\tlist sequence '7000'\n\
                  \toption dest_port '22 8000-8010'\n\toption open_time '600'\n";
    let (mut daemon, monitor) = start(&world, config);
    assert_confined(&daemon);
    let rules =
        || world.router.shell("iptables -w -S INPUT; ip6tables -w -S INPUT").matches("ketuk:ssh").count();
    for address in [CLIENT, CLIENT_6] {
        daemon.ask(&["open", "ssh", address]);
    }
    let made = rules();
    assert!(made >= 2);
    // A reload makes rules again that another program has flushed.
    world.router.shell("iptables -w -F INPUT; ip6tables -w -F INPUT");
    daemon.ask(&["reload"]);
    daemon.wait("the rules are back", |_| rules() == made);
    daemon.wait_for_commands();
    daemon.signal(Signal::SIGKILL);
    daemon.wait_for_end();
    wait_until("the second process ends", || !is_running(monitor));
    assert_eq!(rules(), 0, "{}", daemon.log());
}

#[test]
fn neither_process_wakes_up_while_nothing_happens() {
    let world = World::new();
    let (daemon, monitor) = start(&world, &door(&world, &ECHO));
    daemon.ask(&["open", "run", CLIENT]);
    daemon.wait_for_commands();
    let waited = || (proc_status(monitor, "voluntary_ctxt_switches"), processor_ticks(monitor));
    daemon.sleeps_through("two seconds", || {
        daemon.wait("the second process sleeps", |_| {
            let before = waited();
            std::thread::sleep(std::time::Duration::from_secs(1));
            waited() == before
        });
    });
}

/// The first process cannot have the second one read forbidden files.
#[test]
fn the_second_process_has_no_socket_of_the_first() {
    let world = World::with_firewall();
    let config = door(&world, &ECHO).replace("'none'", "'fw4'");
    let (daemon, monitor) = start(&world, &config);
    let sockets = |pid: u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("root may look").flatten();
        let targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        let targets = targets.map(|target| target.display().to_string());
        targets.filter(|target| target.starts_with("socket:")).collect::<Vec<_>>()
    };
    let (first, second) = (sockets(daemon.pid()), sockets(monitor));
    // The sockets lead to the other process, and perhaps to syslog, which is the same for both.
    assert!((1..=2).contains(&second.len()), "{second:?}");
    let shared = second.iter().filter(|socket| first.contains(socket)).count();
    assert!(shared <= 1 && first.len() > 3, "{first:?} {second:?}");
}

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

/// Kilobytes of a process's mappings that are called `name` and have this mode, and how many of them are resident
/// (`proc_pid_smaps(5)`).
fn mapped_kb(pid: u32, mode: &str, name: &str) -> (usize, usize) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("alive");
    let (mut is_meant, mut size, mut resident) = (false, 0, 0);
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let number = || words[1].parse::<usize>().expect("a size");
        match words[0] {
            "Size:" if is_meant => size += number(),
            "Rss:" if is_meant => resident += number(),
            word if word.ends_with(':') => {}
            _ => is_meant = words[1] == mode && line.ends_with(name),
        }
    }
    (size, resident)
}

/// The start uses most of the program and much of the stack, and the loop little. `make bench` measures the static program.
#[test]
fn both_processes_give_back_the_memory_that_the_start_used() {
    let world = World::with_firewall();
    let config = door(&world, &ECHO).replace("'none'", "'own'") + "\toption dest_port '22'\n";
    let (daemon, monitor) = start(&world, &config);
    daemon.ask(&["open", "run", CLIENT]);
    daemon.wait_for_commands();
    daemon.ask(&["reload"]);
    daemon.wait_until_idle();
    for pid in [daemon.pid(), monitor] {
        let (code, resident) = mapped_kb(pid, "r-xp", "/ketukd");
        assert!(code > 0 && resident < code / 4 * 3, "{resident} of {code} kB of code");
        let (_, stack) = mapped_kb(pid, "rw-p", "[stack]");
        assert!(stack <= 64, "{stack} kB of stack");
    }
}
