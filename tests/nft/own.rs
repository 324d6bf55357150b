//! The daemon's own table, made over netlink and read back by the real nft.

use ketuk::config::{self, Config, Door};
use ketuk::core::flow::Flow;
use ketuk::core::passage::Passage;
use ketuk::core::sequence::{Protocol, Step};
use ketuk::firewall::own::{self, Own, Plan};
use std::net::SocketAddr;

use super::support::is_root_of_the_machine;
use super::*;

const DOORS: &str = "
config door 'ssh'
	option proto 'tcp'
	option dest_port '22'
config door 'dns'
	option dest_port '53 8000-8010'
	option grant_prefix_6 '64'
config door 'nas'
	option proto 'tcp'
	option src_dport '8443'
	list dest_ip '192.168.1.10'
	list dest_ip '2001:db8:2::10'
	option dest_port '443'
config door 'off'
	option enabled '0'
	option dest_port '99'
";

fn parse(text: &str) -> Config {
    config::parse("test", text.as_bytes()).expect("a right configuration")
}

/// Makes the table for these doors, shut on `devices`.
fn load(own: &mut Own, config: &Config, devices: Option<&[&str]>) {
    let doors: Vec<&Door> = config.doors.iter().collect();
    let devices: Option<Vec<String>> =
        devices.map(|devices| devices.iter().map(|device| (*device).to_owned()).collect());
    own.load(&Plan { doors: &doors, shut: devices.as_deref() }).expect("load");
}

fn in_own() -> Sets {
    Sets::connect(own::table()).expect("connect")
}

/// The table of DOORS on two devices, as this release of nft lists it.
fn expected() -> String {
    let (told, heard) = std::sync::mpsc::channel();
    in_namespace(move || {
        nft(include_str!("own.nft"));
        told.send(list_table("inet ketuk")).expect("the test waits");
    });
    heard.recv().expect("a listing")
}

#[test]
fn nft_reads_the_table_as_it_is_meant() {
    in_namespace(|| {
        let mut own = Own::connect().expect("connect");
        load(&mut own, &parse(DOORS), Some(&["eth0", "wlan0"]));
        let listed = list_table("inet ketuk");
        let expected = expected();
        assert!(listed == expected, "--- listed\n{listed}--- expected\n{expected}---");
        // nft can load its own listing, so it knows every expression.
        nft(&format!("delete table inet ketuk\n{listed}"));
        assert!(!own.is_intact().expect("intact"), "but it is not what was loaded");
        assert_eq!(list_table("inet ketuk"), listed);
    });
}

/// A client that asked for a port is let in at this port, and at no other.
#[test]
fn a_door_for_any_port() {
    in_namespace(|| {
        let mut own = Own::connect().expect("connect");
        let doors = parse(
            "config door 'any'\n\toption any_port '1'\n\tlist allow_port 'tcp/20-80'\n\tlist allow_port '53:udp'\n",
        );
        load(&mut own, &doors, Some(&["eth0"]));
        let listed = list_table("inet ketuk");
        for line in [
            "type ipv4_addr . inet_proto . inet_service",
            "type ipv6_addr . inet_proto . inet_service",
            // The comparison leaves out the beginning of the rule, because some releases of nft show the family there.
            "ip saddr . meta l4proto . th dport @ketuk_any_4 counter packets 0 bytes 0 accept",
            "ip6 saddr . meta l4proto . th dport @ketuk_any_6 counter packets 0 bytes 0 accept",
            "ct status dnat ip saddr . meta l4proto . ct original proto-dst @ketuk_any_4 counter packets 0 bytes 0 accept",
            "tcp dport 20-80 counter packets 0 bytes 0 drop",
            "udp dport 53 counter packets 0 bytes 0 drop",
        ] {
            assert!(listed.contains(line), "{line} is not in\n{listed}");
        }
        // nft can load its own listing.
        nft(&format!("delete table inet ketuk\n{listed}"));
        let mut sets = in_own();
        let any = &doors.doors[0];
        let port = Step { protocol: Protocol::Udp, port: 53.try_into().expect("a port") };
        for address in ["192.0.2.1", "2001:db8::1"] {
            let passage = Passage { address: ip(address), port: Some(port) };
            let to = AddressState::Open { time: HOUR, note: OpenedBy::Hand.into(), held: false };
            sets.apply_one(Change { door: any.into(), passage, to }).expect("open");
            let mut found = Vec::new();
            let family = if address.contains(':') { V6 } else { V4 };
            sets.list(any, family, &mut |element| found.push(element.passage)).expect("list");
            assert_eq!(found, [passage]);
        }
        assert!(list_table("inet ketuk").contains("192.0.2.1 . udp . 53 timeout 1h"));
    });
}

#[test]
fn where_every_device_is_listened_on_only_loopback_is_left_open() {
    in_namespace(|| {
        let mut own = Own::connect().expect("connect");
        for devices in [&["any"][..], &[]] {
            load(&mut own, &parse(DOORS), Some(devices));
            let listed = list_table("inet ketuk");
            assert_eq!(listed.matches("iifname").count(), 3, "{listed}");
            assert_eq!(listed.matches("iifname != \"lo\" jump doors_").count(), 3, "{listed}");
        }
    });
}

#[test]
fn a_reload_keeps_who_is_in_and_leaves_nothing_of_old_doors() {
    in_namespace(|| {
        let mut own = Own::connect().expect("connect");
        load(&mut own, &parse(DOORS), Some(&["eth0"]));
        let mut sets = in_own();
        sets.open("ssh", ip("192.0.2.1"), HOUR, false).expect("open");
        sets.open("nas", ip("192.0.2.2"), HOUR, false).expect("open");
        let changed = DOORS.replace("'22'", "'2222'").replace("door 'nas'", "door 'web'");
        load(&mut own, &parse(&changed), Some(&["eth1"]));
        let listed = list_table("inet ketuk");
        assert!(listed.contains("elements = { 192.0.2.1 timeout 1h expires "), "{listed}");
        for gone in ["nas", "dport 22 ", "eth0", "192.0.2.2"] {
            assert!(!listed.contains(gone), "{gone}: {listed}");
        }
        assert!(listed.contains("dport 2222") && listed.contains("@ketuk_web_4") && listed.contains("eth1"));
        // If it is loaded once more, it is the same.
        load(&mut own, &parse(&changed), Some(&["eth1"]));
        let without_times = |text: &str| text.lines().filter(|line| !line.contains("expires")).count();
        assert_eq!(without_times(&list_table("inet ketuk")), without_times(&listed));
        own.unload().expect("unload");
        assert!(!nft_with(&["list", "tables"], "").contains("ketuk"));
        own.unload().expect("a table that is not there");
    });
}

#[test]
fn a_table_of_that_name_that_is_quite_another_is_replaced() {
    in_namespace(|| {
        nft("add table inet ketuk { flags dormant; }
            add chain inet ketuk input { type filter hook output priority 5; }
            add set inet ketuk ketuk_ssh_4 { type ipv4_addr . inet_service; }");
        let mut own = Own::connect().expect("connect");
        load(&mut own, &parse(DOORS), Some(&["eth0", "wlan0"]));
        assert!(list_table("inet ketuk") == expected(), "{}", list_table("inet ketuk"));
    });
}

#[test]
fn whoever_changes_the_table_is_noticed() {
    in_namespace(|| {
        let mut own = Own::connect().expect("connect");
        for change in [
            "flush ruleset",
            "delete table inet ketuk",
            "flush chain inet ketuk doors_input",
            "insert rule inet ketuk doors_input accept",
            "add chain inet ketuk input { policy drop; }",
            "add table inet ketuk { flags dormant; }",
            "delete rule inet ketuk doors_input handle HANDLE",
        ] {
            load(&mut own, &parse(DOORS), Some(&["eth0"]));
            assert!(own.is_intact().expect("intact"));
            // Elements are added and deleted.
            in_own().open("ssh", ip("192.0.2.1"), HOUR, false).expect("open");
            assert!(own.is_intact().expect("intact"));
            let listed = nft_with(&["-a", "list", "chain", "inet", "ketuk", "doors_input"], "");
            let last = listed.lines().rfind(|line| line.contains("drop")).expect("a rule");
            let handle = last.rsplit(' ').next().expect("a handle");
            nft(&change.replace("HANDLE", handle));
            assert!(!own.is_intact().expect("intact"), "{change}");
        }
    });
}

#[test]
fn beside_another_backend_the_table_holds_only_what_kill_needs() {
    in_namespace(|| {
        let mut own = Own::connect().expect("connect");
        let tables = || nft_with(&["list", "tables"], "");
        load(&mut own, &parse(DOORS), None);
        assert_eq!(tables(), "", "no door needs it");
        let kill = DOORS.replacen("dest_port '22'", "dest_port '22'\n\toption kill 'on'", 1);
        load(&mut own, &parse(&kill), None);
        let listed = list_table("inet ketuk");
        assert!(listed.contains("set cut_4") && listed.contains("reject with tcp reset"), "{listed}");
        for shut in ["drop", "@ketuk_ssh_4", "iifname", "dnat"] {
            assert!(!listed.contains(shut), "{shut}: {listed}");
        }
        // When a door is loaded again, cut connections stay cut.
        let flow = flow("192.0.2.1", "203.0.113.1");
        own.cut(&[flow]).expect("cut");
        load(&mut own, &parse(&kill), None);
        assert!(list_table("inet ketuk").contains("tcp . 192.0.2.1 . 40000 . 203.0.113.1 . 22 timeout 3h"));
        load(&mut own, &parse(DOORS), None);
        assert_eq!(tables(), "");
    });
}

#[test]
fn what_was_cut_can_be_taken_back() {
    in_namespace(|| {
        let mut own = Own::connect().expect("connect");
        load(
            &mut own,
            &parse(&DOORS.replacen("dest_port '22'", "dest_port '22'\n\toption kill 'on'", 1)),
            None,
        );
        let flows: Vec<Flow> = (1..=200).map(|n| flow(&format!("192.0.2.{n}"), "203.0.113.1")).collect();
        own.cut(&flows).expect("cut");
        own.cut(&flows).expect("cut once more");
        own.cut(&[flow("2001:db8::1", "2001:db8::2")]).expect("cut");
        let elements =
            |set: &str| nft_with(&["list", "set", "inet", "ketuk", set], "").matches("expires").count();
        assert_eq!((elements("cut_4"), elements("cut_6")), (400, 2));
        let his = |ends: [SocketAddr; 2]| ends.iter().any(|end| end.ip() == ip("192.0.2.7"));
        own.uncut(ip("192.0.2.7"), his).expect("uncut");
        own.uncut(ip("192.0.2.7"), his).expect("uncut once more");
        assert_eq!((elements("cut_4"), elements("cut_6")), (398, 2));
        own.uncut_all().expect("uncut all");
        assert_eq!((elements("cut_4"), elements("cut_6")), (0, 0));
        nft("delete table inet ketuk");
        own.uncut_all().expect("no table refuses nobody");
        own.uncut(ip("192.0.2.7"), |_| true).expect("no table refuses nobody");
        assert!(own.cut(&flows).is_err(), "without the table nothing is cut");
    });
}

/// The longest configuration fits into one transaction.
#[test]
fn sixty_four_doors_with_many_ports() {
    if !is_root_of_the_machine("64 doors, whose rules need a larger socket buffer than others may have") {
        return;
    }
    in_namespace(|| {
        let ports: Vec<String> = (0..16).map(|n| format!("{}-{}", 1000 + 4 * n, 1001 + 4 * n)).collect();
        let mut text = String::new();
        for n in 0..64 {
            let name = format!("a_door_with_a_long_name_number{n}");
            write!(text, "config door '{name}'\n\toption dest_port '{}'\n", ports.join(" "))
                .expect("a string");
        }
        let mut own = Own::connect().expect("connect");
        load(&mut own, &parse(&text), Some(&["eth0"]));
        let listed = list_table("inet ketuk");
        assert_eq!(listed.matches(" drop ").count(), 64 * 16 * 2 * 2, "ports, protocols, chains");
    });
}

fn flow(source: &str, destination: &str) -> Flow {
    Flow {
        protocol: Protocol::Tcp,
        source: ip(source),
        source_port: 40000,
        destination: ip(destination),
        destination_port: 22,
        answers: ip(destination),
        answers_port: 22,
        replied: true,
        tcp_state: Some(3),
    }
}
