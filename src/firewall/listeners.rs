//! The sockets on which this host's programs listen.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::core::sequence::Protocol;
use crate::linux::line_reader::LineReader;

/// The most sockets that are read. If a host has more, every port counts as listened on.
const MAX_SOCKETS: usize = 65_536;

/// The states of listening sockets, as /proc writes them: `TCP_LISTEN`, and `TCP_CLOSE` for an unconnected UDP socket.
const LISTENING: [(Protocol, &str); 2] = [(Protocol::Tcp, "0A"), (Protocol::Udp, "07")];

/// The sockets that answer strangers.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Protocol, address (unspecified means every address), port.
    sockets: Vec<(Protocol, IpAddr, u16)>,
    /// Whether some sockets could not be read.
    incomplete: bool,
}

impl Listeners {
    /// Reads the sockets from /proc/net.
    pub fn read() -> Self {
        let mut listeners = Self::default();
        for (protocol, state) in LISTENING {
            for version in ["", "6"] {
                match File::open(format!("/proc/net/{protocol}{version}")) {
                    Ok(file) => {
                        let lines = LineReader::new(file.into()).take(MAX_SOCKETS).map_while(Result::ok);
                        listeners.sockets.extend(lines.filter_map(|text| {
                            let socket = line(&text, state)?;
                            Some((protocol, socket.ip(), socket.port()))
                        }));
                    }
                    // A kernel without IPv6 has no such file.
                    Err(_) if version == "6" => {}
                    Err(_) => listeners.incomplete = true,
                }
            }
        }
        listeners
    }

    /// The ports that programs listen on, in the order of the kernel's list.
    pub fn ports(&self, protocol: Protocol) -> impl Iterator<Item = u16> {
        self.sockets.iter().filter(move |(found, ..)| *found == protocol).map(|(.., port)| *port)
    }

    /// Whether some sockets could not be read.
    pub const fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Whether a program listens on this port of this address. If sockets could not be read, the answer is yes.
    pub fn answers(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        self.incomplete
            || self.sockets.iter().any(|(found, at, listened)| {
                // An IPv6 socket for every address receives IPv4 too, unless it has the option IPV6_V6ONLY.
                let everywhere = at.is_unspecified() && (at.is_ipv6() || address.is_ipv4());
                *found == protocol && *listened == port && (everywhere || *at == address)
            })
    }
}

/// The address and port of a socket in this state.
fn line(text: &str, state: &str) -> Option<SocketAddr> {
    // sl local_address rem_address st ...:  0: 0100007F:0016 00000000:0000 0A
    let mut words = text.split_ascii_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    if words.nth(1)? != state {
        return None;
    }
    // The address is written in words of 32 bits, in the host's byte order.
    let words = address
        .as_bytes()
        .chunks(8)
        .map(|word| Some(u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes()));
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let address = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk()?)),
        16 => match Ipv6Addr::from(*bytes.first_chunk()?) {
            mapped if mapped.to_ipv4_mapped().is_some() => IpAddr::V4(mapped.to_ipv4_mapped()?),
            address => IpAddr::V6(address),
        },
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_proc() {
        let v4 = "   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0";
        assert_eq!(line(v4, "0A"), Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 22))));
        assert_eq!(line(v4, "07"), None);
        let v6 = "   1: 00000000000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 0 0";
        assert_eq!(line(v6, "0A"), Some(SocketAddr::from((Ipv6Addr::LOCALHOST, 443))));
        let mapped = v6.replacen("0000000001000000", "FFFF00000100007F", 1);
        assert_eq!(line(&mapped, "0A"), Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 443))));
        assert_eq!(line("  sl  local_address rem_address   st", "0A"), None);
    }

    #[test]
    fn a_socket_is_seen_by_those_whom_it_answers() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let listeners = Listeners::read();
        assert!(listeners.answers(Protocol::Tcp, "127.0.0.1".parse().unwrap(), port));
        assert!(!listeners.answers(Protocol::Tcp, "192.0.2.1".parse().unwrap(), port));
        assert!(!listeners.answers(Protocol::Udp, "127.0.0.1".parse().unwrap(), port));
        let everywhere = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = everywhere.local_addr().unwrap().port();
        let listeners = Listeners::read();
        assert!(listeners.answers(Protocol::Udp, "192.0.2.1".parse().unwrap(), port));
        assert!(!listeners.answers(Protocol::Udp, "2001:db8::1".parse().unwrap(), port));
    }
}
