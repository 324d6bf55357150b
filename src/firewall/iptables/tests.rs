use super::ip_set::MAX_NAME_IN_SET;
use super::*;
use crate::core::ports::ProtocolPorts;
use crate::core::sequence::Step;

const V4: &str = "192.0.2.7";
const V6: &str = "2001:db8::7";

fn door(protocols: &[Protocol], ports: &[(u16, u16)]) -> Door {
    Door {
        opening: Some(DoorPorts {
            protocols: protocols.to_vec(),
            dest_port: ports
                .iter()
                .map(|&(first, last)| PortRange::new(first, last).expect("a range"))
                .collect(),
            forward: None,
        }),
        ..Door::named("ssh")
    }
}

fn lines(argvs: Vec<Vec<String>>) -> Vec<String> {
    argvs.into_iter().map(|argv| argv.join(" ")).collect()
}

fn stale(listing: &str) -> Vec<String> {
    let iptables = Iptables::default();
    lines(iptables.stale("iptables", iptables.input(), listing))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn one_port() {
    let door = door(&[Protocol::Tcp], &[(22, 22)]);
    assert_eq!(
        lines(Iptables::default().insert(&door, address(V4), None)),
        [
            "iptables -w 5 -I INPUT -s 192.0.2.7 -p tcp -m tcp --dport 22 -m comment --comment ketuk:ssh -j ACCEPT"
        ]
    );
    let chain = Iptables { chain: "input_wan_rule".to_owned(), ..Iptables::default() };
    assert_eq!(
        lines(chain.delete(&door, address(V6))),
        ["ip6tables -w 5 -D input_wan_rule -s 2001:db8::7 -p tcp -m tcp --dport 22 \
          -m comment --comment ketuk:ssh -j ACCEPT"]
    );
}

#[test]
fn several_ports_and_protocols() {
    let door = door(&[Protocol::Tcp, Protocol::Udp], &[(22, 22), (80, 90)]);
    let rest = "-m multiport --dports 22,80:90 -m comment --comment ketuk:ssh -j ACCEPT";
    assert_eq!(
        lines(Iptables::default().insert(&door, address(V4), None)),
        ["tcp", "udp"].map(|protocol| format!("iptables -w 5 -I INPUT -s 192.0.2.7 -p {protocol} {rest}"))
    );
}

#[test]
fn multiport_is_full_at_fifteen() {
    let list = |ranges: &[(u16, u16)]| -> Vec<String> {
        let ranges: Vec<_> =
            ranges.iter().map(|&(first, last)| PortRange::new(first, last).expect("a range")).collect();
        ports(&ranges).into_iter().map(|rule| rule.join(" ")).collect()
    };
    let fifteen: Vec<_> = (1..=15).map(|port| (port, port)).collect();
    assert_eq!(list(&fifteen), ["--dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"]);
    let sixteen: Vec<_> = (1..=16).map(|port| (port, port)).collect();
    assert_eq!(list(&sixteen), ["--dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "--dport 16"]);
    // Seven ranges count as fourteen ports. The eighth does not fit, and no later one is put in its place.
    let ranges: Vec<_> = (0..8).map(|n| (10 * n + 1, 10 * n + 5)).chain([(99, 99)]).collect();
    assert_eq!(list(&ranges), ["--dports 1:5,11:15,21:25,31:35,41:45,51:55,61:65", "--dports 71:75,99"]);
    assert_eq!(list(&[(5, 9)]), ["--dport 5:9"]);
    assert_eq!(list(&[]), [""; 0]);
}

fn forward(src_dport: &[(u16, u16)], dest_port: &[(u16, u16)], dest_ip: &[&str]) -> Door {
    let mut door = door(&[Protocol::Tcp], dest_port);
    let src_dport =
        src_dport.iter().map(|&(first, last)| PortRange::new(first, last).expect("a range")).collect();
    let dest_ip = dest_ip.iter().map(|ip| ip.parse().unwrap()).collect();
    door.opening.as_mut().unwrap().forward = Some(Forward { src_dport, dest_ip });
    door
}

#[test]
fn a_forward_is_translated_for_ipv4_and_let_through_for_ipv6() {
    let door = forward(&[(8443, 8443)], &[(443, 443)], &["192.168.1.10", "2001:db8:2::10"]);
    assert_eq!(
        lines(Iptables::default().insert(&door, address(V4), None)),
        [
            "iptables -w 5 -I FORWARD -s 192.0.2.7 -p tcp -m tcp --dport 443 -d 192.168.1.10 \
             -m conntrack --ctstate DNAT -m comment --comment ketuk:ssh -j ACCEPT",
            "iptables -w 5 -t nat -I PREROUTING -s 192.0.2.7 -p tcp -m tcp --dport 8443 \
             -m comment --comment ketuk:ssh -j DNAT --to-destination 192.168.1.10:443",
        ]
    );
    assert_eq!(
        lines(Iptables::default().delete(&door, address(V6))),
        ["ip6tables -w 5 -D FORWARD -s 2001:db8::7 -p tcp -m tcp --dport 443 -d 2001:db8:2::10 \
          -m comment --comment ketuk:ssh -j ACCEPT"]
    );
    let door = forward(&[(8443, 8443)], &[(443, 443)], &["192.168.1.10"]);
    assert_eq!(lines(Iptables::default().insert(&door, address(V6), None)), [""; 0]);
}

#[test]
fn the_ports_of_a_range_keep_their_numbers() {
    let ports = &[(80, 80), (6000, 6010)];
    let rules =
        lines(Iptables::default().insert(&forward(ports, ports, &["192.168.1.10"]), address(V4), None));
    assert_eq!(rules.len(), 2);
    assert!(rules[1].contains("--dports 80,6000:6010 ") && rules[1].ends_with("192.168.1.10"), "{rules:?}");
    let many_to_one = forward(ports, &[(443, 443)], &["192.168.1.10"]);
    let rules = lines(Iptables::default().insert(&many_to_one, address(V4), None));
    assert!(rules[0].contains("--dport 443 ") && rules[1].ends_with("192.168.1.10:443"), "{rules:?}");
}

#[test]
fn the_kernel_times_what_is_in_a_set() {
    let iptables = Iptables { sets: true, ..Iptables::default() };
    let mut door = door(&[Protocol::Tcp], &[(22, 22)]);
    let rule = "INPUT -s 192.0.2.7 -p tcp -m tcp --dport 22 -m set --match-set ketuk_ssh_4 src \
                -m comment --comment ketuk:ssh -j ACCEPT";
    assert_eq!(
        lines(iptables.insert(&door, address(V4), Some(Duration::from_millis(29_999)))),
        [
            "/bin/sh -c ipset -exist create ketuk_ssh_4 hash:net family inet timeout 0; \
             ipset -exist add ketuk_ssh_4 192.0.2.7 timeout 30",
            &format!("iptables -w 5 -I {rule}"),
        ]
    );
    assert_eq!(
        lines(iptables.delete(&door, address(V4))),
        [&format!("iptables -w 5 -D {rule}"), "/bin/sh -c ipset -exist del ketuk_ssh_4 192.0.2.7"]
    );
    let month = Some(Duration::from_secs(31 * 24 * 3600));
    for endless in [None, month] {
        assert_eq!(
            lines(iptables.lease(&door, address(V6), endless).into_iter().collect()),
            ["/bin/sh -c ipset -exist create ketuk_ssh_6 hash:net family inet6 timeout 0; \
              ipset -exist add ketuk_ssh_6 2001:db8::7 timeout 0"]
        );
    }
    door.name = "n".repeat(MAX_NAME_IN_SET);
    assert_eq!(iptables.insert(&door, address(V4), None).len(), 2);
    door.name.push('n');
    assert_eq!(iptables.insert(&door, address(V4), None).len(), 1);
    assert_eq!(lines(iptables.insert(&Door::named("ssh"), address(V4), None)), [""; 0]);
}

/// The element and the rule have the port that was asked for.
#[test]
fn a_door_for_any_port() {
    let iptables = Iptables { sets: true, ..Iptables::default() };
    let all = PortRange::new(1, u16::MAX).unwrap();
    let door =
        Door { any_port: vec![ProtocolPorts { protocol: Protocol::Udp, ports: all }], ..Door::named("any") };
    let port = Step { protocol: Protocol::Udp, port: 53.try_into().unwrap() };
    let passage = Passage { address: address(V4), port: Some(port) };
    let rule = "INPUT -s 192.0.2.7 -p udp -m udp --dport 53 -m set --match-set ketuk_any_4 src,dst \
                -m comment --comment ketuk:any -j ACCEPT";
    assert_eq!(
        lines(iptables.insert(&door, passage, Some(Duration::from_secs(30)))),
        [
            "/bin/sh -c ipset -exist create ketuk_any_4 hash:ip,port family inet timeout 0; \
             ipset -exist add ketuk_any_4 192.0.2.7,udp:53 timeout 31",
            &format!("iptables -w 5 -I {rule}"),
        ]
    );
    assert_eq!(
        lines(iptables.delete(&door, passage)),
        [&format!("iptables -w 5 -D {rule}"), "/bin/sh -c ipset -exist del ketuk_any_4 192.0.2.7,udp:53"]
    );
    let plain = Iptables::default();
    assert_eq!(
        lines(plain.delete(&door, passage)),
        [
            "iptables -w 5 -D INPUT -s 192.0.2.7 -p udp -m udp --dport 53 -m comment --comment ketuk:any -j ACCEPT"
        ]
    );
}

#[test]
fn nothing_for_a_command_door() {
    assert_eq!(lines(Iptables::default().delete(&Door::named("ssh"), address(V4))), [""; 0]);
}

#[test]
fn stale_rules_are_found_quoted_or_not() {
    let listing = "-P INPUT ACCEPT\n\
        -A INPUT -s 192.0.2.1/32 -p tcp -m tcp --dport 22 -m comment --comment \"ketuk:ssh\" -j ACCEPT\n\
        -A INPUT -p tcp -m tcp --dport 80 -j ACCEPT\n\
        -A INPUT ! -s 192.0.2.2/32 -m comment --comment ketuk:a_1 -j ACCEPT\n";
    assert_eq!(
        stale(listing),
        [
            "iptables -w 5 -D INPUT -s 192.0.2.1/32 -p tcp -m tcp --dport 22 -m comment --comment ketuk:ssh \
             -j ACCEPT",
            "iptables -w 5 -D INPUT ! -s 192.0.2.2/32 -m comment --comment ketuk:a_1 -j ACCEPT",
        ]
    );
}

#[test]
fn the_same_rule_twice_is_deleted_twice() {
    let rule = "-A INPUT -m comment --comment \"ketuk:ssh\" -j ACCEPT\n";
    assert_eq!(stale(&rule.repeat(2)).len(), 2);
}

#[test]
fn other_rules_are_left_alone() {
    for rule in [
        r#"-A INPUT -m comment --comment "not ketuk:ssh" -j ACCEPT"#,
        r#"-A INPUT -m comment --comment "ketuk: my own" -j ACCEPT"#,
        r#"-A INPUT -m comment --comment "ketuk:" -j ACCEPT"#,
        r#"-A INPUT -m comment --comment "ketuk is great" -j ACCEPT"#,
        r#"-A INPUT -m comment --comment "x\" --comment ketuk:ssh \"" -j ACCEPT"#,
        r#"-A INPUT -m comment --comment "it\'s \\" -j LOG --log-prefix "--comment ketuk:ssh""#,
        r"-A INPUT -j LOG --log-prefix ketuk:ssh",
        r"-A INPUT -m string --string --comment --algo bm --to 65535 -j DROP",
        r"-A OTHER -m comment --comment ketuk:ssh -j ACCEPT",
        r"-N ketuk:ssh",
        "-A INPUT -m comment --comment \"one\n-A INPUT -m comment --comment ketuk:ssh -j ACCEPT\n\" -j DROP",
    ] {
        assert_eq!(stale(&format!("{rule}\n")), [""; 0], "{rule}");
    }
}

#[test]
fn odd_quoting_does_not_hide_the_next_rule() {
    let ours = "-A INPUT -m comment --comment \"ketuk:ssh\" -j ACCEPT\n";
    for other in
        ["-m comment --comment \"\"", r#"-m comment --comment "\\\"\'""#, "-m comment --comment it's"]
    {
        assert_eq!(stale(&format!("-A INPUT {other} -j DROP\n{ours}")).len(), 1, "{other}");
    }
}

#[test]
fn a_line_cut_short_is_no_rule() {
    assert_eq!(stale("-A INPUT -s 192.0.2.1/32 -m comment --comment ketuk:ssh"), [""; 0]);
    assert_eq!(stale("-A INPUT -m comment --comment \"ketuk:ssh"), [""; 0]);
    assert_eq!(stale(""), [""; 0]);
}
