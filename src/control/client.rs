//! The client of the control socket, for the command line.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::message::{ControlRequest, MAX_REQUEST, Verb};
use crate::linux::line_reader::LineReader;
use crate::linux::peer;

/// The time limit for the daemon's answer. The daemon usually answers at once, but may be busy with the firewall.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The number of the daemon's process; `None` if this process cannot see it.
///
/// # Errors
/// The daemon cannot be reached.
pub fn process(socket: &Path) -> io::Result<Option<u32>> {
    peer::process(&UnixStream::connect(socket)?)
}

/// Sends a request and calls `each` with the word and the JSON of each line of the answer, until the answer ends or `each`
/// returns `false`.
///
/// # Errors
/// The daemon cannot be reached, or has ended.
pub fn ask(
    socket: &Path,
    request: &ControlRequest<'_>,
    each: &mut dyn FnMut(&str, &str) -> io::Result<bool>,
) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    if !matches!(request.request, Verb::Watch | Verb::Events) {
        stream.set_read_timeout(Some(ANSWER_TIME))?;
    }
    let mut line = [0; MAX_REQUEST];
    let len = serde_json_core::to_slice(request, &mut line)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the request is too long"))?;
    let request = [&line[..len], b"\n"].concat();
    match stream.write_all(&request) {
        // The daemon refused before it read the request. Its answer says why.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    for line in LineReader::new(stream.into()) {
        let line = line?;
        let (kind, json) = line.split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
        if !each(kind, json)? || kind == "ok" || kind == "error" {
            return Ok(());
        }
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon ended the connection"))
}
