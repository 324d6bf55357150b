//! Sockets that knocks and connections leave from.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Where knocks come from, if that is not for the system to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An address of this host. Its family is the only one that is used.
    Address(IpAddr),
    /// A device, by name; on Linux and Android alone.
    Device(String),
}

impl Source {
    /// An address, or else the name of a device.
    pub fn named(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Device(text.to_owned()), Self::Address)
    }

    /// Whether something can be sent to this address from there.
    pub fn reaches(&self, to: &SocketAddr) -> bool {
        match self {
            Self::Address(from) => from.is_ipv4() == to.is_ipv4(),
            Self::Device(_) => true,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Device(name) => f.write_str(name),
        }
    }
}

/// A socket for `to`'s family that leaves from `source`.
fn socket(to: SocketAddr, kind: Type, protocol: Protocol, source: Option<&Source>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, Some(protocol))?;
    match source {
        None => {}
        Some(Source::Address(address)) => socket.bind(&SocketAddr::new(*address, 0).into())?,
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Some(Source::Device(name)) => socket.bind_device(Some(name.as_bytes()))?,
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        Some(Source::Device(_)) => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this system sends from addresses, not from devices: name an address of the device",
            ));
        }
    }
    Ok(socket)
}

/// A socket whose datagrams go to `to`.
///
/// # Errors
/// The system knows no way there, or the source is none. Nothing is sent yet.
pub fn datagrams(to: SocketAddr, source: Option<&Source>) -> io::Result<UdpSocket> {
    let socket = socket(to, Type::DGRAM, Protocol::UDP, source)?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Connects within `patience`.
///
/// # Errors
/// As [`TcpStream::connect_timeout`], or the source is none.
pub fn connect(to: SocketAddr, source: Option<&Source>, patience: Duration) -> io::Result<TcpStream> {
    let socket = socket(to, Type::STREAM, Protocol::TCP, source)?;
    socket.connect_timeout(&to.into(), patience)?;
    Ok(socket.into())
}

/// Sends one SYN and forgets it.
///
/// The connection is begun without blocking, and its socket is closed at once: the kernel sends the SYN before
/// `connect(2)` returns (or keeps it until the next hop's link-layer address is known, socket or no socket), and
/// only a socket has a timer that would send it again. If the port answers, the kernel resets what nobody
/// began; with no linger time that also goes for a connection that was made before the close.
///
/// # Errors
/// As `socket(2)` and `connect(2)`: no route and the like. Never an answer from the other side, which would come too late.
#[cfg(target_os = "linux")]
pub fn send_syn(to: SocketAddr, source: Option<&Source>) -> io::Result<()> {
    let socket = socket(to, Type::STREAM, Protocol::TCP, source)?;
    socket.set_nonblocking(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&to.into()) {
        // `EINPROGRESS`, which `std` has no kind for.
        Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(()),
    }
}
