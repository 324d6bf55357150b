//! The filter and the jail for fail2ban, with the real fail2ban.

use std::fs;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use super::support::daemon::Daemon;
use super::support::{CLIENT, Process, ROUTER, STRANGER, World, wait_until};

const CONFIG: &str = "
config globals 'globals'
	option backend 'fw4'
	option trust_clock '1'
	option log_file 'LOG'
config door 'ssh'
	option proto 'tcp'
	option dest_port '22'
config door 'nas'
	option proto 'tcp'
	option src_dport '8443'
	option dest_ip '192.168.1.10'
	option dest_port '443'
config user 'fred'
	option fwknop_key 'c3BhLXRlc3Qta2V5LTAxMjM0NTY3ODlhYmNkZWY='
	option fwknop_hmac_key 'c3BhLXRlc3QtaG1hYy1rZXktMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk='
	list door 'ssh'
";

/// A sender who repeats a recorded packet is banned. The user who opened the door with it is not.
#[test]
fn a_recorded_packet_that_is_sent_again_bans_its_sender() {
    let world = World::with_firewall();
    world.router.serve(22);
    world.lan.serve(443);
    let log = world.scratch.path("ketuk.log");
    let daemon = Daemon::start(
        &world.router,
        &world.scratch,
        &CONFIG.replace("LOG", log.to_str().expect("a plain path")),
    );
    thread::sleep(Duration::from_millis(2_100));
    let file = world.scratch.path("packet");
    let file_name = file.to_str().expect("a plain path");
    let home = format!("HOME={}", world.scratch.path(".").display());
    world.client.stdout(
        "env",
        &[
            &home,
            "fwknop",
            "--no-save-args",
            "--no-rc-file",
            "--use-hmac",
            "-D",
            ROUTER,
            "-A",
            "tcp/22",
            "-s",
            "-B",
            file_name,
            "--key-base64-rijndael",
            "c3BhLXRlc3Qta2V5LTAxMjM0NTY3ODlhYmNkZWY=",
            "--key-base64-hmac",
            "c3BhLXRlc3QtaG1hYy1rZXktMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=",
        ],
    );
    daemon.wait_for_log("OPEN SESAME, user fred");

    let folder = |name: &str| {
        let path = world.scratch.path(name);
        fs::create_dir_all(&path).expect("a folder");
        path
    };
    for (name, text) in [("f2b/filter.d/ketuk.conf", include_str!("../../packaging/fail2ban/filter.conf").to_owned()), (
        "f2b/jail.d/ketuk.conf",
        include_str!("../../packaging/fail2ban/jail.conf")
            .replace("/var/log/ketuk.log", log.to_str().expect("a plain path")),
    ), (
        "f2b/fail2ban.conf",
        "[Definition]\nloglevel = INFO\nlogtarget = STDOUT\nsyslogsocket = auto\nallowipv6 = auto\ndbfile = None\ndbpurgeage = 1d\ndbmaxmatches = 10\n[Thread]\nstacksize = 0\n".to_owned(),
    )] {
        for part in ["f2b", "f2b/filter.d", "f2b/jail.d", "f2b/action.d"] {
            folder(part);
        }
        world.scratch.write(name, &text);
    }
    for name in [
        "jail.conf",
        "paths-common.conf",
        "paths-debian.conf",
        "filter.d/common.conf",
        "action.d/nftables.conf",
        "action.d/nftables-allports.conf",
    ] {
        fs::copy(format!("/etc/fail2ban/{name}"), world.scratch.path(&format!("f2b/{name}")))
            .expect("fail2ban's files");
    }
    let path = |name: &str| world.scratch.path(name).to_str().expect("a plain path").to_owned();
    let (config, socket, pid) = (path("f2b"), path("f2b.sock"), path("f2b.pid"));
    let start = ["-xf", "-c", &config, "-s", &socket, "-p", &pid, "start"];
    let _server = world.router.enter(|| Process::start("fail2ban-server", &start));
    let ask = |words: &[&str]| {
        super::support::run("fail2ban-client", &[&["-c", &config, "-s", &socket, "-p", &pid], words].concat())
    };
    wait_until("the jail is there", || ask(&["status", "ketuk"]).status.success());

    // The packet as the client sent it, from another address, as often as the jail allows, and once more.
    let packet = fs::read(&file).expect("the packet");
    let packet = packet.trim_ascii();
    for n in 0..11 {
        world.stranger.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.send_to(packet, (ROUTER, 62_201)).expect("sent");
        });
        daemon.wait("it is refused", |daemon| daemon.counter("auth_replay") > n);
    }
    wait_until("the sender is banned", || {
        let tables = world.router.nft_list("tables");
        tables.contains("f2b-table") && world.router.nft_list("table inet f2b-table").contains(STRANGER)
    });
    assert!(!world.router.nft_list("table inet f2b-table").contains(CLIENT));
    // A door that is open for the banned address lets nobody in from there, neither to the router nor to a host behind it.
    for (door, port) in [("ssh", 22), ("nas", 8443)] {
        for address in [STRANGER, CLIENT] {
            daemon.ask(&["open", door, address]);
        }
        assert!(world.client.greeted_by(ROUTER, port).is_some(), "{door}");
        assert_eq!(world.stranger.greeted_by(ROUTER, port), None, "{door}");
    }
    assert!(world.router.nft_list("table inet f2b-table").contains("udp"), "nor by UDP");
}
