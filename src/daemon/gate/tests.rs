//! Tests of what the gate does when the firewall refuses a change.

use std::net::IpAddr;

use super::*;
use crate::core::ports::{PortRange, ProtocolPorts};
use crate::core::sequence::Protocol;
use crate::firewall::nft::OpenedBy;

/// A door that opens ports.
fn door(name: &str) -> Rc<Door> {
    let any_port =
        vec![ProtocolPorts { protocol: Protocol::Tcp, ports: PortRange::new(22, 22).expect("a port") }];
    Rc::new(Door { any_port, ..Door::named(name) })
}

fn client(n: u8) -> Passage {
    IpAddr::from([198, 51, 100, n]).into()
}

#[test]
fn what_did_not_leave_the_firewall_is_tried_again_twice_a_second_until_it_left() {
    let mut gate = Gate::new(Backend::None, None);
    let (first, early) = (Instant::from_millis(2000), Instant::from_millis(1999));
    gate.leaving.add(&door("ssh"), client(1));
    gate.retry = Some(first);
    assert!(gate.is_anyone_leaving());
    assert_eq!(gate.next_deadline(), Some(first));
    assert!(!gate.retry(early), "it is not due");
    assert_eq!(gate.next_deadline(), Some(first));
    // This gate has no firewall, so nobody leaves it.
    assert!(gate.retry(first));
    let second = first.after(RETRY);
    assert_eq!(gate.next_deadline(), Some(second));
    gate.leaving.cancel("ssh", client(1));
    assert!(!gate.is_anyone_leaving());
    assert!(gate.retry(second.after(RETRY)), "a retry that is overdue");
    assert_eq!(gate.next_deadline(), None);
    assert!(!gate.retry(second.after(RETRY)));
}

#[test]
fn a_timer_that_runs_on_or_cannot_be_read_is_not_believed() {
    let (ssh, nas) = (door("ssh"), door("nas"));
    let leavers: Vec<Leaver> = [(&ssh, 1), (&ssh, 2), (&ssh, 3), (&nas, 1)]
        .map(|(door, n)| Leaver { door: Rc::clone(door), passage: client(n), is_timed_out: n != 3 })
        .into();
    let key = |door: &Rc<Door>, n| (Rc::as_ptr(door), client(n));
    let late_if = |fails: &str, error: &NftError| {
        late(&leavers, |door, _, each| {
            if door.name == fails {
                return Err(error.clone());
            }
            for (n, left) in [(1, Some(ABOUT_TO_END)), (2, Some(ABOUT_TO_END * 2)), (9, None)] {
                each(&Element { passage: client(n), timeout: None, left, note: OpenedBy::Knock.into() });
            }
            Ok(())
        })
    };
    assert_eq!(
        late_if("", &NftError::Silent),
        [key(&ssh, 2), key(&ssh, 9), key(&nas, 2), key(&nas, 9)],
        "these have time left"
    );
    assert_eq!(
        late_if("ssh", &NftError::Silent),
        [key(&ssh, 1), key(&ssh, 2), key(&nas, 2), key(&nas, 9)],
        "each address of the door whose set cannot be read"
    );
    let missing = NftError::MissingTable { table: "inet fw4".into() };
    assert_eq!(
        late_if("ssh", &missing),
        [key(&nas, 2), key(&nas, 9)],
        "nobody is in a set that is not there"
    );
}

#[test]
fn only_a_set_that_is_not_there_lets_nobody_in() {
    assert!(lets_nobody_in(&NftError::MissingTable { table: "inet fw4".into() }));
    for error in [NftError::Denied, NftError::Silent, NftError::Busy, NftError::Truncated] {
        assert!(!lets_nobody_in(&error), "{error}");
    }
}
