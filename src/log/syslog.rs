//! syslog: the log daemon of this host.

use std::io::{self, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};

use super::level::Level;
use crate::core::time::Instant;
use crate::linux::clock;

/// Where local log daemons listen.
const SYSLOG: [&str; 2] = ["/dev/log", "/var/run/log"];

/// syslog's facility for daemons, as it stands in front of a line (RFC 3164, section 4.1.1).
const DAEMON: u8 = 3 << 3;

/// Milliseconds between two attempts to reach a missing syslog.
const SYSLOG_RETRY_MS: u64 = 5000;

/// The connection to the log daemon.
pub(super) enum Syslog {
    Datagrams(UnixDatagram),
    /// A log daemon that takes a stream, in which a zero ends each line.
    Stream(UnixStream),
    /// syslog is missing, and is not tried again before this moment.
    Lost(Instant),
}

impl Syslog {
    /// Not connected yet.
    pub(super) const NEW: Self = Self::Lost(Instant::from_millis(0));

    /// Whether syslog took the line.
    pub(super) fn write(&mut self, level: Level, line: &str) -> bool {
        if let Self::Lost(since) = self {
            if clock::now() < *since {
                return false;
            }
            *self = Self::connect().unwrap_or_else(|_| Self::retry());
        }
        // Without a time, because log daemons on the same host add their own.
        let line = format!("<{}>ketukd[{}]: {line}", DAEMON | level as u8, std::process::id());
        let written = match self {
            Self::Datagrams(socket) => socket.send(line.as_bytes()).map(drop),
            Self::Stream(socket) => socket.write_all(&[line.as_bytes(), b"\0"].concat()),
            Self::Lost(_) => return false,
        };
        if written.is_err() {
            *self = Self::retry();
        }
        written.is_ok()
    }

    /// Connects to the first log daemon that is there.
    fn connect() -> io::Result<Self> {
        let mut tried = SYSLOG.into_iter().map(Self::connect_to);
        let is_there = |tried: &io::Result<Self>| !matches!(tried, Err(error) if error.kind() == io::ErrorKind::NotFound);
        tried.find(is_there).unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }

    /// If the log daemon does not take a line at once, the line is lost, so that this daemon does not hang.
    fn connect_to(path: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match socket.connect(path) {
            Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
                let socket = UnixStream::connect(path)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Stream(socket))
            }
            connected => {
                connected?;
                socket.set_nonblocking(true)?;
                Ok(Self::Datagrams(socket))
            }
        }
    }

    fn retry() -> Self {
        Self::Lost(Instant::from_millis(clock::now().as_millis() + SYSLOG_RETRY_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_daemon_takes_datagrams_or_a_stream() {
        use std::io::Read as _;
        use std::os::unix::net::UnixListener;
        let folder = std::env::temp_dir().join(format!("ketuk-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (datagrams, stream) = (folder.join("datagrams"), folder.join("stream"));
        let daemon = UnixDatagram::bind(&datagrams).expect("a socket");
        let listener = UnixListener::bind(&stream).expect("a socket");
        let said = format!("<28>ketukd[{}]: it is late", std::process::id());

        let mut syslog = Syslog::connect_to(datagrams.to_str().expect("a plain path")).expect("connected");
        assert!(syslog.write(Level::Warn, "it is late"));
        let mut text = [0; 64];
        let len = daemon.recv(&mut text).expect("a line");
        assert_eq!(str::from_utf8(&text[..len]), Ok(&*said));

        let mut syslog = Syslog::connect_to(stream.to_str().expect("a plain path")).expect("connected");
        assert!(syslog.write(Level::Warn, "it is late"));
        drop(syslog);
        let mut text = String::new();
        listener.accept().expect("a client").0.read_to_string(&mut text).expect("a line");
        assert_eq!(text, said + "\0");

        drop(daemon);
        let gone = Syslog::connect_to(folder.join("nowhere").to_str().expect("a plain path"));
        assert!(gone.is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
        std::fs::remove_dir_all(&folder).expect("its own folder");
    }
}
