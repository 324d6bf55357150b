use super::*;
use crate::config;

const DOORS: &str = "
config door 'ssh'
	option proto 'tcp'
	list dest_port '22'
	list dest_port '2200-2299'
config door 'dns'
	option proto 'udp'
	option dest_port '53'
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

/// The text that loads the chains.
fn text(devices: &[&str], family: AddressFamily, before: &str, is_first: bool) -> String {
    let config = config::parse("test", DOORS.as_bytes()).expect("a configuration");
    let doors: Vec<_> = config.doors.iter().collect();
    let devices: Vec<_> = devices.iter().map(|&name| name.to_owned()).collect();
    let plan = Plan { doors: &doors, shut: Some(&devices) };
    text::load(&plan, family, &Listing::read(before), is_first)
}

#[test]
fn what_is_loaded_on_a_host_without_chains() {
    assert_eq!(
        text(&["wan0"], AddressFamily::V4, "", true),
        "*filter
:ketuk_input - [0:0]
:ketuk_forward - [0:0]
:ketuk_input_open - [0:0]
:ketuk_forward_open - [0:0]
-I INPUT 1 -j ketuk_input
-A ketuk_input -j ketuk_input_open
-I FORWARD 1 -j ketuk_forward
-A ketuk_forward -j ketuk_forward_open
-A ketuk_input -i \"wan0\" -p tcp -m tcp --tcp-flags SYN,ACK SYN -m multiport --dports 22,2200:2299 -m comment --comment \"ketuk: ssh\" -j DROP
-A ketuk_forward -i \"wan0\" -p tcp -m tcp --tcp-flags SYN,ACK SYN -m conntrack --ctstate DNAT --ctorigdstport 22 -m comment --comment \"ketuk: ssh\" -j DROP
-A ketuk_forward -i \"wan0\" -p tcp -m tcp --tcp-flags SYN,ACK SYN -m conntrack --ctstate DNAT --ctorigdstport 2200:2299 -m comment --comment \"ketuk: ssh\" -j DROP
-A ketuk_input -i \"wan0\" -p udp -m conntrack ! --ctstate RELATED,ESTABLISHED -m udp --dport 53 -m comment --comment \"ketuk: dns\" -j DROP
-A ketuk_forward -i \"wan0\" -p udp -m conntrack ! --ctstate RELATED,ESTABLISHED -m conntrack --ctstate DNAT --ctorigdstport 53 -m comment --comment \"ketuk: dns\" -j DROP
-A ketuk_forward -i \"wan0\" -p tcp -m tcp --tcp-flags SYN,ACK SYN -d 192.168.1.10 --dport 443 -m comment --comment \"ketuk: nas\" -j DROP
COMMIT
"
    );
}

#[test]
fn without_a_device_the_ports_are_shut_on_each() {
    for devices in [&[][..], &["any"], &["wan0", "any"]] {
        let text = text(devices, AddressFamily::V6, "", true);
        assert_eq!(text.matches("! -i lo -p").count(), 6, "{text}");
        assert!(text.contains("-d 2001:db8:2::10 ") && !text.contains("192.168.1.10"), "{text}");
    }
}

const LOADED: &str = "*mangle
-A INPUT -j ketuk_input
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:ketuk_input - [0:0]
:ketuk_forward - [0:0]
:ketuk_input_open - [0:0]
:ketuk_forward_open - [0:0]
-A INPUT -j ketuk_input
-A INPUT -p tcp -j ACCEPT
-A FORWARD -j ketuk_forward
-A ketuk_input -j ketuk_input_open
-A ketuk_forward -j ketuk_forward_open
COMMIT
";

#[test]
fn a_reload_leaves_knockers_and_a_right_jump_alone() {
    let text = text(&["wan0"], AddressFamily::V4, LOADED, false);
    assert!(
        !text.contains("INPUT") && !text.contains("FORWARD") && !text.contains(":ketuk_input_open"),
        "{text}"
    );
    assert!(Listing::read(LOADED).is_reached());
}

#[test]
fn a_jump_that_is_not_first_or_not_alone_is_made_anew() {
    for (from, to, deleted) in [
        (
            "-A INPUT -j ketuk_input\n-A INPUT -p tcp -j ACCEPT",
            "-A INPUT -p tcp -j ACCEPT\n-A INPUT -j ketuk_input",
            1,
        ),
        ("-A INPUT -p tcp -j ACCEPT", "-A INPUT -j ketuk_input", 2),
        ("-A INPUT -j ketuk_input\n", "-A INPUT -p tcp -m comment --comment \"a \\\"b\" -g ketuk_input\n", 1),
        ("-A INPUT -j ketuk_input\n", "", 0),
    ] {
        let (mangle, filter) = LOADED.split_once("*filter").expect("two tables");
        let before = format!("{mangle}*filter{}", filter.replacen(from, to, 1));
        assert!(!Listing::read(&before).is_reached(), "{before}");
        let text = text(&["wan0"], AddressFamily::V4, &before, false);
        assert_eq!(text.matches("-D INPUT").count(), deleted, "{text}");
        assert_eq!(text.matches("-I INPUT 1 -j ketuk_input\n").count(), 1, "{text}");
    }
}

#[test]
fn all_chains_and_jumps_are_unloaded() {
    let unload = |listing: &str| text::unload(&Listing::read(listing));
    assert_eq!(unload("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"), None);
    assert_eq!(
        unload(LOADED).expect("chains"),
        "*filter
-F ketuk_input
-F ketuk_forward
-F ketuk_input_open
-F ketuk_forward_open
-D INPUT \"-j\" \"ketuk_input\"
-D FORWARD \"-j\" \"ketuk_forward\"
-X ketuk_input
-X ketuk_forward
-X ketuk_input_open
-X ketuk_forward_open
COMMIT
"
    );
}
