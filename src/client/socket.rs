//! Sockets that knocks and connections leave from.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// The origin of knocks, if the system must not choose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnockSource {
    /// An address of this host. Only its address family is used.
    Address(IpAddr),
    /// A device by name. Only Linux and Android support this.
    Device(String),
}

impl KnockSource {
    /// Reads an address. Any other text is the name of a device.
    pub fn named(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Device(text.to_owned()), Self::Address)
    }

    /// Whether this address can be reached from the source.
    pub fn reaches(&self, to: &SocketAddr) -> bool {
        match self {
            Self::Address(from) => from.is_ipv4() == to.is_ipv4(),
            Self::Device(_) => true,
        }
    }
}

impl fmt::Display for KnockSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Device(name) => f.write_str(name),
        }
    }
}

/// A socket for `to`'s family that leaves from `source`.
fn socket(
    to: SocketAddr,
    kind: Type,
    protocol: Protocol,
    source: Option<&KnockSource>,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, Some(protocol))?;
    match source {
        None => {}
        Some(KnockSource::Address(address)) => socket.bind(&SocketAddr::new(*address, 0).into())?,
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Some(KnockSource::Device(name)) => socket.bind_device(Some(name.as_bytes()))?,
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        Some(KnockSource::Device(_)) => {
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
/// The system has no route, or the source does not exist. Nothing has been sent.
pub fn datagrams(to: SocketAddr, source: Option<&KnockSource>) -> io::Result<UdpSocket> {
    let socket = socket(to, Type::DGRAM, Protocol::UDP, source)?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Connects within `patience`.
///
/// # Errors
/// Those of [`TcpStream::connect_timeout`], or the source does not exist.
pub fn connect(to: SocketAddr, source: Option<&KnockSource>, patience: Duration) -> io::Result<TcpStream> {
    let socket = socket(to, Type::STREAM, Protocol::TCP, source)?;
    socket.connect_timeout(&to.into(), patience)?;
    Ok(socket.into())
}

/// Sends one SYN and closes the socket.
///
/// The connection is begun without blocking, and its socket is closed at once. The kernel sends the SYN before
/// `connect(2)` returns, or keeps it until the next hop's link-layer address is known. Only a socket has a timer that
/// would send the SYN again. If the port answers, the kernel sends a reset. Linger time 0 does the same for a
/// connection that was made before the close.
///
/// # Errors
/// Those of `socket(2)` and `connect(2)`, such as no route. An answer of the other side comes too late to be an error.
#[cfg(target_os = "linux")]
pub fn send_syn(to: SocketAddr, source: Option<&KnockSource>) -> io::Result<()> {
    let socket = socket(to, Type::STREAM, Protocol::TCP, source)?;
    socket.set_nonblocking(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&to.into()) {
        // `std` has no kind for `EINPROGRESS`.
        Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(()),
    }
}
