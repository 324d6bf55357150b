//! Sources and destinations that are refused before they are judged.

use super::*;

fn own(address: &str, on: On) -> OwnAddress {
    let (address, prefix) = address.split_once('/').unwrap();
    OwnAddress { address: address.parse().unwrap(), prefix: prefix.parse().unwrap(), on }
}

/// A router: WAN listened on, a LAN, a tunnel.
fn router() -> Place {
    let mut place = Place::new();
    let addresses = [
        own("127.0.0.1/8", On::Loopback),
        own("::1/128", On::Loopback),
        own("203.0.113.1/24", On::Listened),
        own("2001:db8::1/64", On::Listened),
        own("fe80::1/64", On::Listened),
        own("192.168.1.1/24", On::Other),
        own("2001:db8:1::1/64", On::Other),
        own("fd00::1/64", On::Other),
        own("fe80::2/64", On::Other),
        own("198.51.100.1/32", On::Loopback),
    ];
    assert_eq!(place.set(&addresses, |_| false), 0);
    place
}

fn takes(place: &Place, source: &str, destination: &str, via: Via) -> bool {
    place.is_plausible(source.parse().unwrap(), destination.parse().unwrap(), via)
}

#[test]
fn sources_that_cannot_be_true_are_refused() {
    let place = router();
    for source in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.9.9.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "203.0.113.1",
        "203.0.113.255",
        "192.168.1.1",
        "192.168.1.77",
        "192.168.1.255",
        "198.51.100.1",
    ] {
        assert!(!takes(&place, source, "203.0.113.1", Via::Network), "{source}");
    }
    for source in
        ["::", "::1", "ff02::1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8:1::77", "fd00::5", "fe80::2"]
    {
        assert!(!takes(&place, source, "2001:db8::1", Via::Network), "{source}");
    }
    for (source, to) in [
        ("192.0.2.1", "203.0.113.1"),
        ("203.0.113.2", "203.0.113.1"),
        ("192.168.2.1", "203.0.113.1"),
        ("223.255.255.255", "203.0.113.1"),
        ("2001:db8::2", "2001:db8::1"),
        ("fe80::7", "fe80::1"),
        ("2001:db8:1:1::", "2001:db8::1"),
    ] {
        assert!(takes(&place, source, to, Via::Network), "{source}");
    }
}

/// A tunnel may have an address with a prefix of 0: everybody is its neighbour.
#[test]
fn no_connected_network_makes_impossible_sources_true() {
    let mut place = Place::new();
    assert_eq!(
        place.set(&[own("10.0.0.1/0", On::Listened), own("2001:db8::1/0", On::Listened)], |_| false),
        0
    );
    for source in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        assert!(!takes(&place, source, "10.0.0.1", Via::Network), "{source}");
    }
    for source in ["::", "::1", "ff02::1", "::ffff:192.0.2.1"] {
        assert!(!takes(&place, source, "2001:db8::1", Via::Network), "{source}");
    }
    assert!(takes(&place, "192.0.2.1", "10.0.0.1", Via::Network));
    assert!(takes(&place, "2001:db8:9::1", "2001:db8::1", Via::Network));
}

#[test]
fn on_the_loopback_device_the_hosts_own_addresses_are_right() {
    let place = router();
    for source in ["127.0.0.1", "203.0.113.1", "192.168.1.1"] {
        assert!(takes(&place, source, "127.0.0.1", Via::Loopback), "{source}");
        assert!(takes(&place, source, "127.0.0.1", Via::Any), "{source}");
    }
    assert!(takes(&place, "::1", "::1", Via::Loopback));
    for source in ["0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        assert!(!takes(&place, source, "127.0.0.1", Via::Loopback), "{source}");
    }
    assert!(!takes(&place, "::ffff:127.0.0.1", "::1", Via::Loopback));
}

#[test]
fn destinations_that_other_hosts_do_not_reach_that_way_are_refused() {
    let place = router();
    for (to, reached) in [
        ("127.0.0.1", false),
        ("192.168.1.1", false),
        ("203.0.113.1", true),
        ("198.51.100.1", true),
        // No own address: some door's target.
        ("203.0.113.9", true),
    ] {
        assert_eq!(takes(&place, "192.0.2.1", to, Via::Network), reached, "{to}");
    }
    let mut place = place;
    let lan = [own("192.168.1.1/24", On::Other)];
    place.set(&lan, |address| address == lan[0].address);
    assert!(takes(&place, "192.0.2.1", "192.168.1.1", Via::Network), "a door's target");
    let place = router();
    for (to, reached) in [("::1", false), ("fd00::1", false), ("fe80::2", false), ("2001:db8:1::1", true)] {
        assert_eq!(takes(&place, "2001:db8:9::1", to, Via::Network), reached, "{to}");
    }
}

#[test]
fn the_narrowest_network_decides() {
    let mut place = Place::new();
    let networks =
        [own("10.0.0.1/8", On::Other), own("10.1.2.3/24", On::Listened), own("10.1.2.129/26", On::Other)];
    place.set(&networks, |_| false);
    for (source, right) in
        [("10.9.9.9", false), ("10.1.2.77", true), ("10.1.2.130", false), ("10.1.2.200", true)]
    {
        assert_eq!(takes(&place, source, "10.1.2.3", Via::Network), right, "{source}");
    }
    // The same network at both: somebody may be there.
    place.set(&[own("10.1.2.3/24", On::Listened), own("10.1.2.4/24", On::Other)], |_| false);
    assert!(takes(&place, "10.1.2.77", "10.1.2.3", Via::Network));
}

#[test]
fn the_ends_of_a_network_are_hosts_where_there_is_no_broadcast_address() {
    let mut place = Place::new();
    place.set(&[own("198.51.100.2/31", On::Listened), own("2001:db8::1/64", On::Listened)], |_| false);
    assert!(takes(&place, "198.51.100.3", "198.51.100.2", Via::Network));
    assert!(takes(&place, "2001:db8::ffff:ffff:ffff:ffff", "2001:db8::1", Via::Network));
    // Nothing of the addresses before is left.
    place.set(&[own("192.168.1.1/24", On::Other)], |_| false);
    place.set(&[own("203.0.113.1/24", On::Listened)], |_| false);
    assert!(takes(&place, "192.168.1.77", "203.0.113.1", Via::Network));
}

#[test]
fn addresses_that_mean_another_host_elsewhere_are_reached_over_their_own_device_only() {
    for (address, reached) in [
        ("100.64.0.1", false),
        ("100.127.255.1", false),
        ("100.63.0.1", true),
        ("100.128.0.1", true),
        ("101.64.0.1", true),
        ("10.0.0.1", false),
        ("169.254.0.1", false),
        ("198.51.100.1", true),
        ("2001:db8::1", true),
        ("3fff::1", true),
        ("fd00::1", false),
        ("4000::1", false),
    ] {
        let mut place = Place::new();
        place.set(&[own(&format!("{address}/24"), On::Other)], |_| false);
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(place.own(), [address]);
        assert_eq!(place.reached(Via::Network) == [address], reached, "{address}");
        assert_eq!((place.reached(Via::Any), place.reached(Via::Loopback)), (&[address][..], &[address][..]));
    }
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    let mut place = Place::new();
    let many: Vec<_> = (0..200_u8).map(|n| OwnAddress::from(IpAddr::from([203, 0, 113, n]))).collect();
    assert_eq!(place.set(&many, |_| false), 200 - MAX_ADDRESSES);
}

/// Networks that are connected everywhere, so that nothing impossible is left, and many more of each family than there is
/// room for.
#[test]
fn ranges_that_there_is_no_room_for_are_counted() {
    let mut addresses = vec![own("192.0.2.1/0", On::Listened), own("2001:db8::1/0", On::Listened)];
    for n in 0..600_u16 {
        let [high, low] = n.to_be_bytes();
        addresses.push(own(&format!("10.{high}.{low}.1/30"), On::Other));
        addresses.push(own(&format!("2001:db8:{n:x}::9/126"), On::Other));
    }
    let missing = 600 - crate::address_ranges::MAX_RANGES;
    // The networks, the impossible sources, the addresses in these networks with the broadcast addresses of IPv4, and the
    // first address of each family with one broadcast address.
    let ranges = 2 * missing + 6 + 3 * missing + 3;
    assert_eq!(Place::new().set(&addresses, |_| false), addresses.len() - MAX_ADDRESSES + ranges);
}
