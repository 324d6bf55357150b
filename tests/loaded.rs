//! The daemon's reading of the loaded rules, compared with the kernel's treatment of a real packet.
#![cfg(target_os = "linux")]

mod support;

use ketuk::core::sequence::Protocol;
use ketuk::firewall::loaded::{Arrival, LoadedRules, Packet, PacketFate};
use support::{ROUTER, ROUTER_6, World};

/// The daemon's prediction for the client's first packet to a port.
fn follow(world: &World, address: &str, protocol: Protocol, port: u16) -> PacketFate {
    world.router.enter(|| {
        let arrival = Arrival {
            device: "wan0",
            index: ketuk::linux::links::state_of("wan0").map(|state| state.index),
            source: if address.contains(':') { support::CLIENT_6 } else { support::CLIENT }
                .parse()
                .expect("an address"),
            destination: address.parse().expect("an address"),
            protocol,
            port,
            sets: &[],
            accepted_in: &[],
        };
        LoadedRules::read().expect("the rules").follow(&mut Packet::new(&arrival, true))
    })
}

/// Ports 22, 80 and 8080 of the router, with a server at each.
fn servers() -> World {
    let world = World::new();
    for port in [22, 80, 8080] {
        world.router.serve(port);
    }
    world.lan.serve(443);
    // The router must know its neighbours' addresses before the test.
    for address in [ROUTER, ROUTER_6] {
        support::wait_until("the hosts reach each other", || world.client.greeted_by(address, 22).is_some());
    }
    world
}

/// Asserts that the rules let in exactly the named ports (`22+80`), and that the daemon predicts the same for each port.
fn agree(world: &World, rules: &str, open: &str) {
    for address in [ROUTER, ROUTER_6] {
        for port in [22, 80, 8080] {
            let said = follow(world, address, Protocol::Tcp, port);
            let passes = world.client.greeted_by(address, port).is_some();
            assert_eq!(
                passes,
                open.split('+').any(|open| open == port.to_string()),
                "{rules}\n{address} {port}"
            );
            match said {
                PacketFate::Passes { .. } => assert!(passes, "{rules}\n{address} {port}: said to pass"),
                PacketFate::Dropped { by } => {
                    assert!(!passes, "{rules}\n{address} {port}: said to be dropped by {by}");
                }
                PacketFate::Depends => panic!("{rules}\n{address} {port}: not known, passes: {passes}"),
            }
        }
    }
}

const INPUT: &str =
    "type filter hook input priority filter; policy drop; icmpv6 type != echo-request accept;";

#[test]
fn rules_of_nft() {
    let world = servers();
    // Rejected packets are answered at once, so the test need not wait as it does for dropped ones.
    agree(&world, "nothing", "22+80+8080");
    for (rules, open) in [
        ("tcp dport 22 accept", "22"),
        ("iifname \"lan0\" tcp dport 22 accept; iifname \"wan*\" tcp dport 80 accept", "80"),
        ("tcp dport { 22, 80-90 } accept", "22+80"),
        ("tcp dport != { 80-90 } accept", "22+8080"),
        ("tcp dport 20-79 accept; tcp dport vmap { 80 : accept, 8080 : drop }", "22+80"),
        ("tcp dport vmap { 22 : jump one, 80 : goto one, 8080 : goto two }", "80"),
        ("ct state vmap { established : accept, new : jump new }", "80+8080"),
        ("ct state { new, established } tcp dport >= 80 accept; ct state established accept", "80+8080"),
        ("ct state != new accept; tcp dport 22 reject with tcp reset; accept", "80+8080"),
        (
            "meta mark set 0x2a; tcp dport 80 meta mark set 7; meta mark 0x2a ct state new,established accept",
            "22+8080",
        ),
        ("meta mark set 6; meta mark and 4 == 4 tcp dport 22 accept", "22"),
        ("limit rate over 1000/second drop; limit rate 1000/second tcp dport 80 accept", "80"),
        ("fib daddr type local tcp dport 22 accept; fib daddr type != local tcp dport 80 accept", "22"),
        ("iif \"wan0\" tcp dport 22 accept; iif \"lo\" tcp dport 80 accept", "22"),
        ("tcp flags & (fin|syn|rst|ack) == syn tcp dport 22 accept; ct state established accept", "22"),
        ("tcp sport 1024-65535 tcp dport 80 accept; tcp sport 1-1023 tcp dport 22 accept", "80"),
        ("meta l4proto . th dport { tcp . 22, udp . 80 } accept", "22"),
        ("iifname . tcp dport { \"wan0\" . 80, \"lan0\" . 22 } accept", "80"),
        ("iifname . tcp dport vmap { \"wan0\" . 8000-9000 : accept, \"lan0\" . 22 : accept }", "8080"),
        ("ip saddr 198.51.100.0/24 tcp dport 22 accept; ip6 saddr 2001:db8:c::/64 tcp dport 22 accept", "22"),
        (
            "ip saddr { 10.0.0.0/8, 192.0.2.0-198.51.100.99 } tcp dport 80 accept; \
          ip6 saddr { fd00::/8, 2001:db8:c::/48 } tcp dport 80 accept",
            "80",
        ),
        (
            "ip saddr @known tcp dport 22 accept; ip saddr != @known tcp dport 80 accept; ip6 nexthdr tcp tcp dport 80 accept",
            "80",
        ),
    ] {
        let script = format!(
            "flush ruleset
            table inet a {{
                set known {{ type ipv4_addr; flags interval; elements = {{ 192.0.2.0/24 }} }}
                chain one {{ tcp dport 22 return; accept; }}
                chain two {{ }}
                chain new {{ tcp dport 22 drop; accept; }}
                chain input {{ {INPUT} {rules}; meta l4proto tcp reject with tcp reset; }}
            }}"
        );
        world.router.nft(&script);
        agree(&world, rules, open);
    }
}

#[test]
fn several_tables_and_translations() {
    let world = servers();
    for (script, open) in [
        // Each table alone can drop the packet.
        ("table inet a { chain c { type filter hook input priority 0; tcp dport 22 reject with tcp reset; } }
          table inet b { chain c { type filter hook input priority 10; tcp dport 22 accept; tcp dport 80 reject with tcp reset; } }", "8080"),
        ("table ip a { chain c { type filter hook prerouting priority -300; tcp dport 22 drop; } }
          table ip6 a { chain c { type filter hook input priority -300; tcp dport 22 drop; } }", "80+8080"),
        ("table inet a { flags dormant; chain c { type filter hook input priority 0; policy drop; } }", "22+80+8080"),
        // Translated to another port, and again to another.
        ("table inet n { chain c { type nat hook prerouting priority -100; tcp dport 22 redirect to :80; } }
          table inet a { chain c { type filter hook input priority 0; tcp dport 22 accept; tcp dport 80 reject with tcp reset; } }", "8080"),
        // Translated to a host behind the router, as with containers.
        ("table ip n { chain c { type nat hook prerouting priority -100; fib daddr type local tcp dport 80 dnat to 192.168.1.10:443; } }
          table ip6 n { chain c { type nat hook prerouting priority -100; tcp dport 80 dnat to [2001:db8:2::10]:443; } }
          table inet a { chain i { type filter hook input priority 0; tcp dport { 22, 80, 443 } drop; }
                         chain f { type filter hook forward priority 0; meta l4proto tcp ct status dnat ct original proto-dst 80 accept; } }", "80+8080"),
        ("table ip n { chain c { type nat hook prerouting priority -100; tcp dport 80 dnat to 192.168.1.10:443; } }
          table ip6 n { chain c { type nat hook prerouting priority -100; tcp dport 80 dnat to [2001:db8:2::10]:443; } }
          table inet a { chain f { type filter hook forward priority 0; tcp dport 443 drop; } }", "22+8080"),
    ] {
        world.router.nft(&format!("flush ruleset\n{}", script.replace("; }", ";\n}\n")));
        agree(&world, script, open);
    }
}

/// Rules for both families, and the ports that they leave open.
const IPTABLES: &[(&str, &str)] = &[
    ("-P INPUT DROP", ""),
    ("-A INPUT -p tcp --dport 22 -j DROP", "80+8080"),
    ("-A INPUT -i wan0 -p tcp -m multiport --dports 22,8000:9000 -j REJECT", "80"),
    ("-A INPUT -p tcp -m multiport ! --dports 22,80 -j DROP", "22+80"),
    (
        "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT; -A INPUT -p tcp --dport 80 -j DROP",
        "22+8080",
    ),
    ("-A INPUT -m state --state NEW -p tcp --dport 80 -j DROP", "22+8080"),
    ("-N sub; -A sub -p tcp --dport 22 -j RETURN; -A sub -p tcp -j DROP; -A INPUT -i wan+ -j sub", "22"),
    (
        "-N sub; -A sub -p tcp --dport 80 -j RETURN; -A INPUT -g sub; -A INPUT -p tcp -j DROP; -A sub -p tcp --dport 22 -j DROP",
        "80+8080",
    ),
    (
        "-A INPUT -m addrtype --dst-type LOCAL -p tcp --dport 22 -j DROP; -A INPUT -m addrtype --dst-type MULTICAST -j DROP",
        "80+8080",
    ),
    (
        "-A INPUT -p tcp --dport 22 --tcp-flags SYN,ACK SYN -j DROP; -A INPUT -p tcp --syn --dport 80 -j DROP",
        "8080",
    ),
    (
        "-A INPUT -m mark --mark 0x7 -j DROP; -A INPUT -m mark ! --mark 0x7 -p tcp --dport 22 -j DROP",
        "80+8080",
    ),
    (
        "-A INPUT -m limit --limit 1000/sec -p tcp --dport 22 -j ACCEPT; -A INPUT -p tcp --dport 22 -j DROP",
        "22+80+8080",
    ),
    (
        "-t nat -A PREROUTING -p tcp --dport 22 -j REDIRECT --to-ports 80; -A INPUT -p tcp --dport 80 -j DROP",
        "8080",
    ),
    ("-A INPUT -m comment --comment \"a word\" -p tcp --dport 80 -j DROP", "22+8080"),
    (
        "-A INPUT ! -i wan0 -p tcp --dport 22 -j DROP; -A INPUT -i lan+ -p tcp -j DROP; -A INPUT ! -i lan0 -p tcp --dport 80 -j DROP",
        "22+8080",
    ),
    (
        "-N sub; -A INPUT -p tcp -j sub; -A sub -p tcp --dport 22; -A sub -p tcp --dport 80 -j DROP; -A sub -j RETURN; -A INPUT -p tcp --dport 8080 -j DROP",
        "22",
    ),
];

#[test]
fn rules_of_iptables() {
    let world = servers();
    rules_of(&world, "");
}

/// The rules of the older kind, which `nf_tables` does not list.
#[test]
fn rules_of_the_older_iptables() {
    let world = servers();
    let works = |what: &str| {
        let line = format!("iptables-legacy {what} && ip6tables-legacy {what}");
        world.router.run("bash", &["-c", &world.own_lock(&line)]).status.success()
    };
    assert!(works("-S"), "this test needs a kernel with the older iptables (CONFIG_IP_NF_IPTABLES_LEGACY)");
    rules_of(&world, "-legacy");
}

/// `kind` is the ending of the programs' names.
fn rules_of(world: &World, kind: &str) {
    let has_nat = world
        .router
        .run("bash", &["-c", &world.own_lock(&format!("iptables{kind} -t nat -S"))])
        .status
        .success();
    for (rules, open) in IPTABLES {
        if rules.contains("-t nat") && !has_nat {
            support::not_tested(&format!("without table nat in the kernel: {rules}"));
            continue;
        }
        for iptables in ["iptables", "ip6tables"] {
            world.router.shell(&world.own_lock(&format!(
                "{iptables}{kind} -P INPUT ACCEPT && {iptables}{kind} -F && {iptables}{kind} -X"
            )));
            if has_nat {
                world.router.shell(&world.own_lock(&format!("{iptables}{kind} -t nat -F")));
            }
        }
        for rule in rules.split("; ") {
            // ICMPv6 that IPv6 itself needs.
            let rule = rule.replace("-j DROP", "-j REJECT --reject-with tcp-reset");
            let rule = if rule.contains("-p tcp") {
                rule
            } else {
                rule.replace("REJECT --reject-with tcp-reset", "DROP")
            };
            world.router.shell(&world.own_lock(&format!("iptables{kind} {rule} && ip6tables{kind} {rule}")));
        }
        world.router.shell(&world.own_lock(&format!("ip6tables{kind} -I INPUT -p ipv6-icmp -j ACCEPT")));
        agree(world, rules, open);
    }
}

/// A rule with a condition that cannot be known beforehand.
#[test]
fn what_cannot_be_known_is_said_to_be_unknown() {
    let world = servers();
    for rule in ["meta skuid 1000 accept", "meta random & 1 == 0 accept", "tcp option maxseg size 1000 drop"]
    {
        world.router.nft(&format!(
            "flush ruleset\ntable inet a {{\nchain c {{\ntype filter hook input priority 0; {rule}; tcp dport 22 drop\n}}\n}}"
        ));
        let said = follow(&world, ROUTER, Protocol::Tcp, 22);
        assert!(!matches!(said, PacketFate::Passes { .. }), "{rule}: {said:?}");
        if rule.ends_with("accept") {
            assert_eq!(said, PacketFate::Depends, "{rule}");
        }
    }
}

/// The same for a rule of the older kind, and for addresses.
#[test]
fn of_the_older_kind_too() {
    let world = servers();
    world.router.shell(&world.own_lock(
        "iptables-legacy -A INPUT -p tcp --dport 22 -m statistic --mode random --probability 0.5 -j DROP
         iptables-legacy -A INPUT -s 198.51.100.0/25 -p tcp --dport 80 -j REJECT --reject-with tcp-reset
         iptables-legacy -A INPUT ! -s 198.51.100.0/25 -p tcp --dport 8080 -j DROP
         ip6tables-legacy -A INPUT -s 2001:db8:c::/64 -d 2001:db8:1::1 -p tcp --dport 80 -j REJECT --reject-with tcp-reset",
    ));
    assert_eq!(follow(&world, ROUTER, Protocol::Tcp, 22), PacketFate::Depends);
    for (address, port, open) in
        [(ROUTER, 80, false), (ROUTER, 8080, true), (ROUTER_6, 22, true), (ROUTER_6, 80, false)]
    {
        assert_eq!(world.client.greeted_by(address, port).is_some(), open, "{address} {port}");
        match follow(&world, address, Protocol::Tcp, port) {
            PacketFate::Passes { .. } => assert!(open, "{address} {port}"),
            PacketFate::Dropped { by } => {
                assert!(!open, "{address} {port}");
                assert!(by.to_string().starts_with("chain INPUT of table filter of ip"), "{by}");
            }
            PacketFate::Depends => panic!("{address} {port}"),
        }
    }
}
