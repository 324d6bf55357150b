//! The control socket: its permissions, its answers, and clients that try to block it.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::Output;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start};
use super::support::{CLIENT, PATIENCE, STRANGER, World, copy_program, ketukd};
use super::{SET, SSH, knock, knock_and_enter};

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_second_daemon_is_refused_and_harms_nothing() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    knock_and_enter(&world, &daemon);
    let mut second = Start::new(&world.router, &world.scratch, SSH).spawn();
    assert_eq!(second.wait_for_end().code(), Some(1));
    daemon.wait_for_log(&format!(
        "ketukd: another ketukd answers at {}: stop it. Two can run at once only in two network namespaces, each with its own \
         --socket\n",
        daemon.socket().display()
    ));
    assert!(daemon.lets_in("ssh", CLIENT));
    assert!(super::kernel_seconds_left(&world).is_some());
}

#[test]
fn the_socket_of_a_dead_daemon_is_replaced_and_other_files_are_not() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let socket = daemon.socket().to_owned();
    daemon.end(Signal::SIGKILL);
    assert!(socket.exists());
    drop(Start::new(&world.router, &world.scratch, SSH).go());
    std::fs::remove_file(&socket).expect("left by the last one");
    std::fs::write(&socket, "precious").expect("a file");
    let mut daemon = Start::new(&world.router, &world.scratch, SSH).spawn();
    assert_eq!(daemon.wait_for_end().code(), Some(1));
    assert_eq!(std::fs::read_to_string(&socket).expect("still there"), "precious");
    daemon.wait_for_log(": name another place with --socket PATH\n");
}

#[test]
fn only_root_may_ask() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let mode = std::fs::metadata(daemon.socket()).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o007, 0, "{mode:o}");
    // A copy of the program that everybody may run.
    let program = world.scratch.path("ketukd");
    copy_program(ketukd(), &program);
    let nobody = |arguments: &str| {
        let socket = daemon.socket().display();
        let line = format!(
            "exec setpriv --reuid 65534 --regid 65534 --clear-groups {} {arguments} --socket {socket}",
            program.display()
        );
        world.router.run("bash", &["-c", &line])
    };
    for request in ["status", "open ssh 192.0.2.1", "reload", "watch"] {
        let output = nobody(request);
        assert_eq!(output.status.code(), Some(1), "{request}: {}", stderr(&output));
        assert!(stderr(&output).to_lowercase().contains("permission denied"), "{}", stderr(&output));
    }
    // Nor if the socket's mode allows everybody.
    std::fs::set_permissions(daemon.socket(), PermissionsExt::from_mode(0o666)).expect("mode");
    for _ in 0..5 {
        let output = nobody("status");
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("permission denied: only root and the members of group ketuk may ask"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn members_of_the_group_may_ask() {
    let world = World::with_firewall();
    let group = world.scratch.write("group", "root:x:0:\nketuk:x:54321:\n");
    let mut start = Start::new(&world.router, &world.scratch, SSH);
    let script = "mount --bind \"$0\" /etc/group && exec \"$@\"";
    start.through(&["unshare", "-m", "sh", "-c", script, group.to_str().expect("plain")]);
    let daemon = start.go();
    let data = std::fs::metadata(daemon.socket()).expect("the socket");
    assert_eq!((data.permissions().mode() & 0o777, data.gid()), (0o660, 54321));
    let program = world.scratch.path("ketukd");
    copy_program(ketukd(), &program);
    for (groups, code) in [("54321", 0), ("54322", 1), ("54322,54321", 0)] {
        let (program, socket) = (program.display(), daemon.socket().display());
        let who = format!("setpriv --reuid 65534 --regid 65534 --groups {groups}");
        let output =
            world.router.run("bash", &["-c", &format!("exec {who} {program} status --socket {socket}")]);
        assert_eq!(output.status.code(), Some(code), "{groups}: {}", stderr(&output));
    }
}

#[test]
fn clients_that_say_nothing_are_in_nobodys_way() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let slow: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = UnixStream::connect(daemon.socket()).expect("the daemon");
            stream.write_all(b"{\"requ").expect("sent");
            stream
        })
        .collect();
    for _ in 0..3 {
        let output = daemon.control(&["status"]);
        if output.status.code() == Some(1) {
            assert!(stderr(&output).contains("too many connections, try again"), "{}", stderr(&output));
        }
    }
    knock(&world);
    daemon.wait_for_log("ssh: OPEN SESAME");
    let answers = slow.into_iter().map(|stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("an answer");
        line
    });
    // The connection of the test's start may still be open. Then one connection was too many.
    let late = answers.filter(|answer| answer.contains("the request did not come in time")).count();
    assert!(late >= 7, "{late}");
    daemon.ask(&["status"]);
    daemon.wait_until_idle();
}

#[test]
fn a_watcher_that_does_not_read_is_in_nobodys_way() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let mut watcher = UnixStream::connect(daemon.socket()).expect("the daemon");
    watcher.write_all(b"{\"request\":\"watch\"}\n").expect("sent");
    let mut wire = super::support::wire::Wire::new(&world);
    daemon.wait("the daemon has given up on the watcher", |_| {
        wire.knock(STRANGER, &["7000"; 100].join(" "));
        wire.send();
        let mut fds = [PollFd::new(watcher.as_fd(), PollFlags::empty())];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|hung_up| hung_up > 0)
    });
    knock_and_enter(&world, &daemon);
}

#[test]
fn garbage_is_answered() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    for (garbage, answer) in [
        (b"hello\n".to_vec(), "not a request"),
        (b"{\"request\":\"dance\"}\n".to_vec(), "not a request"),
        (vec![b'x'; 1000], "the request is too long"),
        (vec![0xff, 0, b'\n'], "not a request"),
    ] {
        let mut stream = UnixStream::connect(daemon.socket()).expect("the daemon");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream.write_all(&garbage).expect("sent");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("an answer");
        assert!(line.contains(answer), "{line}");
    }
    daemon.ask(&["status"]);
    daemon.wait_until_idle();
}

#[test]
fn doors_are_opened_and_shut_by_hand() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, SSH);
    let fails = |arguments: &[&str], code: i32, message: &str| {
        let output = daemon.control(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{arguments:?}: {}", stderr(&output));
    };
    daemon.ask(&["open", "ssh", CLIENT]);
    super::assert_time_kept(&world, &daemon, 60);
    // As with a knock, a longer time counts at once, and a shorter one does not count.
    daemon.ask(&["open", "ssh", CLIENT, "1000"]);
    assert!(super::kernel_seconds_left(&world).is_some_and(|left| left > 900));
    daemon.ask(&["open", "ssh", CLIENT, "5"]);
    assert!(super::kernel_seconds_left(&world).is_some_and(|left| left > 900));
    daemon.ask(&["open", "ssh", CLIENT, "0"]);
    assert!(daemon.ask(&["status"]).contains(&format!("open ssh for {CLIENT}: until it is shut")));
    assert!(world.router.nft_list(SET).contains(&format!("elements = {{ {CLIENT} comment \"hand\" }}")));
    daemon.ask(&["close", "ssh", CLIENT]);
    assert!(super::kernel_seconds_left(&world).is_none());
    daemon.ask(&["open", "ssh", "2001:db8::7"]);
    assert!(world.router.nft_list("set inet fw4 ketuk_ssh_6").contains("2001:db8::7"));
    // An IPv4 address in each notation.
    daemon.ask(&["open", "ssh", "::ffff:192.0.2.7"]);
    assert!(world.router.nft_list(SET).contains("192.0.2.7"));
    daemon.ask(&["close", "ssh", "192.0.2.7"]);
    daemon.ask(&["close", "ssh"]);
    daemon.ask(&["close", "ssh"]); // the door is shut for everybody already, as the request wants it
    fails(&["close", "ssh", CLIENT], 1, "door 'ssh' is not open for 198.51.100.10");
    fails(&["open", "shed", CLIENT], 1, "there is no door 'shed'; there are: ssh");
    fails(&["open", "ssh", "router"], 2, "'router' is no address");
    fails(&["open", "ssh", CLIENT, "soon"], 2, "'soon' is no number of seconds");
    daemon.ask(&["open", "ssh", CLIENT, "2678400"]);
    daemon.ask(&["close", "ssh"]);
    fails(&["open", "ssh", CLIENT, "2678401"], 2, "2678401 s is more than the longest time, 2678400 s");
    fails(&["open", "ssh", "255.255.255.255"], 2, "'255.255.255.255' is no host's address");
    fails(&["open", "ssh"], 2, "");
    let output = world.router.run(ketukd().to_str().expect("plain"), &["status", "--socket", "/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no daemon answers at /nowhere"), "{}", stderr(&output));
}

#[test]
fn a_missing_capability_is_named() {
    let world = World::with_firewall();
    for (capability, message) in [
        ("net_raw", "run ketukd as root, or with CAP_NET_RAW"),
        ("net_admin", "run ketukd as root, or with CAP_NET_ADMIN"),
    ] {
        let mut start = Start::new(&world.router, &world.scratch, SSH);
        start.through(&[
            "setpriv",
            "--bounding-set",
            &format!("-{capability}"),
            "--inh-caps",
            &format!("-{capability}"),
        ]);
        let mut daemon = start.spawn();
        assert_eq!(daemon.wait_for_end().code(), Some(1));
        assert!(daemon.log().contains(message), "{}", daemon.log());
    }
}
