//! The same sets and rules as the service's data, from which OpenWrt's fw4 makes its own: `ketukd ruleset --fw4`.
//!
//! The text is for the init script, which hands the objects to procd: a line for each option, `NAME VALUE`, and
//! an empty line after each object. Values have no line breaks. The options are those of /etc/config/firewall.

use core::fmt::{self, Write};
use core::net::IpAddr;

use crate::config::{Config, Door, Forward, Opening, PortRange};

use super::ruleset::{Zone, merged, openings, set};
use crate::core::network::AddressFamily;

/// Writes the objects of every enabled door that opens something: sets first, since fw4 wants to know a set
/// before the rules that use it.
///
/// # Errors
/// Only `out`'s own.
pub fn write(out: &mut impl Write, config: &Config, zone: Zone<'_>) -> fmt::Result {
    for (door, _) in openings(config) {
        for family in AddressFamily::ALL {
            // A timeout of 0 is "elements have timers, and there is no default".
            let name = set(door, family);
            let match_ = if name.is_of_networks() { "src_net" } else { "src_ip" };
            write!(out, "type ipset\nname {name}\nfamily {}\nmatch {match_}\ntimeout 0\n\n", word(family))?;
        }
    }
    for (door, opening) in openings(config) {
        for family in AddressFamily::ALL {
            let object = Object { door, opening, zone, family };
            match &opening.forward {
                None => object.local(out)?,
                Some(forward) => object.forward(out, forward)?,
            }
        }
    }
    Ok(())
}

/// What lets in who is in a door's set, for one family of addresses.
struct Object<'a> {
    door: &'a Door,
    opening: &'a Opening,
    zone: Zone<'a>,
    family: AddressFamily,
}

impl Object<'_> {
    /// A port of the router's own.
    fn local(&self, out: &mut impl Write) -> fmt::Result {
        self.begin(out, "rule")?;
        write!(out, "dest_port {}\ntarget ACCEPT\n\n", Ports(&merged(&self.opening.dest_port)))
    }

    /// A port of a host behind the router, in whichever zone that is. fw4 translates only IPv4; an IPv6
    /// host is let through to.
    fn forward(&self, out: &mut impl Write, forward: &Forward) -> fmt::Result {
        let same = forward.src_dport == self.opening.dest_port;
        for host in &forward.dest_ip {
            match (host, self.family) {
                // A redirect takes one range. Its reflection for the LAN would not ask the set.
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

    /// What all have in common.
    fn begin(&self, out: &mut impl Write, kind: &str) -> fmt::Result {
        let Self { door, opening, zone, family } = self;
        write!(out, "type {kind}\nname ketuk: {}\nsrc {zone}\nfamily {}\nproto", door.name, word(*family))?;
        opening.protocols.iter().try_for_each(|protocol| write!(out, " {protocol}"))?;
        write!(out, "\nipset {}\n", set(door, *family))
    }
}

/// Ports with blanks between them.
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
