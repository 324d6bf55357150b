//! A door that opens the port that a user asks for.

use super::*;
use crate::ports::PortRange;
use crate::sequence::{Protocol, Step};

fn port(protocol: Protocol, port: u16) -> Step {
    Step { protocol, port: port.try_into().unwrap() }
}

/// A door with `allow_port 'tcp/22-80'` and `allow_port 'udp/53'`.
fn house() -> House {
    let allow =
        |protocol, first, last| ProtocolPorts { protocol, ports: PortRange::new(first, last).unwrap() };
    House::with(|door| door.any_port = vec![allow(Protocol::Tcp, 22, 80), allow(Protocol::Udp, 53, 53)])
}

fn asks_for(opener: Opener, port: Option<Step>) -> OpenRequest {
    OpenRequest { port, ..asks(opener, CLIENT) }
}

#[test]
fn only_a_port_that_is_allowed_and_asked_for() {
    let alice = Opener::User(ALICE);
    for (asked, expected) in [
        (Some(port(Protocol::Tcp, 22)), None),
        (Some(port(Protocol::Tcp, 80)), None),
        (Some(port(Protocol::Udp, 53)), None),
        (Some(port(Protocol::Tcp, 81)), Some(Refusal::Door)),
        (Some(port(Protocol::Udp, 22)), Some(Refusal::Door)),
        (Some(port(Protocol::Tcp, 53)), None),
        (None, Some(Refusal::NoPort)),
    ] {
        empty(|access| match open(access, &at(0), &house(), &asks_for(alice, asked)) {
            Decision::Open(opening) => {
                assert_eq!((opening.port(), expected), (asked, None));
                assert!(access.grant(SSH, opening.passage()).is_some_and(Grant::is_in_firewall));
                assert!(access.grant(SSH, ip(CLIENT)).is_none(), "not for every port");
            }
            Decision::Refused(refusal) => assert_eq!(Some(refusal), expected, "{asked:?}"),
            other => panic!("{other:?}"),
        });
    }
    // The operator has no port to name.
    empty(|access| {
        let refused = open(access, &at(0), &house(), &asks_for(Opener::Hand, None));
        assert_eq!(refused, Decision::Refused(Refusal::NoPort));
    });
    // A door whose ports are fixed opens them, whatever is asked for.
    empty(|access| {
        let request = asks_for(alice, Some(port(Protocol::Tcp, 22)));
        let Decision::Open(opening) = open(access, &at(0), &House::new(), &request) else {
            panic!("refused")
        };
        assert_eq!(opening.port, None);
    });
}

#[test]
fn each_port_has_a_time_of_its_own() {
    empty(|access| {
        let (alice, house) = (Opener::User(ALICE), house());
        let [ssh, dns] = [port(Protocol::Tcp, 22), port(Protocol::Udp, 53)];
        open(access, &at(0), &house, &asks_for(alice, Some(ssh)));
        open(access, &at(20), &house, &asks_for(alice, Some(dns)));
        let Decision::Open(again) = open(access, &at(25), &house, &asks_for(alice, Some(dns))) else {
            panic!("not renewed")
        };
        assert!(!again.is_new);
        assert_eq!(access.grants().len(), 2);
        let Some(End::Shut { grant, cause: Cause::TimeOver }) = access.end_due(&at(30), &house) else {
            panic!("nothing ends")
        };
        assert_eq!(grant.port(), Some(ssh));
        assert_eq!(access.end_due(&at(54), &house), None);
        assert!(access.end_due(&at(55), &house).is_some());
    });
}

#[test]
fn closing_for_an_address_shuts_all_its_ports() {
    empty(|access| {
        let house = house();
        for number in 22..30 {
            open(access, &at(0), &house, &asks_for(Opener::User(ALICE), Some(port(Protocol::Tcp, number))));
        }
        assert_eq!(access.grants().len(), 8);
        let mut ended = 0;
        while access.end(SSH, Some(ip(CLIENT)), Cause::Hand).is_some() {
            ended += 1;
        }
        assert_eq!((ended, access.grants().len()), (8, 0));
    });
}
