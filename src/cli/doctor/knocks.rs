//! The points that the running daemon alone can tell about: its clock, and the knocks that it heard.

use std::net::IpAddr;

use super::finding::Finding;
use super::subject::Subject;
use crate::core::counters::CountedEvent;
use crate::core::network::Network;

/// Whether the time is known, which users' knocks need.
pub(super) fn clock(subject: &Subject<'_>) -> Vec<Finding> {
    let has_users = subject.config().map(|config| config.users.iter().any(|user| user.enabled));
    match (has_users, subject.status()) {
        (Ok(false), _) => Vec::new(),
        (Err(unknown), _) | (_, Err(unknown)) => unknown,
        (Ok(true), Ok(status)) if status.daemon().clock_trusted == Some(false) => vec![Finding::wrong(
            "the time is not known, and users' knocks are refused",
            "let NTP set the clock, or vouch for it with trust_clock '1'",
        )],
        (Ok(true), Ok(_)) => Vec::new(),
    }
}

/// Whether knocks arrive, and none is lost.
pub(super) fn heard(subject: &Subject<'_>) -> Vec<Finding> {
    let status = match subject.status() {
        Ok(status) => status,
        Err(unknown) => return unknown,
    };
    let (events, packets): (Vec<_>, Vec<_>) =
        status.counters().partition(|counter| CountedEvent::is_name(counter.name));
    let mut findings = Vec::new();
    if packets.iter().all(|counter| counter.value == 0) {
        findings.push(Finding::not_known(format!(
            "no knock has come in the {} s since the daemon's start: knock from outside, and look again",
            status.daemon().uptime_seconds
        )));
    }
    let count = |event: CountedEvent| {
        events.iter().find(|counter| counter.name == event.name()).map_or(0, |it| it.value)
    };
    let (lost, refused) = (count(CountedEvent::SocketDrops), count(CountedEvent::FirewallError));
    if lost > 0 {
        findings.push(Finding::wrong(
            format!("{lost} packets were lost before the daemon read them"),
            "a flood came, or this host is too busy: knock again when it is over",
        ));
    }
    if refused > 0 {
        findings.push(Finding::wrong(
            format!("the firewall refused {refused} changes since the daemon's start"),
            "the daemon's log says which",
        ));
    }
    findings
}

/// Why this address did not get in.
pub(super) fn from(subject: &Subject<'_>, from: IpAddr) -> Vec<Finding> {
    let status = match subject.status() {
        Ok(status) => status,
        Err(unknown) => return unknown,
    };
    let is_in = status.grants().any(|grant| grant.in_firewall && covers(grant.address, from));
    let judged: Vec<_> = status.recents().filter(|recent| recent.address.parse() == Ok(from)).collect();
    if judged.is_empty() && !is_in {
        return vec![Finding::wrong(
            format!("none of the daemon's recent knocks came from {from}"),
            "knock again and look at once: if nothing comes then, the name leads to another address, something on the way \
             drops the knocks, or a NAT sends them from another address ('ketukd watch' shows from which)",
        )];
    }
    let is_open = |door: &str| {
        status
            .grants()
            .any(|grant| grant.door == Some(door) && grant.in_firewall && covers(grant.address, from))
    };
    let not_in = judged.iter().filter(|recent| !recent.door.is_some_and(is_open));
    let findings = not_in.map(|recent| {
        let door = recent.door.map_or_else(String::new, |door| format!("door '{door}': "));
        let user = recent.user.map_or_else(String::new, |user| format!("user {user}: "));
        let times = if recent.times > 1 { format!(", {} times", recent.times) } else { String::new() };
        let advice = match (recent.failed, recent.stage < recent.steps) {
            (true, _) => "",
            (false, true) => "the next knock was not sent, or was lost on the way",
            (false, false) => "the door is shut again: knock once more",
        };
        Finding::wrong(
            format!("{door}{user}{} s ago, {}{times}", recent.seconds_ago, recent.sentence()),
            advice,
        )
    });
    findings.collect()
}

/// Whether a grant's address, or its network, has this address.
fn covers(granted: &str, address: IpAddr) -> bool {
    match granted.split_once('/') {
        None => granted.parse() == Ok(address),
        Some((network, bits)) => {
            let network = network.parse().ok().zip(bits.parse().ok());
            network
                .and_then(|(network, bits)| Network::of(network, bits))
                .is_some_and(|it| it.contains(address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_covers_its_addresses() {
        let covers = |granted| covers(granted, "198.51.100.7".parse().unwrap());
        assert!(covers("198.51.100.7") && covers("198.51.100.0/24"));
        assert!(
            !covers("198.51.100.8") && !covers("198.51.101.0/24") && !covers("nonsense/7") && !covers("::/0")
        );
    }
}
