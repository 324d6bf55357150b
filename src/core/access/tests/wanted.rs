//! The doors that a user's knock asks for.

use core::net::Ipv4Addr;

use ketuk_protocol::fwknop::{self, Nat};
use ketuk_protocol::packet::DoorName;
use ketuk_protocol::secret::Secret;

use super::*;
use crate::auth::{UserRequest, Wanted};
use crate::ports::PortRange;
use crate::sequence::{Protocol, Step};

const fn ports<const FIRST: u16, const LAST: u16>() -> &'static [PortRange] {
    const { &[PortRange::new(FIRST, LAST).unwrap()] }
}

const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
const INNER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// The router, as the client knows it.
const OUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

/// All doors are alice's.
struct OwnedDoors {
    doors: Vec<DoorRules<'static>>,
    require_address: bool,
}

impl Policy for OwnedDoors {
    fn door(&self, id: DoorId) -> Option<DoorRules<'_>> {
        self.doors.get(id.index()).copied()
    }

    fn name(&self, _: DoorId) -> Option<&str> {
        None
    }

    fn find(&self, name: &str) -> Option<DoorId> {
        (name == "ssh").then_some(SSH)
    }

    fn user(&self, id: UserId) -> Option<UserRules<'_>> {
        let doors = DoorSet(u64::MAX);
        (id == ALICE).then_some(UserRules {
            doors,
            require_address: self.require_address,
            ..UserRules::default()
        })
    }
}

fn doors() -> OwnedDoors {
    let rules = DoorRules {
        src: &[],
        hours: None,
        closes: None,
        prefix: GrantPrefix::default(),
        open_time: None,
        max_time: None,
        close: Close::Timeout,
        is_momentary: false,
        is_one_time: false,
        opening: None,
        any_port: &[],
        fwknop_port: None,
    };
    let opens = |protocols, dest_port, forward| DoorRules {
        opening: Some(OpeningRules { protocols, dest_port, forward }),
        ..rules
    };
    let (tcp, udp) = (&[Protocol::Tcp], &[Protocol::Udp]);
    let any = const { &[ProtocolPorts { protocol: Protocol::Tcp, ports: ports::<1000, 2000>()[0] }] };
    let doors = vec![
        opens(tcp, ports::<22, 22>(), None),
        opens(tcp, ports::<443, 443>(), Some((ports::<8443, 8443>(), const { &[IpAddr::V4(INNER)] }))),
        opens(udp, ports::<6000, 6010>(), Some((ports::<6000, 6010>(), const { &[IpAddr::V4(INNER)] }))),
        DoorRules { fwknop_port: Some(step(Protocol::Tcp, 8080)), ..rules },
        DoorRules { any_port: any, ..rules },
        opens(tcp, ports::<80, 80>(), Some((ports::<8081, 8081>(), &[ROUTER]))),
        opens(
            tcp,
            ports::<81, 81>(),
            Some((ports::<8082, 8082>(), const { &[IpAddr::V4(Ipv4Addr::LOCALHOST)] })),
        ),
    ];
    OwnedDoors { doors, require_address: false }
}

fn step(protocol: Protocol, port: u16) -> Step {
    Step { protocol, port: port.try_into().unwrap() }
}

fn request(wanted: Wanted) -> UserRequest {
    UserRequest { user: ALICE, time: 0, address: None, seconds: None, wanted }
}

/// What a fwknop client asks for.
fn asked(access: &str, nat: Option<Nat>) -> UserRequest {
    let key = |text: &[u8]| Secret::new(text).unwrap();
    let keys = fwknop::FwknopKeys {
        key: key(b"a key"),
        hmac_key: Secret::new(b"another").unwrap(),
        hmac: fwknop::HmacType::Sha256,
    };
    let wish = fwknop::Wish { user: "alice", time: 0, address: None, access, nat: None, seconds: 0 };
    let mut buffer = fwknop::empty_buffer();
    let randomness = fwknop::Randomness { number: 0, salt: [0; 8] };
    let packet = fwknop::seal(&keys, &wish, randomness, &mut buffer).unwrap();
    let mut asked = fwknop::open(&keys, None, packet).unwrap();
    asked.nat = nat;
    request(Wanted::Ports(asked))
}

#[test]
fn a_port_leads_to_the_door_that_opens_it() {
    let nat = |host, port| Some(Nat { host, port, local: false });
    let local = |host, port| Some(Nat { host: Some(host), port, local: true });
    let stranger = Some(Ipv4Addr::new(192, 168, 1, 11));
    for (access, nat, door) in [
        ("tcp/22", None, Some(0)),
        ("udp/22", None, None),
        ("tcp/23", None, None),
        // `--nat-local` to the same port is plain access.
        ("tcp/22", local(OUTER, 22), Some(0)),
        ("tcp/22", local(OUTER, 23), None),
        ("tcp/23", local(OUTER, 23), None),
        ("tcp/22", nat(Some(OUTER), 22), None),
        // A forward: the door knows where it leads, and another target is refused.
        ("tcp/8443", None, Some(1)),
        ("tcp/443", None, None),
        ("tcp/8443", nat(Some(INNER), 443), Some(1)),
        ("tcp/8443", nat(None, 443), Some(1)),
        ("tcp/8443", nat(stranger, 443), None),
        ("tcp/8443", nat(Some(INNER), 444), None),
        ("tcp/8443", local(OUTER, 443), None),
        ("tcp/443", nat(Some(INNER), 443), None),
        // Each port keeps its number.
        ("udp/6003", nat(Some(INNER), 6003), Some(2)),
        ("udp/6003", nat(Some(INNER), 6004), None),
        // A door that only runs commands.
        ("tcp/8080", None, Some(3)),
        ("udp/8080", None, None),
        ("tcp/8079", None, None),
        ("tcp/8080", nat(Some(INNER), 8080), None),
        // Forwards to the router itself, whose address the client knows as another.
        ("tcp/8081", local(OUTER, 80), Some(5)),
        ("tcp/8082", local(OUTER, 81), Some(6)),
        ("tcp/8081", nat(Some(OUTER), 80), None),
        // A door that opens any port, to which no port leads.
        ("tcp/1500", None, Some(4)),
        ("tcp/1500", local(OUTER, 1500), Some(4)),
        ("tcp/1500", local(OUTER, 1501), None),
        ("tcp/1500", nat(Some(OUTER), 1500), None),
        ("udp/1500", None, None),
        ("tcp/2001", None, None),
    ] {
        let found = requests(&doors(), &[ROUTER], ip(CLIENT), &asked(access, nat));
        let port = (door == Some(4)).then_some(step(Protocol::Tcp, 1500));
        let expected = door.map(|door| (DoorId(door), port)).ok_or(Refusal::Door);
        let found = found.map(|found| {
            assert_eq!(found.len(), 1);
            (found[0].door, found[0].port)
        });
        assert_eq!(found, expected, "{access} {nat:?}");
    }
}

#[test]
fn all_doors_open_or_none() {
    let doors_of = |access| {
        let found = requests(&doors(), &[], ip(CLIENT), &asked(access, None));
        found.map(|found| found.iter().map(|request| request.door.0).collect::<Vec<_>>())
    };
    assert_eq!(doors_of("tcp/22,tcp/8443,tcp/22"), Ok(vec![0, 1]));
    assert_eq!(doors_of("tcp/1500,tcp/1501"), Ok(vec![4, 4]));
    assert_eq!(doors_of("tcp/22,tcp/23"), Err(Refusal::Door));
}

#[test]
fn a_request_names_the_sender_the_address_and_at_most_a_month() {
    let ssh = UserRequest {
        seconds: Some(u32::MAX),
        address: Some(ip(STRANGER)),
        ..request(Wanted::Named(DoorName::new("ssh").unwrap()))
    };
    let mut doors = doors();
    for require_address in [false, true] {
        doors.require_address = require_address;
        let found = requests(&doors, &[], ip(CLIENT), &ssh).unwrap();
        let expected = OpenRequest {
            opener: Opener::User(ALICE),
            door: SSH,
            sender: Some(ip(CLIENT)),
            address: ip(STRANGER),
            port: None,
            time: AskedTime::For(Duration::from_secs(2_678_400)),
        };
        assert_eq!(found[..], [expected]);
        let unnamed = requests(&doors, &[], ip(CLIENT), &UserRequest { address: None, ..ssh });
        match unnamed {
            Ok(found) => assert!(!require_address && found[0].address == ip(CLIENT)),
            Err(refusal) => assert!(require_address && refusal == Refusal::NoAddress),
        }
    }
    assert_eq!(
        requests(&doors, &[], ip(CLIENT), &UserRequest { user: BOB, ..ssh }),
        Err(Refusal::Door),
        "nobody"
    );
}
