//! The host that an import runs on: its files and addresses, which an imported file may name.

use std::io;
use std::net::IpAddr;
use std::path::Path;

/// The answers of a host.
pub trait Host {
    /// Reads an included file.
    ///
    /// # Errors
    /// Those of open(2) and read(2).
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The one address that this host has under the name of an alias (`eth0:1`); `None` if it has none or several.
    fn alias(&self, name: &str) -> Option<IpAddr>;
}

/// A function that reads files is a host without aliases.
impl<R: Fn(&Path) -> io::Result<Vec<u8>>> Host for R {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self(path)
    }

    fn alias(&self, _: &str) -> Option<IpAddr> {
        None
    }
}
