//! The changes of the firewall's tables that wake a listener.

use super::*;

#[test]
fn elements_of_others_wake_nobody() {
    in_namespace(|| {
        let mut sets = fw4();
        let mut events = Events::open().expect("events");
        let unfiltered = Socket::open(libc::NETLINK_NETFILTER, &[7], &[]).expect("a socket to compare with");
        nft("add element inet fw4 others { 192.0.2.1 timeout 1h, 192.0.2.2 }");
        nft("delete element inet fw4 others { 192.0.2.1 }");
        sets.open("ssh", ip("203.0.113.9"), HOUR, false).expect("open");
        sets.open("ssh", ip("203.0.113.9"), HOUR, true).expect("renew");
        sets.shut("ssh", ip("203.0.113.9")).expect("shut");
        assert!(readable(&unfiltered), "nothing was notified at all");
        assert!(!readable(&events));
        assert!(!events.drain());

        nft("add table inet mine");
        assert!(readable(&events));
        assert!(events.drain());
        assert!(!readable(&events));
        assert!(!events.drain());
    });
}

#[test]
fn whatever_makes_or_breaks_a_set_wakes() {
    in_namespace(|| {
        let mut events = Events::open().expect("events");
        for change in [
            FW4,
            "delete table inet fw4",
            &format!("{FW4}\ndelete table inet fw4\n{FW4}"),
            "add set inet fw4 ketuk_nas_4 { type ipv4_addr; flags timeout; }",
            "delete set inet fw4 ketuk_nas_4",
            "add rule inet fw4 input_wan tcp dport 1 accept",
            "add chain inet fw4 another",
            "flush chain inet fw4 input_wan",
            "flush ruleset",
        ] {
            nft(change);
            assert!(readable(&events) && events.drain(), "{change}");
            assert!(!readable(&events), "{change}");
        }
    });
}

#[test]
fn lost_events_are_events() {
    in_namespace(|| {
        let mut events = Events::open().expect("events");
        let twin = Socket::open(libc::NETLINK_NETFILTER, &[7], &[]).expect("a socket to compare with");
        nft("add table inet fw4");
        for batch in 0..10 {
            let mut script = String::new();
            for index in 0..1000 {
                writeln!(script, "add chain inet fw4 c{batch}_{index}").expect("string");
            }
            nft(&script);
        }
        assert_eq!(
            twin.recv(&mut []).expect("recv"),
            Received::Lost,
            "this was not enough to lose something"
        );
        assert!(events.drain());
        wait("the queue is empty", || !events.drain());
        nft("delete table inet fw4");
        wait("events come again", || events.drain());
    });
}
