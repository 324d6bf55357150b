//! One knock: a SYN, or a datagram.
//!
//! Each knock has a socket of its own. So the source ports differ, and no daemon takes the second of two knocks at one
//! port for a retransmission of the first.
//!
//! A TCP knock must be a single SYN. If no answer comes, because a firewall drops the SYN, the system sends it again
//! after a second (RFC 6298, section 2). By then later knocks have been sent, and daemons such as knockd reset the
//! attempt. So the socket is closed earlier:
//!
//! - on Linux: at once, without waiting for an answer. A port that answers gets a reset.
//! - on other systems: when the port has answered, or after `PATIENCE`. Closing earlier may discard the SYN. A port that
//!   answers sees a connection that is closed as usual.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::thread;
use std::time::{Duration, Instant};

use super::socket::{self, KnockSource};
pub use crate::protocol::Protocol;

/// The time to wait for the answer to a TCP knock, on systems where that is needed. It is long enough to find the next
/// hop's link-layer address and send the SYN, and well below the second after which the SYN would be sent again.
#[cfg(any(test, not(target_os = "linux")))]
const PATIENCE: Duration = Duration::from_millis(100);

/// The payload of a UDP knock, the same as knock(1)'s.
const DATAGRAM: [u8; 1] = [0];

/// A text that is not a port, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAPort(pub String);

impl fmt::Display for NotAPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no port: a number from 1 to 65535, then ':tcp', ':udp' or nothing", self.0)
    }
}

/// One knock of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knock {
    /// The protocol.
    pub(crate) protocol: Protocol,
    /// The port, 1 to 65535.
    pub(crate) port: NonZeroU16,
}

impl Knock {
    /// Reads `PORT[:tcp|:udp]`, in either case, as in the configuration. With `udp` it is always a UDP knock, as in
    /// knock(1).
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

    /// Reads steps separated by commas, as in configurations and profiles.
    ///
    /// # Errors
    /// The first [`NotAPort`].
    pub fn parse_list(text: &str, udp: bool) -> Result<Vec<Self>, NotAPort> {
        text.split(',').map(|step| Self::parse(step, udp)).collect()
    }

    /// The address and port of this knock at a host.
    pub fn address(self, mut target: SocketAddr) -> SocketAddr {
        target.set_port(self.port.get());
        target
    }

    /// Sends the knock. An answer of the host does not matter.
    ///
    /// # Errors
    /// Errors of this system: it has no route to the address, or its own firewall forbids the datagram.
    pub fn send(self, target: SocketAddr, source: Option<&KnockSource>) -> io::Result<()> {
        let address = self.address(target);
        match self.protocol {
            Protocol::Udp => socket::datagrams(address, source)?.send(&DATAGRAM).map(drop),
            #[cfg(target_os = "linux")]
            Protocol::Tcp => socket::send_syn(address, source),
            #[cfg(not(target_os = "linux"))]
            Protocol::Tcp => connect_briefly(address, source),
        }
    }
}

/// Knocks at every target. Each knock is sent to all targets before the next one, which follows after `delay`. `say`
/// is called with each knock. A target that a knock cannot be sent to gets no further ones, because a sequence with a
/// gap opens nothing.
///
/// # Errors
/// Why the first target was dropped, if none is left; or the error of `say`.
pub fn at_all(
    targets: &[SocketAddr],
    knocks: &[Knock],
    delay: Duration,
    source: Option<&KnockSource>,
    say: impl Fn(&str) -> Result<(), String>,
) -> Result<(), String> {
    let (mut left, mut failed) = (targets.to_vec(), None);
    let mut last: Option<Instant> = None;
    for knock in knocks {
        if let Some(last) = last {
            thread::sleep(delay.saturating_sub(last.elapsed()));
        }
        last = Some(Instant::now());
        let mut reached = Vec::with_capacity(left.len());
        for target in left {
            let address = knock.address(target);
            say(&format!("hitting {} {address}", knock.protocol))?;
            match knock.send(target, source) {
                Ok(()) => reached.push(target),
                Err(error) => {
                    failed.get_or_insert(format!("cannot knock at {} {address}: {error}", knock.protocol));
                }
            }
        }
        left = reached;
        if left.is_empty() {
            break;
        }
    }
    match failed {
        Some(error) if left.is_empty() => Err(error),
        _ => Ok(()),
    }
}

/// Sends a TCP knock and waits for the answer.
#[cfg(any(test, not(target_os = "linux")))]
fn connect_briefly(address: SocketAddr, source: Option<&KnockSource>) -> io::Result<()> {
    use io::ErrorKind as Kind;
    // An ICMP error in answer to the SYN looks like an error of this system. So the route is checked first.
    socket::datagrams(address, source)?;
    match socket::connect(address, source, PATIENCE) {
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

    /// Linux has its own way, which tests/client/main.rs tests. This tests the way of other systems.
    #[test]
    fn by_waiting_an_open_port_is_met_and_a_closed_one_is_no_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        connect_briefly(address, None).expect("open");
        listener.accept().expect("the knock");
        drop(listener);
        connect_briefly(address, None).expect("closed");
    }

    #[test]
    fn by_waiting_no_way_is_a_failure() {
        let nowhere = "255.255.255.255:7000".parse().expect("address");
        connect_briefly(nowhere, None).expect_err("a broadcast address");
    }
}
