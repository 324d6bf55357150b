//! Traps and steps on maps of ports.

use super::*;
use crate::door::MAX_DOORS;
use crate::testing::{door, step};

fn map(sequences: &[&[&str]], never: &[ProtocolPorts]) -> PortMap {
    let doors: Vec<_> = sequences.iter().map(|steps| door(steps)).collect();
    let mut map = PortMap::new();
    map.draw(
        doors.iter().enumerate().map(|(at, door)| (DoorId(u8::try_from(at).unwrap()), door)),
        never,
        None,
    )
    .unwrap();
    map
}

fn count(map: &PortMap, protocol: Protocol) -> usize {
    (0..=u16::MAX).filter(|port| map.is_trap(protocol, *port)).count()
}

#[test]
fn a_port_leads_to_every_door_that_names_it() {
    let map = map(&[&["7000", "8000:udp"], &["9000", "7000"]], &[]);
    assert_eq!(map.doors(Protocol::Tcp, 7000), DoorSet(0b11));
    assert_eq!(map.doors(Protocol::Udp, 7000), DoorSet(0));
    assert_eq!(map.doors(Protocol::Udp, 8000), DoorSet(0b01));
    let (set, doors) = (DoorSet(1 << 63 | 0b101), [DoorId(0), DoorId(2), DoorId(63)]);
    assert_eq!(set.iter().collect::<Vec<_>>(), doors);
    assert_eq!((0..64).map(DoorId).filter(|door| set.contains(*door)).collect::<Vec<_>>(), doors);
}

#[test]
fn traps_lie_on_both_sides_of_each_step_of_their_protocol() {
    let map = map(&[&["7000", "8000", "9000:udp"]], &[]);
    for (protocol, port) in [(Protocol::Tcp, 7000), (Protocol::Tcp, 8000), (Protocol::Udp, 9000)] {
        assert!(map.is_trap(protocol, port - 1) && map.is_trap(protocol, port + 1));
        assert!(!map.is_trap(protocol, port));
    }
    assert!(!map.is_trap(Protocol::Udp, 7001) && !map.is_trap(Protocol::Tcp, 9001));
    let total = count(&map, Protocol::Tcp) + count(&map, Protocol::Udp);
    assert!((400..=TRAP_PORTS).contains(&total), "{total}");
    assert_eq!(map.traps(Protocol::Tcp).len(), 4, "ranges stay few: cheap in the kernel filter");
}

#[test]
fn steps_and_excepted_ports_are_no_traps() {
    let never = [
        ProtocolPorts { protocol: Protocol::Tcp, ports: PortRange::new(7010, 7020).unwrap() },
        ProtocolPorts { protocol: Protocol::Udp, ports: PortRange::new(7001, 7001).unwrap() },
    ];
    let map = map(&[&["7000", "7001"], &["7002"]], &never);
    for port in [7000, 7001, 7002, 7010, 7015, 7020] {
        assert!(!map.is_trap(Protocol::Tcp, port), "{port}");
    }
    for port in [6999, 7003, 7009, 7021] {
        assert!(map.is_trap(Protocol::Tcp, port), "{port}");
    }
}

#[test]
fn scattered_traps_lie_everywhere_but_where_they_must_not() {
    let doors = [door(&["7000", "8000:udp"])];
    let never = [ProtocolPorts { protocol: Protocol::Tcp, ports: PortRange::new(20_000, 40_000).unwrap() }];
    let mut total = 0;
    for random in 0..200_u32 {
        let scattered = Scattered::new(random.wrapping_mul(2_654_435_761));
        let mut map = PortMap::new();
        map.draw((0..).map(DoorId).zip(&doors), &never, Some(scattered)).unwrap();
        assert!((20_000..=40_000).chain([7000]).all(|port| !map.is_scattered(port)));
        let count = (1..=u16::MAX).filter(|port| map.is_scattered(*port)).count();
        total += count;
        let udp_only = [door(&["8000:udp"])];
        map.draw((0..).map(DoorId).zip(&udp_only), &[], Some(scattered)).unwrap();
        assert!(map.scattered().is_none());
    }
    // 45,000 ports, of which one in 128: 355.
    assert!((300..400).contains(&(total / 200)), "{total}");
}

#[test]
fn the_ends_of_the_port_range() {
    let map = map(&[&["1", "65535"]], &[]);
    assert!(!map.is_trap(Protocol::Tcp, 0) && !map.is_trap(Protocol::Tcp, 1));
    assert!(map.is_trap(Protocol::Tcp, 2) && map.is_trap(Protocol::Tcp, 65534));
    assert_eq!(step("65535").port.get(), u16::MAX);
}

#[test]
fn the_fullest_configuration_still_has_traps_everywhere() {
    let port = |n: usize| (100 + n * 120).to_string();
    let names: Vec<String> = (0..MAX_PORTS).map(port).collect();
    let doors: Vec<Vec<&str>> =
        names.chunks(MAX_PORTS / MAX_DOORS).map(|chunk| chunk.iter().map(String::as_str).collect()).collect();
    let sequences: Vec<&[&str]> = doors.iter().map(Vec::as_slice).collect();
    let map = map(&sequences, &[]);
    for name in &names {
        let port: u16 = name.parse().unwrap();
        assert!(map.is_trap(Protocol::Tcp, port - 1) && map.is_trap(Protocol::Tcp, port + 1), "{port}");
    }
}

#[test]
fn one_port_too_many_is_an_error() {
    let steps: Vec<Vec<String>> =
        (0..=MAX_PORTS / 32).map(|door| (0..32).map(|n| (1 + door * 32 + n).to_string()).collect()).collect();
    let doors: Vec<_> =
        steps.iter().map(|steps| door(&steps.iter().map(String::as_str).collect::<Vec<_>>())).collect();
    let draw = |doors: &[DoorKnock]| PortMap::new().draw((0..).map(DoorId).zip(doors), &[], None);
    assert_eq!(draw(&doors[..MAX_PORTS / 32]), Ok(()));
    assert_eq!(draw(&doors), Err(TooManyPorts));
}
