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
//! - elsewhere: when the port has answered, or after `PATIENCE`. A socket that is closed before may take its SYN along. A port
//!   that does answer sees a connection that is closed as usual.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::thread;
use std::time::{Duration, Instant};

use super::socket::{self, Source};
pub use crate::protocol::Protocol;

/// How long a TCP knock waits for an answer, where it must: enough for the next hop's link-layer address to be
/// found and the SYN to leave, and well below the second after which it would be sent again.
#[cfg(any(test, not(target_os = "linux")))]
const PATIENCE: Duration = Duration::from_millis(100);

/// What a UDP knock carries, as knock(1)'s does.
const DATAGRAM: [u8; 1] = [0];

/// A text that names no port, as it was written.
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
    /// What to knock with.
    pub protocol: Protocol,
    /// Where, 1 to 65535.
    pub port: NonZeroU16,
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

    /// Reads steps with commas between them, as configurations and profiles have them.
    ///
    /// # Errors
    /// The first [`NotAPort`].
    pub fn parse_list(text: &str, udp: bool) -> Result<Vec<Self>, NotAPort> {
        text.split(',').map(|step| Self::parse(step, udp)).collect()
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
    pub fn send(self, target: SocketAddr, source: Option<&Source>) -> io::Result<()> {
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

/// Knocks at every target, at all of them with each knock before the next, which comes `delay` later. `say` is told each. A target that a
/// knock cannot be sent to is left out from then on: what comes after a gap opens nothing.
///
/// # Errors
/// Why the first target was left out, if none is left; or what `say` says.
pub fn at_all(
    targets: &[SocketAddr],
    knocks: &[Knock],
    delay: Duration,
    source: Option<&Source>,
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

/// A TCP knock that waits for the answer.
#[cfg(any(test, not(target_os = "linux")))]
fn connect_briefly(address: SocketAddr, source: Option<&Source>) -> io::Result<()> {
    use io::ErrorKind as Kind;
    // An ICMP error that answers the SYN reads like one of this system's own; so ask for the way first.
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

    /// Linux has its own way, which tests/client.rs tests; this is the other systems'.
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
