use crate::config::{BackendOption, Globals};

use super::*;

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

fn door(name: &str, opening: Option<DoorPorts>) -> Door {
    Door { opening, ..Door::named(name) }
}

fn opening(protocols: &[Protocol], ports: &[(u16, u16)], forward: Option<Forward>) -> DoorPorts {
    DoorPorts { protocols: protocols.to_vec(), dest_port: ranges(ports), forward }
}

fn ranges(ports: &[(u16, u16)]) -> Vec<PortRange> {
    ports.iter().map(|&(first, last)| PortRange::new(first, last).expect("a range")).collect()
}

fn forward(src_dport: &[(u16, u16)], dest_ip: &[&str]) -> Forward {
    let dest_ip = dest_ip.iter().map(|ip| ip.parse().expect("address")).collect();
    Forward { src_dport: ranges(src_dport), dest_ip }
}

fn config() -> Config {
    let nas = forward(&[(8443, 8443)], &["192.168.1.10", "2001:db8:1::10"]);
    let off = Door { enabled: false, ..door("off", Some(opening(&BOTH, &[(1, 1)], None))) };
    Config {
        users: Vec::new(),
        globals: Globals { backend: BackendOption::Nft, ..Globals::default() },
        doors: vec![
            door("ssh", Some(opening(&[Protocol::Tcp], &[(22, 22)], None))),
            door("legacy", None),
            off,
            door("nas", Some(opening(&[Protocol::Tcp], &[(443, 443)], Some(nas)))),
            door("game", Some(opening(&BOTH, &[(53, 53), (6005, 6020), (6000, 6010)], None))),
        ],
    }
}

fn text(family: TableFamily, name: &str, zone: Zone<'_>) -> String {
    let mut text = String::new();
    write(&mut text, &config(), &NftTable { family, name: name.into() }, zone).expect("a string takes all");
    text
}

#[test]
fn golden_inet() {
    let expected = r#"# ketuk: the sets and rules of the doors. Load with nft -f after table inet fw4.

add set inet fw4 ketuk_ssh_4 { type ipv4_addr; flags timeout; }
add set inet fw4 ketuk_ssh_6 { type ipv6_addr; flags timeout; }

add set inet fw4 ketuk_nas_4 { type ipv4_addr; flags timeout; }
add set inet fw4 ketuk_nas_6 { type ipv6_addr; flags timeout; }

add set inet fw4 ketuk_game_4 { type ipv4_addr; flags timeout; }
add set inet fw4 ketuk_game_6 { type ipv6_addr; flags timeout; }

insert rule inet fw4 input_wan meta nfproto ipv4 tcp dport 22 ip saddr @ketuk_ssh_4 counter accept comment "ketuk: ssh"
insert rule inet fw4 input_wan meta nfproto ipv6 tcp dport 22 ip6 saddr @ketuk_ssh_6 counter accept comment "ketuk: ssh"

insert rule inet fw4 dstnat_wan meta nfproto ipv4 tcp dport 8443 ip saddr @ketuk_nas_4 counter dnat ip to 192.168.1.10:443 comment "ketuk: nas"
insert rule inet fw4 forward_wan meta nfproto ipv4 ct status dnat ip daddr 192.168.1.10 tcp dport 443 ip saddr @ketuk_nas_4 counter accept comment "ketuk: nas"
insert rule inet fw4 forward_wan meta nfproto ipv6 ip6 daddr 2001:db8:1::10 tcp dport 443 ip6 saddr @ketuk_nas_6 counter accept comment "ketuk: nas"

insert rule inet fw4 input_wan meta nfproto ipv4 meta l4proto { tcp, udp } th dport { 53, 6000-6020 } ip saddr @ketuk_game_4 counter accept comment "ketuk: game"
insert rule inet fw4 input_wan meta nfproto ipv6 meta l4proto { tcp, udp } th dport { 53, 6000-6020 } ip6 saddr @ketuk_game_6 counter accept comment "ketuk: game"
"#;
    assert_eq!(text(TableFamily::Inet, "fw4", Zone::WAN), expected);
}

#[test]
fn a_table_of_one_family_has_nothing_of_the_other() {
    let ip = text(TableFamily::Ip, "filter", Zone::NONE);
    assert!(ip.contains("insert rule ip filter input tcp dport 22 "), "{ip}");
    assert!(ip.contains("insert rule ip filter dstnat tcp dport 8443 "), "{ip}");
    assert!(!ip.contains("_6"), "{ip}");
    assert!(!ip.contains("ip6") && !ip.contains("ipv6") && !ip.contains("nfproto"), "{ip}");
    let ip6 = text(TableFamily::Ip6, "filter", Zone::new("isp").expect("a zone"));
    assert!(ip6.contains("insert rule ip6 filter forward_isp ip6 daddr"), "{ip6}");
    assert!(!ip6.contains("_4") && !ip6.contains("nfproto") && !ip6.contains("dnat"), "{ip6}");
}

#[test]
fn zones() {
    assert_eq!(Zone::new("wan"), Some(Zone::WAN));
    assert_eq!(Zone::new("none"), Some(Zone::NONE));
    assert_eq!(Zone::new("a b"), None);
    assert_eq!(Zone::new("a;flush"), None);
    assert_eq!(Zone::new(""), None);
}

#[test]
fn translations_of_ports() {
    let of = |outside: &[(u16, u16)], inside: &[(u16, u16)]| -> Vec<String> {
        let (outside, inside) = (ranges(outside), ranges(inside));
        let tcp = &[Protocol::Tcp][..];
        translations(&outside, &inside)
            .map(|(ports, to)| format!("{} -> {to}", Match { protocols: tcp, ports }))
            .collect()
    };
    assert_eq!(of(&[(80, 80)], &[(80, 80)]), ["tcp dport 80 -> "]);
    assert_eq!(of(&[(80, 80), (443, 443)], &[(80, 80), (443, 443)]), ["tcp dport { 80, 443 } -> "]);
    assert_eq!(of(&[(80, 80), (81, 81)], &[(8080, 8080)]), ["tcp dport 80-81 -> :8080"]);
    assert_eq!(
        of(&[(80, 80), (443, 443)], &[(8080, 8080), (443, 443)]),
        ["tcp dport 80 -> :8080", "tcp dport 443 -> "]
    );
    assert_eq!(of(&[(80, 89)], &[(9000, 9009)]), ["tcp dport 80-89 -> :9000-9009"]);
}

#[test]
fn ranges_that_touch_become_one() {
    let of = |ports: &[(u16, u16)]| -> Vec<(u16, u16)> {
        merged(&ranges(ports)).iter().map(|range| (range.first(), range.last())).collect()
    };
    assert_eq!(of(&[(10, 20), (1, 2), (15, 17), (21, 22)]), [(1, 2), (10, 22)]);
    assert_eq!(of(&[(1, 65535), (65535, 65535)]), [(1, 65535)]);
}
