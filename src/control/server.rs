//! The daemon's end of the control socket.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, chown, geteuid};
use serde::Serialize;

use super::message::{ControlRequest, ErrorReply, MAX_LINE, MAX_REQUEST};
use super::{GROUP, group};
use crate::core::access::GrantPrefix;
use crate::core::limit::Limit;
use crate::core::time::Instant;
use crate::linux::peer::peer;

/// The most connections at one time. They come from administrators of the router, or from a page that polls.
pub const MAX_CLIENTS: usize = 8;
/// The most connections that watch. A watcher stays as long as it likes, so the other places are kept for requests.
pub const MAX_WATCHERS: usize = 4;
/// The most connections that one turn of the daemon's loop accepts. Others wait in the kernel for the next turn, so that a local
/// program that connects without end does not keep the daemon from its packets.
const MAX_ACCEPTED: usize = MAX_CLIENTS;
/// The time limit for a client to send its request.
pub const REQUEST_TIME: Duration = Duration::from_secs(2);
/// The most lines a second for a watcher. Nobody reads more, and writing them would cost more than the packets of a flood.
pub const WATCH_LINES_PER_SECOND: u32 = 200;
const WATCH_BURST: u32 = 400;

/// Bytes of an answer that are written at once. The kernel charges some hundred bytes for each write. With one write for each
/// line, a long status would not fit into the socket's buffer.
const CHUNK: usize = 4096;

/// The lines that a watcher wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchFilter {
    /// Lines about this door only.
    pub(crate) door: Option<String>,
    /// Lines about this address only.
    pub(crate) address: Option<IpAddr>,
    /// Whether it wants only events of doors, and no knocks.
    pub(crate) only_events: bool,
}

/// The door and the address that a line for watchers is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The door, if it is about one.
    pub(crate) door: Option<&'a str>,
    /// The address, or the first one of a network.
    pub(crate) address: IpAddr,
    /// The prefixes by which addresses are grouped into networks.
    pub(crate) prefix: GrantPrefix,
}

impl WatchFilter {
    fn wants(&self, kind: &str, about: &About<'_>) -> bool {
        let is_from = |address| address == about.address || about.prefix.group(address) == about.address;
        (kind == "event" || !self.only_events)
            && self.door.as_deref().is_none_or(|door| about.door == Some(door))
            && self.address.is_none_or(is_from)
    }
}

/// The listening socket and the connected clients.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    group: Option<Gid>,
    clients: Vec<Client>,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    request: heapless::Vec<u8, MAX_REQUEST>,
    /// The part of the answer that has not been written yet.
    answer: Vec<u8>,
    deadline: Option<Instant>,
    filter: WatchFilter,
    watch_limit: Limit,
}

/// Why the control socket could not be opened.
#[derive(Debug)]
pub enum ServerError {
    /// Another daemon uses the socket.
    InUse(PathBuf),
    /// The socket could not be made.
    Io(PathBuf, io::Error),
}

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "another ketukd answers at {}: stop it. Two can run at once only in two network namespaces, each with its own \
                 --socket",
                path.display()
            ),
            Self::Io(path, error) => {
                write!(f, "control socket {}: {error}: name another place with --socket PATH", path.display())
            }
        }
    }
}

impl Server {
    /// Makes the socket. It has its final mode from the first moment. A socket that a dead daemon left is replaced.
    ///
    /// # Errors
    /// A running daemon uses the socket, or the file system refuses.
    pub fn open(path: &Path) -> Result<Self, ServerError> {
        let failed = |error| ServerError::Io(path.to_owned(), error);
        Self::check_free(path)?;
        // A file of another kind is not removed, and then making the socket fails.
        if fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket()) {
            fs::remove_file(path).map_err(failed)?;
        }
        let group = group::find(GROUP);
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        let before = umask(Mode::from_bits_truncate(0o777 & !mode));
        let listener = UnixListener::bind(path);
        umask(before);
        let listener = listener.map_err(failed)?;
        if let Some(group) = group {
            chown(path, None, Some(group)).map_err(|errno| failed(errno.into()))?;
        }
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), group, clients: Vec::with_capacity(MAX_CLIENTS) })
    }

    /// Checks that no daemon answers at the path.
    ///
    /// # Errors
    /// A daemon answers.
    pub fn check_free(path: &Path) -> Result<(), ServerError> {
        match UnixStream::connect(path) {
            Ok(_) => Err(ServerError::InUse(path.to_owned())),
            Err(_) => Ok(()),
        }
    }

    /// The descriptors to poll for input: the listener, then each client.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd()).chain(self.clients.iter().map(|client| client.stream.as_fd()))
    }

    /// The next moment at which a client's time is over.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.clients.iter().filter_map(|client| client.deadline).min()
    }

    /// Whether a client watches.
    pub fn is_watched(&self) -> bool {
        self.clients.iter().any(Client::is_watching)
    }

    /// Accepts clients that may connect, at most `MAX_ACCEPTED`. Reads their requests, and returns the clients whose request is
    /// complete.
    pub fn receive(&mut self, now: Instant) -> Vec<Client> {
        for _ in 0..MAX_ACCEPTED {
            let Ok((stream, _)) = self.listener.accept() else { break };
            self.accept(now, stream);
        }
        let mut complete = Vec::new();
        let clients = std::mem::take(&mut self.clients);
        for mut client in clients {
            match client.read() {
                Progress::Complete => complete.push(client),
                Progress::Waiting if client.deadline.is_none_or(|deadline| now < deadline) => {
                    self.clients.push(client);
                }
                Progress::Waiting => client.refuse(1, "the request did not come in time"),
                Progress::TooLong => client.refuse(2, "the request is too long"),
                Progress::Gone => {}
            }
        }
        complete
    }

    /// Keeps a client that asked to watch, and tells it so. Refuses it if [`MAX_WATCHERS`] watch already.
    pub fn watch(&mut self, mut client: Client, filter: WatchFilter) {
        if self.clients.iter().filter(|client| client.is_watching()).count() >= MAX_WATCHERS {
            return client.refuse(1, "too many 'ketukd watch' run already: end one of them");
        }
        client.deadline = None;
        client.filter = filter;
        client.request.clear();
        if client.send(super::WATCHING, &()).and_then(|()| client.flush()).is_ok() {
            self.clients.push(client);
        }
    }

    /// Sends a line to every watcher that wants it. A watcher that does not read fast enough is dropped.
    pub fn tell(&mut self, now: Instant, kind: &str, about: &About<'_>, value: &impl Serialize) {
        self.clients.retain_mut(|client| {
            // Lines that a watcher did not ask for do not count in its limit, so a flood of knocks hides no event from it.
            let is_wanted = client.is_watching() && client.filter.wants(kind, about);
            let is_told = is_wanted && client.watch_limit.allow(now);
            !is_told || client.send(kind, value).and_then(|()| client.flush()).is_ok()
        });
    }

    fn accept(&mut self, now: Instant, stream: UnixStream) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let client = Client {
            stream,
            request: heapless::Vec::new(),
            answer: Vec::new(),
            deadline: Some(now.after(REQUEST_TIME)),
            filter: WatchFilter::default(),
            watch_limit: Limit::new(WATCH_LINES_PER_SECOND, WATCH_BURST),
        };
        let may = peer(&client.stream).is_ok_and(|peer| {
            peer.user == 0
                || peer.user == geteuid().as_raw()
                || self.group.is_some_and(|group| peer.groups.contains(&group.as_raw()))
        });
        if !may {
            client.refuse(1, "permission denied: only root and the members of group ketuk may ask");
        } else if self.clients.len() == MAX_CLIENTS {
            client.refuse(1, "too many connections, try again");
        } else {
            self.clients.push(client);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it fails, the next start replaces the socket.
        let _ = fs::remove_file(&self.path);
    }
}

enum Progress {
    Complete,
    Waiting,
    TooLong,
    Gone,
}

impl Client {
    /// The request, once [`Server::receive`] has returned the client.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Whether the client watches. Only watchers have no time limit.
    const fn is_watching(&self) -> bool {
        self.deadline.is_none()
    }

    /// Adds one line to the answer. The line is sent when the answer ends, or earlier.
    ///
    /// # Errors
    /// The client is gone or does not read. An answer fits into the socket's buffer, so the daemon does not wait.
    pub fn send(&mut self, kind: &str, value: &impl Serialize) -> io::Result<()> {
        let mut json = [0; MAX_LINE];
        // The line also has the word, the space and the newline.
        let len = serde_json_core::to_slice(value, &mut json[..MAX_LINE - kind.len() - 2])
            .map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        self.line(kind, &json[..len])
    }

    fn line(&mut self, kind: &str, json: &[u8]) -> io::Result<()> {
        for part in [kind.as_bytes(), b" ", json, b"\n"] {
            self.answer.extend_from_slice(part);
        }
        if self.answer.len() < CHUNK { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.stream.write_all(&self.answer);
        self.answer.clear();
        written
    }

    /// Ends the answer with `ok`.
    pub fn done(mut self) {
        // A client that does not wait for the answer does not need it.
        let _ = self.send("ok", &()).and_then(|()| self.flush());
    }

    /// Ends the answer with an error.
    pub fn refuse(mut self, code: u8, message: &str) {
        // JSON may take six bytes for one byte of the message.
        let fits = (0..=message.len().min(MAX_LINE / 2)).rev().find(|at| message.is_char_boundary(*at));
        let fits = fits.unwrap_or(0);
        let _ =
            self.send("error", &ErrorReply { code, message: &message[..fits] }).and_then(|()| self.flush());
    }

    fn read(&mut self) -> Progress {
        loop {
            let mut some = [0; MAX_REQUEST];
            match self.stream.read(&mut some) {
                Ok(0) => return Progress::Gone,
                Ok(len) => {
                    for byte in &some[..len] {
                        if *byte == b'\n' {
                            return Progress::Complete;
                        }
                        if self.request.push(*byte).is_err() {
                            return Progress::TooLong;
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Waiting,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Progress::Gone,
            }
        }
    }
}

/// Reads a request, or returns its fault.
///
/// # Errors
/// The sentence that the client gets.
pub fn parse(line: &[u8]) -> Result<ControlRequest<'_>, &'static str> {
    ControlRequest::parse(line)
        .map_err(|_| "this is not a request: send one line of JSON, with \"request\" and its arguments")
}

#[cfg(test)]
mod tests;
