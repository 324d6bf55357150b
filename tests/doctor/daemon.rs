//! The points about the daemon, and about the knocks that it has heard.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::thread;

use super::support::daemon::Start;
use super::support::host::Host;
use super::support::{CLIENT, ROUTER, STRANGER, Scratch, World, ketukd};
use super::{CONFIG, Said, doctor, private, router};

/// The doctor on a host without a daemon.
fn without_daemon(host: &Host, scratch: &Scratch, config: &str) -> Said {
    let config = private(scratch, config);
    let socket = scratch.path("nobody");
    let arguments = ["doctor", "--config", &config, "--socket", socket.to_str().expect("a plain path")];
    Said::of(&host.run(ketukd().to_str().expect("a plain path"), &arguments))
}

#[test]
fn a_host_without_a_daemon() {
    let world = World::new();
    world.router.serve(22);
    let on_device = CONFIG.replace("option trust_clock", "list device 'wan0'\n	option trust_clock");
    let said = without_daemon(&world.router, &world.scratch, &on_device);
    said.expect("daemon: WRONG: no daemon answers at ");
    said.expect("devices: fine");
    said.expect("firewall: WRONG: table inet ketuk is not loaded: it does not shut the doors' ports: start the daemon");
    for unknown in ["clock", "knocks"] {
        said.expect(&format!("{unknown}: not known: the daemon cannot be asked"));
    }
    let networks = CONFIG.replace("option trust_clock", "list network 'wan'\n	option trust_clock");
    let said = without_daemon(&world.router, &world.scratch, &networks);
    for unknown in ["devices", "addresses", "services", "traps", "open ports"] {
        said.expect(&format!("{unknown}: not known: only the running daemon knows which devices"));
    }
}

#[test]
fn the_file_of_a_daemon_in_another_folder() {
    let world = World::new();
    let mut start = Start::new(&world.router, &world.scratch, CONFIG);
    let here = world.scratch.path("").display().to_string();
    // The daemon's paths are relative.
    let line = format!("cd {here}; exec \"${{@/#{}/}}\"", here.replace('/', "\\/"));
    start.through(&["bash", "-c", &line, "bash"]);
    let daemon = start.go();
    let said = daemon.control(&["doctor"]);
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("configuration: "), "{said}");
    assert!(!said.contains("/etc/config/ketuk"), "{said}");
}

/// Points that only the daemon knows. A stand-in gives answers in which everything is wrong.
#[test]
fn what_the_daemon_tells() {
    const ANSWER: &str = r#"daemon {"version":"0","uptime_seconds":9,"config":"/nowhere","backend":"own","clock_trusted":false}
device {"name":"any","state":"refused"}
grant {"door":"ssh","address":"192.0.2.1","in_firewall":false}
recent {"door":"ssh","address":"192.0.2.9","stage":1,"steps":3,"reason":"advanced","text":"right: step 1 of 3","failed":false,"times":1,"seconds_ago":4}
counter {"name":"opened","value":1}
counter {"name":"socket_drops","value":3}
counter {"name":"firewall_error","value":2}
ok null
"#;
    let world = World::new();
    let (config, socket) = (private(&world.scratch, CONFIG), world.scratch.path("stand-in"));
    let listener = UnixListener::bind(&socket).expect("a socket");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = String::new();
            let _ = BufReader::new(stream.try_clone().expect("a socket")).read_line(&mut request);
            let _ = stream.write_all(ANSWER.as_bytes());
        }
    });
    let socket = socket.to_str().expect("a plain path");
    let arguments = ["doctor", "--config", &config, "--socket", socket, "--from", "192.0.2.9"];
    let said = Said::of(&world.router.run(ketukd().to_str().expect("a plain path"), &arguments));
    for line in [
        "daemon: WRONG: version 0 runs, and ",
        "daemon: WRONG: it runs with /nowhere, and not with ",
        "devices: WRONG: the kernel refuses the packet filter of 'any': give it more room",
        "firewall: WRONG: door 'ssh' should be open for 192.0.2.1, but the firewall does not have the entry: ",
        "clock: WRONG: the time is not known, and users' knocks are refused: ",
        "knocks: WRONG: 3 packets were lost before the daemon read them: ",
        "knocks: WRONG: the firewall refused 2 changes since the daemon's start: ",
        "from: WRONG: door 'ssh': 4 s ago, right: step 1 of 3: the next knock was not sent, or was lost on the way",
    ] {
        said.expect(line);
    }
    // The stand-in is this process. It may make every system call, unless the machine around it forbids some.
    let own = fs::read_to_string("/proc/self/status").expect("this process");
    assert_eq!(
        said.has("daemon: WRONG: the process that reads packets may make every system call: "),
        own.contains("Seccomp:\t0"),
        "{}",
        said.0
    );
}

#[test]
fn why_an_address_did_not_get_in() {
    let world = World::new();
    let daemon = router(&world, CONFIG);
    let said = |address: &str| doctor(&daemon, &["--from", address]);
    said(STRANGER).expect(&format!("from: WRONG: none of the daemon's recent knocks came from {STRANGER}: "));
    world.stranger.knock(ROUTER, "31734 50217");
    daemon.wait("it is judged", |daemon| daemon.status()["recents"][0]["reason"] == "wrong_step");
    let wrong = said(STRANGER);
    wrong.expect("from: WRONG: door 'ssh': ");
    assert!(wrong.0.contains("s ago, step 2 of 3 is 9482/tcp, 50217/tcp came: begin again\n"), "{}", wrong.0);

    world.client.knock(ROUTER, "31734 9482 50217");
    daemon.wait("the door is open", |daemon| daemon.lets_in("ssh", CLIENT));
    said(CLIENT).expect("from: fine");
    daemon.ask(&["close", "ssh"]);
    let ended = said(CLIENT);
    assert!(
        ended.0.contains("right: the door is open: the door is shut again: knock once more\n"),
        "{}",
        ended.0
    );

    let output = daemon.control(&["doctor", "--from", "nonsense"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
