//! The daemon's end of the control socket.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, chown, geteuid};
use serde::Serialize;

use super::message::{ErrorReply, MAX_LINE, MAX_REQUEST, Request};
use super::{GROUP, group};
use crate::core::limit::Limit;
use crate::core::time::Instant;
use crate::linux::peer::peer;

/// Most connections at one time. They come from administrators of the router, or from a page that polls.
pub const MAX_CLIENTS: usize = 8;
/// How long a client may take to send its request.
pub const REQUEST_TIME: Duration = Duration::from_secs(2);
/// Most lines a second for watchers, and most at once. More would be a flood that nobody reads, and writing it would
/// cost more than the flood itself.
pub const WATCH_LINES_PER_SECOND: u32 = 200;
const WATCH_BURST: u32 = 400;

/// Bytes of an answer that are written at once. The kernel adds some hundred bytes for each write, so a write for each line
/// would fill the socket's buffer long before the end of a long status.
const CHUNK: usize = 4096;

/// The listening socket and the connected clients.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    group: Option<Gid>,
    clients: Vec<Client>,
    watch_limit: Limit,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    request: heapless::Vec<u8, MAX_REQUEST>,
    /// The part of the answer that is still to be written.
    answer: Vec<u8>,
    deadline: Option<Instant>,
}

/// Why there is no control socket.
#[derive(Debug)]
pub enum ServerError {
    /// Another daemon uses it.
    InUse(PathBuf),
    /// It could not be made.
    Io(PathBuf, io::Error),
}

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "another ketukd answers at {}: stop it, or give this one its own --socket",
                path.display()
            ),
            Self::Io(path, error) => write!(f, "control socket {}: {error}", path.display()),
        }
    }
}

impl Server {
    /// Makes the socket, which has its final mode from the first moment. A socket that a dead daemon left is replaced.
    ///
    /// # Errors
    /// A running daemon uses the socket, or the file system refuses.
    pub fn open(path: &Path) -> Result<Self, ServerError> {
        let failed = |error| ServerError::Io(path.to_owned(), error);
        Self::check_free(path)?;
        // A file that is no socket is not ours, so it stays, and making the socket fails.
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
        Ok(Self {
            listener,
            path: path.to_owned(),
            group,
            clients: Vec::with_capacity(MAX_CLIENTS),
            watch_limit: Limit::new(WATCH_LINES_PER_SECOND, WATCH_BURST),
        })
    }

    /// Checks that no daemon answers there.
    ///
    /// # Errors
    /// One does.
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

    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.clients.iter().any(|client| client.deadline.is_none())
    }

    /// Accepts clients that are allowed, reads their requests, and returns the clients whose request is complete.
    pub fn receive(&mut self, now: Instant) -> Vec<Client> {
        while let Ok((stream, _)) = self.listener.accept() {
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

    /// Keeps a client that asked to watch.
    pub fn watch(&mut self, mut client: Client) {
        client.deadline = None;
        client.request.clear();
        self.clients.push(client);
    }

    /// Sends a line to every watcher. A watcher that does not read fast enough is dropped.
    pub fn tell(&mut self, now: Instant, kind: &str, value: &impl Serialize) {
        if !self.is_watched() || !self.watch_limit.allow(now) {
            return;
        }
        self.clients.retain_mut(|client| {
            client.deadline.is_some() || client.send(kind, value).and_then(|()| client.flush()).is_ok()
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

    /// Sends one line of an answer, at the latest when that is ended.
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

/// Reads a request, or says what is wrong with it.
///
/// # Errors
/// A sentence for the client.
pub fn parse(line: &[u8]) -> Result<Request<'_>, &'static str> {
    Request::parse(line).map_err(|_| "not a request: one line of JSON, with \"request\" and its arguments")
}
