//! The real nft accepts the output of `ketukd ruleset`.

use ketuk::config::{BackendOption, Config, Door, DoorPorts, Forward, Globals, PortRange};
use ketuk::core::sequence::Protocol;
use ketuk::firewall::ruleset::{self, Zone};

use super::*;

#[test]
fn nft_takes_the_ruleset() {
    in_namespace(|| {
        nft(FW4);
        let fw4 = table(TableFamily::Inet, "fw4");
        let mut text = String::new();
        ruleset::write(&mut text, &config(), &fw4, Zone::WAN).expect("a string takes all");
        nft_with(&["-c", "-f", "-"], &text);
        assert!(!list_table("inet fw4").contains("ketuk: nas"), "-c changed something");
        nft(&text);
        let listed = list_table("inet fw4");
        let chain = |name: &str| -> Vec<&str> {
            let (_, from) = listed.split_once(&format!("chain {name} {{\n")).expect("chain");
            let (rules, _) = from.split_once("\t}").expect("end");
            rules.lines().map(str::trim).collect()
        };
        assert_eq!(
            chain("input_wan"),
            [
                "meta l4proto { tcp, udp } th dport { 53, 6000-6020 } ip6 saddr @ketuk_game_6 counter packets 0 bytes 0 accept comment \"ketuk: game\"",
                "meta l4proto { tcp, udp } th dport { 53, 6000-6020 } ip saddr @ketuk_game_4 counter packets 0 bytes 0 accept comment \"ketuk: game\"",
                "tcp dport 22 ip6 saddr @ketuk_ssh_6 counter packets 0 bytes 0 accept comment \"ketuk: ssh\"",
                "tcp dport 22 ip saddr @ketuk_ssh_4 counter packets 0 bytes 0 accept comment \"ketuk: ssh\"",
                "icmp type echo-request accept",
                "reject",
            ]
        );
        assert_eq!(
            chain("forward_wan"),
            [
                "ip6 daddr 2001:db8:1::10 tcp dport 443 ip6 saddr @ketuk_nas_6 counter packets 0 bytes 0 accept comment \"ketuk: nas\"",
                "ct status dnat ip daddr 192.168.1.10 tcp dport 443 ip saddr @ketuk_nas_4 counter packets 0 bytes 0 accept comment \"ketuk: nas\"",
                "drop",
            ]
        );
        assert_eq!(
            chain("dstnat_wan"),
            [
                "tcp dport 8443 ip saddr @ketuk_nas_4 counter packets 0 bytes 0 dnat ip to 192.168.1.10:443 comment \"ketuk: nas\""
            ]
        );

        let mut sets = Sets::connect(fw4).expect("connect");
        for door in ["ssh", "nas", "game"] {
            assert_eq!(missing(&mut sets, door), [""; 0]);
            for address in ["203.0.113.9", "2001:db8::9"] {
                sets.open(door, ip(address), HOUR, false).expect("open");
            }
            assert!(list(&format!("ketuk_{door}_4")).contains("203.0.113.9 timeout 1h"));
            assert!(list(&format!("ketuk_{door}_6")).contains("2001:db8::9 timeout 1h"));
        }
    });
}

#[test]
fn nft_takes_the_ruleset_of_other_tables() {
    in_namespace(|| {
        for (family, name) in
            [(TableFamily::Ip, "ip"), (TableFamily::Ip6, "ip6"), (TableFamily::Inet, "inet")]
        {
            nft(&format!(
                "table {name} plain {{
                    chain input {{ type filter hook input priority filter; policy drop; }}
                    chain forward {{ type filter hook forward priority filter; policy drop; }}
                    chain dstnat {{ type nat hook prerouting priority dstnat; }}
                }}"
            ));
            let plain = table(family, "plain");
            let mut text = String::new();
            ruleset::write(&mut text, &config(), &plain, Zone::NONE).expect("a string takes all");
            nft(&text);
            let listed = list_table(&format!("{name} plain"));
            assert_eq!(listed.contains("dnat"), family != TableFamily::Ip6, "{listed}");
            let mut sets = Sets::connect(plain).expect("connect");
            assert_eq!(missing(&mut sets, "nas"), [""; 0]);
        }
    });
}

fn config() -> Config {
    let nas = Forward {
        src_dport: ports(&[(8443, 8443)]),
        dest_ip: vec![ip("192.168.1.10"), ip("2001:db8:1::10")],
    };
    Config {
        users: Vec::new(),
        globals: Globals { backend: BackendOption::Nft, ..Globals::default() },
        doors: vec![
            door("ssh", &[Protocol::Tcp], &[(22, 22)], None),
            door("nas", &[Protocol::Tcp], &[(443, 443)], Some(nas)),
            door("game", &[Protocol::Tcp, Protocol::Udp], &[(53, 53), (6005, 6020), (6000, 6010)], None),
        ],
    }
}

fn door(name: &str, protocols: &[Protocol], dest_port: &[(u16, u16)], forward: Option<Forward>) -> Door {
    Door {
        opening: Some(DoorPorts { protocols: protocols.to_vec(), dest_port: ports(dest_port), forward }),
        ..Door::named(name)
    }
}

fn ports(ports: &[(u16, u16)]) -> Vec<PortRange> {
    ports.iter().map(|&(first, last)| PortRange::new(first, last).expect("a range")).collect()
}
