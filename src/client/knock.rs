//! One knock: a SYN, or a datagram.
//!
//! Each has a socket of its own, so that the source ports differ and no daemon takes the second of two knocks
//! at one port for a retransmission of the first.
//!
//! A TCP knock is to be one SYN alone. If no answer comes, as from a firewall that drops, a system sends it
//! again after a second (RFC 6298, section 2), when later knocks have been made, and daemons such as knockd then
//! start afresh. So the socket is closed before that:
//!
//! - Linux: at once, without waiting for an answer. A port that does answer gets a reset.
//! - elsewhere: when the port has answered, or after `PATIENCE`. `std` cannot connect without waiting. A port
//!   that does answer sees a connection that is closed as usual.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;

pub use crate::protocol::Protocol;

/// How long a TCP knock waits for an answer, where it must: enough for the next hop's link-layer address to be
/// found and the SYN to leave, and well below the second after which it would be sent again.
#[cfg(any(test, not(target_os = "linux")))]
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(100);

/// What a UDP knock carries, as knock(1)'s does.
const DATAGRAM: [u8; 1] = [0];

/// One knock of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knock {
    /// What to knock with.
    pub protocol: Protocol,
    /// Where, 1 to 65535.
    pub port: NonZeroU16,
}

/// A text that names no port, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAPort(pub String);

impl fmt::Display for NotAPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no port: a number from 1 to 65535, then ':tcp', ':udp' or nothing", self.0)
    }
}

impl Knock {
    /// Reads `PORT[:tcp|:udp]`, the protocol in either case, as the configuration has it. With `udp` it is a UDP
    /// knock whatever the text says, as knock(1) has it.
    ///
    /// # Errors
    /// [`NotAPort`].
    pub fn parse(text: &str, udp: bool) -> Result<Self, NotAPort> {
        let error = || NotAPort(text.to_owned());
        let (port, protocol) = text.split_once(':').unwrap_or((text, "tcp"));
        let named = Protocol::named(protocol).ok_or_else(error)?;
        let protocol = if udp { Protocol::Udp } else { named };
        // `parse` would take a plus sign too.
        if port.starts_with('+') {
            return Err(error());
        }
        Ok(Self { protocol, port: port.parse().map_err(|_| error())? })
    }

    /// Where this knock goes at a host.
    pub fn address(self, mut target: SocketAddr) -> SocketAddr {
        target.set_port(self.port.get());
        target
    }

    /// Sends the knock. What the host answers, if it does, is no matter: it was knocked at.
    ///
    /// # Errors
    /// Those of this system: it has no way to the address, or a firewall of its own forbids the datagram.
    pub fn send(self, target: SocketAddr) -> io::Result<()> {
        let address = self.address(target);
        match self.protocol {
            Protocol::Udp => datagram_socket(address)?.send(&DATAGRAM).map(drop),
            #[cfg(target_os = "linux")]
            Protocol::Tcp => crate::linux::syn::send(address),
            #[cfg(not(target_os = "linux"))]
            Protocol::Tcp => connect_briefly(address),
        }
    }
}

/// A socket whose datagrams go to `address`. An error if the system knows no way there; nothing is sent yet.
fn datagram_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.connect(address)?;
    Ok(socket)
}

/// A TCP knock by means of `std` alone.
#[cfg(any(test, not(target_os = "linux")))]
fn connect_briefly(address: SocketAddr) -> io::Result<()> {
    use io::ErrorKind as Kind;
    // An ICMP error that answers the SYN reads like one of this system's own; so ask for the way first.
    datagram_socket(address)?;
    match std::net::TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            Kind::TimedOut
            | Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::PermissionDenied => Ok(()),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Linux has its own way, which tests/client.rs tests; this is the other systems'.
    #[test]
    fn by_std_alone_an_open_port_is_met_and_a_closed_one_is_no_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        connect_briefly(address).expect("open");
        listener.accept().expect("the knock");
        drop(listener);
        connect_briefly(address).expect("closed");
    }

    #[test]
    fn by_std_alone_no_way_is_a_failure() {
        let nowhere = "255.255.255.255:7000".parse().expect("address");
        connect_briefly(nowhere).expect_err("a broadcast address");
    }
}
