//! Recognises commands of iptables and ip6tables.

use std::net::IpAddr;

use super::{Deed, ForeignChain, ForeignFirewall, ForeignRule, ports, protocol_of};
use crate::core::network::AddressFamily;

/// The options that have been read.
#[derive(Default)]
struct Read {
    deletes: Option<bool>,
    nat: bool,
    chain: Option<String>,
    from_knocker: bool,
    protocol: Option<crate::core::sequence::Protocol>,
    ports: Option<Vec<crate::config::PortRange>>,
    device: Option<String>,
    host: Option<IpAddr>,
    accepts: bool,
    target: Option<(IpAddr, Option<u16>)>,
}

/// Reads a command that adds or deletes a rule for `%IP%`. `words` follow the program.
pub(super) fn read(family: AddressFamily, words: &[String]) -> Option<Deed> {
    let mut read = Read::default();
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        let number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        match word {
            "-w" | "--wait" => drop(words.next_if(number)),
            "-t" | "--table" => match words.next()? {
                "filter" => {}
                "nat" => read.nat = true,
                _ => return None,
            },
            "-A" | "--append" | "-I" | "--insert" | "-D" | "--delete" if read.deletes.is_none() => {
                read.chain = Some(words.next()?.to_owned());
                let deletes = matches!(word, "-D" | "--delete");
                read.deletes = Some(deletes);
                if !deletes {
                    // The place in the chain does not matter, because the door's own rule comes first.
                    words.next_if(number);
                }
            }
            "-s" | "--source" | "--src" if !read.from_knocker => {
                read.from_knocker = matches!(words.next()?, "%IP%" | "%IP%/32" | "%IP%/128");
                if !read.from_knocker {
                    return None;
                }
            }
            "-d" | "--destination" | "--dst" if read.host.is_none() => {
                let host = words.next()?;
                let host = host.strip_suffix("/32").or(host.strip_suffix("/128")).unwrap_or(host);
                read.host = Some(host.parse().ok()?);
            }
            "-p" | "--protocol" | "--proto" if read.protocol.is_none() => {
                read.protocol = Some(protocol_of(words.next()?)?);
            }
            "-m" | "--match" => {
                if !matches!(words.next()?, "tcp" | "udp" | "state" | "conntrack" | "comment" | "multiport") {
                    return None;
                }
            }
            "--dport" | "--dports" | "--destination-port" | "--destination-ports" if read.ports.is_none() => {
                read.ports = Some(ports::list(words.next()?, ':')?);
            }
            // Established connections are accepted in any case.
            "--state" | "--ctstate" => drop(words.next()?.split(',').find(|state| *state == "NEW")?),
            "--syn" if read.protocol == Some(crate::core::sequence::Protocol::Tcp) => {}
            "--comment" => drop(words.next()?),
            "-i" | "--in-interface" => read.device = Some(words.next()?.to_owned()),
            "-j" | "--jump" if !read.accepts && read.target.is_none() => match words.next()? {
                "ACCEPT" => read.accepts = true,
                "DNAT" => {
                    if !matches!(words.next()?, "--to-destination" | "--to") {
                        return None;
                    }
                    read.target = Some(target(words.next()?)?);
                }
                _ => return None,
            },
            _ => return None,
        }
    }
    read.deed(family)
}

impl Read {
    fn deed(self, family: AddressFamily) -> Option<Deed> {
        let chain = match (self.chain?.as_str(), self.nat, self.target) {
            ("INPUT" | "input_rule" | "input_wan_rule", false, None) if self.host.is_none() => {
                ForeignChain::Input
            }
            ("FORWARD" | "forwarding_rule" | "forwarding_wan_rule", false, None) => {
                ForeignChain::Forward(self.host)
            }
            ("PREROUTING" | "prerouting_rule" | "prerouting_wan_rule", true, Some((host, port)))
                if self.host.is_none() =>
            {
                ForeignChain::Dnat(host, port)
            }
            _ => return None,
        };
        if !self.from_knocker || self.accepts == matches!(chain, ForeignChain::Dnat(..)) {
            return None;
        }
        let rule = ForeignRule {
            program: ForeignFirewall::Iptables,
            chain,
            protocol: self.protocol?,
            ports: self.ports?,
            family,
            device: self.device,
        };
        Some(if self.deletes? { Deed::Shut(rule) } else { Deed::Open(rule) })
    }
}

/// Reads `192.168.1.10`, `192.168.1.10:80`, `[2001:db8::1]:80`.
fn target(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(host) = text.parse() {
        return Some((host, None));
    }
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host.parse().ok()?, Some(ports::port(port)?)))
}
