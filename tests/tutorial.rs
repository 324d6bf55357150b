//! The configurations of the guides to knockd, imported without a change, on hosts without a firewall. tests/firewalls.rs tries
//! ufw and firewalld.
#![cfg(all(target_os = "linux", feature = "import"))]

mod support;

use nix::sys::signal::Signal;
use support::tutorial::{self, TIMED, Way, imported};
use support::{LAN, LAN_6, ROUTER, ROUTER_6, World, wait_until};

/// One knock opens, another shuts.
const OPEN_AND_CLOSE: &str = "[options]
	UseSyslog

[openSSH]
	sequence    = 7000,8000,9000
	seq_timeout = 10
	tcpflags    = syn
	command     = /sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT

[closeSSH]
	sequence    = 9000,8000,7000
	seq_timeout = 10
	tcpflags    = syn
	command     = /sbin/iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT
";

/// A door to a host behind the router. For each family there are commands that open it and commands that undo them.
const FORWARD: &str = "[options]
	UseSyslog

[nas]
	sequence        = 7000,8000,9000
	seq_timeout     = 10
	tcpflags        = syn
	start_command   = /sbin/iptables -t nat -A PREROUTING -s %IP% -p tcp --dport 8443 -j DNAT --to-destination 192.168.1.10:443; /sbin/iptables -A FORWARD -s %IP% -p tcp -d 192.168.1.10 --dport 443 -j ACCEPT
	start_command_6 =
	cmd_timeout     = 4
	stop_command    = /sbin/iptables -t nat -D PREROUTING -s %IP% -p tcp --dport 8443 -j DNAT --to-destination 192.168.1.10:443; /sbin/iptables -D FORWARD -s %IP% -p tcp -d 192.168.1.10 --dport 443 -j ACCEPT
";

const SSH: Way = Way { knocked: ROUTER, address: ROUTER, port: 22 };
const SSH_6: Way = Way { knocked: ROUTER_6, address: ROUTER_6, port: 22 };
const NAS: Way = Way { knocked: ROUTER, address: ROUTER, port: 8443 };
/// A door to the host behind the router by its own address. The other side of the router has a route to this address.
const NAS_ITSELF: Way = Way { knocked: ROUTER, address: LAN, port: 443 };

/// Hosts that reach each other, with a server on the router and on the host behind it.
fn world() -> World {
    let world = World::new();
    world.router.serve(22);
    world.lan.serve(443);
    world.isp.ip("route add 192.168.1.0/24 via 203.0.113.1");
    for way in [SSH, SSH_6, NAS_ITSELF] {
        wait_until("before the start the port answers", || way.lets_in(&world.client));
    }
    world
}

#[test]
fn one_knock_opens_and_another_shuts() {
    let world = world();
    let daemon = tutorial::start(&world, &imported(&world, OPEN_AND_CLOSE));
    let knock_in = || {
        SSH.knock(&world, "7000 8000 9000");
        wait_until("the knock opens", || SSH.lets_in(&world.client));
        assert!(!SSH.lets_in(&world.stranger), "for the knocker alone");
    };
    assert!(!SSH.lets_in(&world.client), "after the start it is shut");
    knock_in();
    SSH.knock(&world, "9000 8000 7000");
    wait_until("the other knock shuts", || !SSH.lets_in(&world.client));
    SSH.is_shut_again_after_a_flush(&world);
    knock_in();
    // The commands were for IPv4, so nobody gets in over IPv6.
    SSH_6.knock(&world, "7000 8000 9000");
    daemon.end(Signal::SIGKILL);
    assert!(!SSH.lets_in(&world.stranger), "shut without a daemon");
    for host in [&world.client, &world.stranger] {
        assert!(!SSH_6.lets_in(host));
    }
    // A new daemon knows that the door is open, and shuts it.
    let _daemon = tutorial::start(&world, &imported(&world, OPEN_AND_CLOSE));
    assert!(SSH.lets_in(&world.client));
    SSH.knock(&world, "9000 8000 7000");
    wait_until("the other knock shuts", || !SSH.lets_in(&world.client));
}

#[test]
fn a_door_with_a_time_over_both_families() {
    let world = world();
    let daemon = tutorial::start(&world, &imported(&world, TIMED));
    for way in [SSH, SSH_6] {
        way.is_shut_and_opens(&world);
        way.survives_a_flush(&world);
    }
    SSH_6.is_shut_without_the_daemon(&world, daemon);
    assert!(!SSH.lets_in(&world.stranger));
}

#[test]
fn a_forward() {
    let world = world();
    let daemon = tutorial::start(&world, &imported(&world, FORWARD));
    NAS.is_shut_and_opens(&world);
    NAS.survives_a_flush(&world);
    for host in [&world.client, &world.stranger] {
        assert!(!NAS_ITSELF.lets_in(host), "the way in is the router's port");
    }
    NAS.is_shut_without_the_daemon(&world, daemon);
    assert!(!NAS_ITSELF.lets_in(&world.stranger));
}

/// Over IPv6 a forward is a door to the host's own address; knockd's commands for it open FORWARD.
#[test]
fn a_forward_over_ipv6() {
    let world = world();
    let way = Way { knocked: ROUTER_6, address: LAN_6, port: 443 };
    wait_until("before the start the port answers", || way.lets_in(&world.client));
    let uci = imported(&world, FORWARD).replace(
        "	option dest_ip '192.168.1.10'",
        "	list dest_ip '192.168.1.10'\n	list dest_ip '2001:db8:2::10'",
    );
    let daemon = tutorial::start(&world, &uci.replace("	list src '0.0.0.0/0'\n", ""));
    way.is_shut_and_opens(&world);
    way.survives_a_flush(&world);
    way.is_shut_without_the_daemon(&world, daemon);
}
