//! The doors' sets and rules in the form of service data, from which OpenWrt's fw4 makes them: `ketukd ruleset --fw4`.
//!
//! The init script reads the text and hands the objects to procd. Each option is a line `NAME VALUE`; an empty line
//! ends an object. Values have no line breaks. The options are those of /etc/config/firewall.

use core::fmt::{self, Write};
use core::net::IpAddr;

use crate::config::{Config, Door, DoorPorts, Forward, PortRange};

use super::ruleset::{Zone, doors, merged, set};
use super::set_name::{SetKey, SetName};
use crate::core::network::AddressFamily;
use crate::core::sequence::Protocol;

/// Writes the objects of every enabled door that opens something. Sets come first, because fw4 must know a set before
/// the rules that use it.
///
/// # Errors
/// Only errors of `out`.
pub fn write(out: &mut impl Write, config: &Config, zone: Zone<'_>) -> fmt::Result {
    let each = || doors(config).flat_map(|door| AddressFamily::ALL.map(|family| (door, family)));
    for (door, family) in each() {
        let any_port = |protocol| SetName::of_protocol(door, family, protocol);
        let sets =
            if door.any_port.is_empty() { [Some(set(door, family)), None] } else { BOTH.map(any_port) };
        for name in sets.into_iter().flatten() {
            let match_ = match name.key() {
                SetKey::Network(_) => "src_net",
                SetKey::Address => "src_ip",
                SetKey::AddressPort(_) | SetKey::AddressProtocolPort => "src_ip dest_port",
            };
            // A timeout of 0 means that elements have timers but no default.
            write!(out, "type ipset\nname {name}\nfamily {}\nmatch {match_}\ntimeout 0\n\n", word(family))?;
        }
    }
    for (door, family) in each() {
        match &door.opening {
            None => any_port(out, door, zone, family)?,
            Some(opening) => {
                let object = Object { door, opening, zone, family };
                match &opening.forward {
                    None => object.local(out)?,
                    Some(forward) => object.forward(out, forward)?,
                }
            }
        }
    }
    Ok(())
}

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Writes one rule for each protocol, because fw4's sets can hold a port but no protocol.
fn any_port(out: &mut impl Write, door: &Door, zone: Zone<'_>, family: AddressFamily) -> fmt::Result {
    for protocol in BOTH {
        let Some(set) = SetName::of_protocol(door, family, protocol) else { continue };
        let (name, family) = (&door.name, word(family));
        writeln!(out, "type rule\nname ketuk: {name}\nsrc {zone}\nfamily {family}\nproto {protocol}")?;
        write!(out, "ipset {set}\ntarget ACCEPT\n\n")?;
    }
    Ok(())
}

/// The objects that let the addresses of a door's set in, for one address family.
struct Object<'a> {
    door: &'a Door,
    opening: &'a DoorPorts,
    zone: Zone<'a>,
    family: AddressFamily,
}

impl Object<'_> {
    /// The rule for a port of the router.
    fn local(&self, out: &mut impl Write) -> fmt::Result {
        self.begin(out, "rule")?;
        write!(out, "dest_port {}\ntarget ACCEPT\n\n", Ports(&merged(&self.opening.dest_port)))
    }

    /// The objects for a port of a host behind the router, in any zone. fw4 translates only IPv4. For IPv6 a rule lets
    /// packets through to the host.
    fn forward(&self, out: &mut impl Write, forward: &Forward) -> fmt::Result {
        let same = forward.src_dport == self.opening.dest_port;
        for host in &forward.dest_ip {
            match (host, self.family) {
                // A redirect takes one range. Its reflection for the LAN would not check the set.
                (IpAddr::V4(host), AddressFamily::V4) => {
                    for outside in &forward.src_dport {
                        self.begin(out, "redirect")?;
                        let inside = if same { &[*outside] } else { &self.opening.dest_port[..] };
                        let (outside, inside) = (Ports(&[*outside]), Ports(inside));
                        write!(out, "src_dport {outside}\ndest *\ndest_ip {host}\ndest_port {inside}\n")?;
                        out.write_str("target DNAT\nreflection 0\n\n")?;
                    }
                }
                (IpAddr::V6(host), AddressFamily::V6) => {
                    self.begin(out, "rule")?;
                    let ports = merged(&self.opening.dest_port);
                    write!(out, "dest *\ndest_ip {host}\ndest_port {}\ntarget ACCEPT\n\n", Ports(&ports))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The options that all objects have.
    fn begin(&self, out: &mut impl Write, kind: &str) -> fmt::Result {
        let Self { door, opening, zone, family } = self;
        write!(out, "type {kind}\nname ketuk: {}\nsrc {zone}\nfamily {}\nproto", door.name, word(*family))?;
        opening.protocols.iter().try_for_each(|protocol| write!(out, " {protocol}"))?;
        write!(out, "\nipset {}\n", set(door, *family))
    }
}

/// Ports, separated by blanks.
struct Ports<'a>(&'a [PortRange]);

impl fmt::Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(' ')?;
            }
            write!(f, "{one}")?;
        }
        Ok(())
    }
}

const fn word(family: AddressFamily) -> &'static str {
    match family {
        AddressFamily::V4 => "ipv4",
        AddressFamily::V6 => "ipv6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn text(uci: &str) -> String {
        let config = parse("test", uci.as_bytes()).expect("a right configuration");
        let mut text = String::new();
        write(&mut text, &config, Zone::WAN).expect("a string takes all");
        text
    }

    #[test]
    fn a_port_of_the_router() {
        let text = text(
            "config door 'ssh'\n list sequence '7000'\n option proto 'tcp'\n option dest_port '22 90-99 100'\n\
             config door 'off'\n option enabled '0'\n list sequence '1'\n option dest_port '1'\n\
             config door 'command'\n list sequence '7001'\n option start_command 'true'\n",
        );
        let expected = "\
type ipset
name ketuk_ssh_4
family ipv4
match src_ip
timeout 0

type ipset
name ketuk_ssh_6
family ipv6
match src_ip
timeout 0

type rule
name ketuk: ssh
src wan
family ipv4
proto tcp
ipset ketuk_ssh_4
dest_port 22 90-100
target ACCEPT

type rule
name ketuk: ssh
src wan
family ipv6
proto tcp
ipset ketuk_ssh_6
dest_port 22 90-100
target ACCEPT

";
        assert_eq!(text, expected);
    }

    #[test]
    fn any_port_has_sets_and_rules_for_each_protocol() {
        let text = text("config door 'any'\n option any_port '1'\n");
        assert_eq!(text.matches("type ipset").count(), 4);
        let set = "type ipset\nname ketuk_any_udp6\nfamily ipv6\nmatch src_ip dest_port\ntimeout 0\n\n";
        assert!(text.contains(set), "{text}");
        let rule = "type rule\nname ketuk: any\nsrc wan\nfamily ipv4\nproto tcp\nipset ketuk_any_tcp4\ntarget ACCEPT\n\n";
        assert!(text.contains(rule) && text.matches("type rule").count() == 4, "{text}");
    }

    #[test]
    fn forwards() {
        let text = text(
            "config door 'nas'\n list sequence '7000'\n option src_dport '8443 8080-8081'\n\
             list dest_ip '192.168.1.2'\n list dest_ip 'fd00:1::2'\n option dest_port '443'\n\
             config door 'games'\n list sequence '7001'\n option proto 'udp'\n option src_dport '27000-27031'\n\
             option dest_ip '192.168.1.3'\n",
        );
        let (_, rules) = text.split_once("type redirect").expect("a forward");
        let expected = "
name ketuk: nas
src wan
family ipv4
proto tcp udp
ipset ketuk_nas_4
src_dport 8443
dest *
dest_ip 192.168.1.2
dest_port 443
target DNAT
reflection 0

type redirect
name ketuk: nas
src wan
family ipv4
proto tcp udp
ipset ketuk_nas_4
src_dport 8080-8081
dest *
dest_ip 192.168.1.2
dest_port 443
target DNAT
reflection 0

type rule
name ketuk: nas
src wan
family ipv6
proto tcp udp
ipset ketuk_nas_6
dest *
dest_ip fd00:1::2
dest_port 443
target ACCEPT

type redirect
name ketuk: games
src wan
family ipv4
proto udp
ipset ketuk_games_4
src_dport 27000-27031
dest *
dest_ip 192.168.1.3
dest_port 27000-27031
target DNAT
reflection 0

";
        assert_eq!(rules, expected);
    }
}
