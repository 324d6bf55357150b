//! The input of `iptables-restore --noflush` that makes or deletes the chains.

use std::fmt::Write as _;

use super::BUILT_IN;
use super::listing::Listing;
use crate::config::{Door, PortRange};
use crate::core::network::AddressFamily;
use crate::core::ports::ProtocolPorts;
use crate::core::sequence::Protocol;
use crate::firewall::iptables::{DNAT_FROM, OPENING, SHUTTING, port, ports};
use crate::firewall::own::{ANY, Plan};

/// The text that makes the chains. `is_first` empties the chains for knockers too.
pub(super) fn load(plan: &Plan<'_>, family: AddressFamily, before: &Listing, is_first: bool) -> String {
    let mut text = "*filter\n".to_owned();
    // With this line a chain is made, or emptied if it exists.
    for chain in SHUTTING {
        line(&mut text, format_args!(":{chain} - [0:0]"));
    }
    for chain in OPENING.into_iter().filter(|chain| is_first || !before.has(chain)) {
        line(&mut text, format_args!(":{chain} - [0:0]"));
    }
    for at in 0..SHUTTING.len() {
        if !before.is_entered(at) {
            delete_jumps(&mut text, before, SHUTTING[at]);
            line(&mut text, format_args!("-I {} 1 -j {}", BUILT_IN[at], SHUTTING[at]));
        }
        line(&mut text, format_args!("-A {} -j {}", SHUTTING[at], OPENING[at]));
    }
    for device in devices(plan.shut.unwrap_or(&[])) {
        for door in plan.openings() {
            Shut { text: &mut text, device: &device, door }.door(family);
        }
    }
    text.push_str("COMMIT\n");
    text
}

/// The text that deletes the chains; `None` if there are none.
pub(super) fn unload(before: &Listing) -> Option<String> {
    let chains: Vec<_> = SHUTTING.into_iter().chain(OPENING).filter(|chain| before.has(chain)).collect();
    if chains.is_empty() {
        return None;
    }
    let mut text = "*filter\n".to_owned();
    for chain in &chains {
        line(&mut text, format_args!("-F {chain}"));
    }
    for chain in &chains {
        delete_jumps(&mut text, before, chain);
    }
    for chain in &chains {
        line(&mut text, format_args!("-X {chain}"));
    }
    text.push_str("COMMIT\n");
    Some(text)
}

/// Deletes the rules of other chains that lead to one of the daemon's chains, which has been emptied.
fn delete_jumps(text: &mut String, before: &Listing, chain: &str) {
    for rule in before.jumps_to(chain) {
        let [_, from, rest @ ..] = &rule[..] else { continue };
        if SHUTTING.into_iter().chain(OPENING).any(|own| own == from) {
            continue;
        }
        let rest: Vec<_> = rest.iter().map(|word| quoted(word)).collect();
        line(text, format_args!("-D {from} {}", rest.join(" ")));
    }
}

/// A word as `iptables-restore` reads it.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The conditions on the device, one for each device that is listened on. If the devices are not known yet, the ports are
/// shut on all of them.
fn devices(names: &[String]) -> Vec<String> {
    if names.is_empty() || names.iter().any(|name| name == ANY) {
        return vec!["! -i lo".to_owned()];
    }
    names.iter().map(|name| format!("-i {}", quoted(name))).collect()
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes any text");
}

/// Writes the rules that shut a door's ports on one device.
struct Shut<'a> {
    text: &'a mut String,
    device: &'a str,
    door: &'a Door,
}

impl Shut<'_> {
    fn door(mut self, family: AddressFamily) {
        for ProtocolPorts { protocol, ports } in &self.door.any_port {
            self.here(*protocol, &[*ports]);
        }
        let Some(opening) = &self.door.opening else { return };
        for protocol in &opening.protocols {
            let Some(forward) = &opening.forward else {
                self.here(*protocol, &opening.dest_port);
                continue;
            };
            for host in forward.dest_ip.iter().filter(|host| AddressFamily::of(**host) == family) {
                for [option, list] in ports(&opening.dest_port) {
                    self.rule(
                        1,
                        *protocol,
                        format_args!("-d {host} {}", on_ports(*protocol, &option, &list)),
                    );
                }
            }
        }
    }

    /// Shuts ports of this host, and of a container that another rule translates them to.
    fn here(&mut self, protocol: Protocol, ranges: &[PortRange]) {
        for [option, list] in ports(ranges) {
            self.rule(0, protocol, format_args!("{}", on_ports(protocol, &option, &list)));
        }
        for range in ranges {
            self.rule(1, protocol, format_args!("{} {}", DNAT_FROM.join(" "), port(*range)));
        }
    }

    /// Drops packets that would begin a connection. For TCP these are SYNs, whatever connection tracking says. Tracking may
    /// have started only now, and does not know existing connections, which must go on.
    fn rule(&mut self, chain: usize, protocol: Protocol, to: std::fmt::Arguments<'_>) {
        let begins = match protocol {
            Protocol::Tcp => "-m tcp --tcp-flags SYN,ACK SYN",
            Protocol::Udp => "-m conntrack ! --ctstate RELATED,ESTABLISHED",
        };
        let (chain, device, door) = (SHUTTING[chain], self.device, &self.door.name);
        line(
            self.text,
            // The space after the colon distinguishes this comment from that of a rule for a knocker.
            format_args!(
                "-A {chain} {device} -p {protocol} {begins} {to} -m comment --comment \"ketuk: {door}\" -j DROP"
            ),
        );
    }
}

/// The condition on the ports.
fn on_ports(protocol: Protocol, option: &str, list: &str) -> String {
    match (option, protocol) {
        ("--dports", _) => format!("-m multiport --dports {list}"),
        // TCP's match is there already.
        (_, Protocol::Tcp) => format!("--dport {list}"),
        (_, Protocol::Udp) => format!("-m udp --dport {list}"),
    }
}
