//! The points about devices and addresses.

use std::net::IpAddr;

use super::finding::Finding;
use super::subject::Subject;
use crate::control::show::Status;
use crate::core::network::Network;
use crate::firewall::absent::NotShut;
use crate::firewall::backend;
use crate::firewall::own::ANY;
use crate::linux::links;
use crate::linux::upper::{NamedDevice, upper_of, with_uppers};

/// Whether each device is there, is up, hears its own packets, and is heard by the daemon.
pub(super) fn devices(subject: &Subject<'_>) -> Vec<Finding> {
    let devices = match subject.devices() {
        Ok([]) => {
            return vec![Finding::wrong("the daemon listens on no device", "check that the network is up")];
        }
        Ok(devices) => devices,
        Err(unknown) => return unknown,
    };
    let named = with_uppers(devices);
    let mut findings: Vec<_> =
        devices.iter().filter(|device| *device != ANY).filter_map(|device| at(device, &named)).collect();
    let shuts = subject.config.as_ref().is_ok_and(|config| backend::resolve(config).shuts());
    if let Some(not_shut) = shuts.then(|| NotShut::with(devices)).flatten() {
        findings.push(Finding::wrong(not_shut.to_string(), "'ip address' lists the devices"));
    }
    for device in subject.status.iter().flat_map(Status::devices) {
        if device.state == "refused" {
            findings.push(Finding::wrong(
                format!("the kernel refuses the packet filter of '{}'", device.name),
                "give it more room with 'sysctl -w net.core.optmem_max=131072'",
            ));
        }
    }
    findings
}

/// The fault of one of the devices.
fn at(device: &str, named: &[NamedDevice<'_>]) -> Option<Finding> {
    let Some(state) = links::state_of(device) else {
        return Some(Finding::wrong(
            format!("there is no device '{device}'"),
            "'ip link' lists the devices; the daemon listens as soon as it is there",
        ));
    };
    if !state.is_up {
        return Some(Finding::wrong(format!("'{device}' is down"), format!("run 'ip link set {device} up'")));
    }
    match upper_of(state.index) {
        Ok(upper) => {
            let upper = upper.filter(|upper| !upper.is_right_beside(named))?;
            Some(Finding::wrong(format!("'{device}' {}", upper.what()), upper.advice()))
        }
        Err(error) => Some(Finding::unreadable("whether it is a port of another device", &error)),
    }
}

/// Whether knocks from the Internet can arrive.
pub(super) fn addresses(subject: &Subject<'_>) -> Vec<Finding> {
    let addresses = match subject.addresses() {
        Ok(addresses) => addresses,
        Err(unknown) => return unknown,
    };
    let reach = |known: &(String, IpAddr)| Reach::of(known.1);
    if addresses.iter().all(|known| reach(known) == Reach::Link) {
        return vec![Finding::wrong(
            "the daemon listens on no device that has an address",
            "'ip address' shows them; does DHCP or the provider's login work?",
        )];
    }
    // If this host has IPv4, only IPv4 is judged. Behind a NAT knocks over IPv6 may still arrive, as the advice says.
    let v4: Vec<_> = addresses.iter().filter(|(_, address)| address.is_ipv4()).collect();
    let all: Vec<_> = if v4.is_empty() { addresses.iter().collect() } else { v4 };
    if all.iter().any(|known| reach(known) == Reach::Internet) {
        return Vec::new();
    }
    let Some((device, address)) = all.iter().find(|known| reach(known) != Reach::Link) else {
        return Vec::new();
    };
    vec![match Reach::of(*address) {
        Reach::Carrier => Finding::wrong(
            format!(
                "'{device}' has {address}, an address behind the provider's NAT, which knocks do not pass"
            ),
            "ask the provider for a public address, or knock over IPv6",
        ),
        _ => Finding::wrong(
            format!("'{device}' has {address}, a private address: a NAT is in front of it"),
            "forward the ports of the knocks and of the doors at the router in front, or knock over IPv6",
        ),
    }]
}

/// From where an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// From everywhere.
    Internet,
    /// From a private network.
    Private,
    /// From the provider's network only (RFC 6598).
    Carrier,
    /// From neighbours only.
    Link,
}

impl Reach {
    fn of(address: IpAddr) -> Self {
        let shared = Network::of(IpAddr::from([100, 64, 0, 0]), 10).expect("10 bits are fewer than 32");
        match address {
            _ if shared.contains(address) => Self::Carrier,
            _ if address.is_loopback() || address.is_unspecified() => Self::Link,
            IpAddr::V4(v4) if v4.is_link_local() => Self::Link,
            IpAddr::V4(v4) if v4.is_private() => Self::Private,
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Self::Link,
            IpAddr::V6(v6) if v6.is_unique_local() => Self::Private,
            _ => Self::Internet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_where_addresses_are_reached() {
        for (address, reach) in [
            ("203.0.113.1", Reach::Internet),
            ("192.168.1.1", Reach::Private),
            ("172.31.0.1", Reach::Private),
            ("172.32.0.1", Reach::Internet),
            ("100.64.0.1", Reach::Carrier),
            ("100.127.255.255", Reach::Carrier),
            ("100.128.0.1", Reach::Internet),
            ("169.254.1.1", Reach::Link),
            ("2001:db8::1", Reach::Internet),
            ("fd00::1", Reach::Private),
            ("fe80::1", Reach::Link),
        ] {
            assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
        }
    }
}
