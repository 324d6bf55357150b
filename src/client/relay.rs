//! Relays standard input and output to a connection, as `nc` does for ssh's `ProxyCommand`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use super::failure::ClientFailure;

/// Relays until the other side ends the connection. The end of standard input is passed on, and later output of the
/// other side is still written.
///
/// # Errors
/// The connection broke, or standard output is closed.
pub fn relay(connection: &TcpStream) -> Result<(), ClientFailure> {
    let failed = |error: io::Error| ClientFailure::failed(format!("the connection: {error}"));
    let mut outward = connection.try_clone().map_err(failed)?;
    // This thread may wait for standard input for ever. It ends with the program.
    thread::spawn(move || {
        let copied = copy(&mut io::stdin().lock(), &mut outward);
        let _ = outward.shutdown(if copied.is_ok() { Shutdown::Write } else { Shutdown::Both });
    });
    copy(&mut &*connection, &mut io::stdout().lock()).map_err(failed)
}

/// Copies each piece at once, because a person who types waits for the answer.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => {
                to.write_all(&buffer[..len])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
