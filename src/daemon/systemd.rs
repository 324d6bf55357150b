//! Support for systemd: tells it that the daemon has started (`sd_notify(3)`), and explains file errors that the unit
//! may cause.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use log::warn;
use nix::errno::Errno;

/// The variable with the address of systemd's notification socket. It is absent elsewhere.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Tells systemd that the daemon has started.
pub(super) fn tell() {
    let Some(socket) = env::var_os(SOCKET) else { return };
    if let Err(error) = send(&socket, b"READY=1") {
        warn!("{SOCKET}={}: {error}: systemd does not learn that the daemon has started", socket.display());
    }
}

/// Advice to add to a message about a file. It is empty unless systemd started the daemon and its unit may forbid the
/// access.
pub(super) fn advice(error: &io::Error, file: &Path) -> String {
    // systemd sets this variable for every unit.
    if env::var_os("INVOCATION_ID").is_none() {
        return String::new();
    }
    let change = error.raw_os_error().and_then(|error| change(Errno::from_raw(error), file));
    change.map_or_else(String::new, |change| format!("; {change}"))
}

/// The advice for one error. The unit in the packages says `User=ketuk`, `ProtectSystem=strict`, `ProtectHome=yes`,
/// `PrivateTmp=yes`, `LogsDirectory=ketuk`, `StateDirectory=ketuk`.
fn change(error: Errno, file: &Path) -> Option<String> {
    let under = |folders: &[&str]| folders.iter().any(|folder| file.starts_with(folder));
    let drop_in = |lines: &str| format!("'systemctl edit ketukd' and write below [Service]: {lines}");
    match error {
        Errno::EROFS => {
            let folder = file.parent().unwrap_or(Path::new("/")).display();
            let drop_in = drop_in(&format!("ReadWritePaths={folder}"));
            Some(format!(
                "the unit lets the daemon write in /var/log/ketuk and /var/lib/ketuk only: move the file there, or {drop_in}"
            ))
        }
        Errno::EACCES | Errno::ENOENT if under(&["/home", "/root", "/run/user"]) => {
            Some(format!("the unit hides home directories: move the file, or {}", drop_in("ProtectHome=no")))
        }
        Errno::ENOENT if under(&["/tmp", "/var/tmp"]) => {
            Some(format!("the unit has a /tmp of its own: move the file, or {}", drop_in("PrivateTmp=no")))
        }
        Errno::EACCES | Errno::EPERM => {
            Some(format!("the unit runs the daemon as user ketuk: chown ketuk {}", file.display()))
        }
        _ => None,
    }
}

fn send(socket: &OsStr, message: &[u8]) -> io::Result<()> {
    // A name that begins with @ is no file. It is an abstract socket name of Linux.
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_to_be_changed_where_it_is_in_the_way() {
        for (error, file, expected) in [
            (Errno::EROFS, "/var/log/ketuk.log", Some("[Service]: ReadWritePaths=/var/log")),
            (Errno::EACCES, "/etc/ketuk.once", Some("chown ketuk /etc/ketuk.once")),
            (Errno::EACCES, "/home/a/log", Some("[Service]: ProtectHome=no")),
            (Errno::ENOENT, "/root/log", Some("[Service]: ProtectHome=no")),
            (Errno::ENOENT, "/tmp/log", Some("[Service]: PrivateTmp=no")),
            // In this case the unit is not the cause.
            (Errno::ENOENT, "/etc/ketuk.once", None),
            (Errno::ENOSPC, "/tmp/log", None),
        ] {
            let said = change(error, Path::new(file));
            let ends = said.as_deref().zip(expected).is_some_and(|(said, expected)| said.ends_with(expected));
            assert!(ends || said.as_deref() == expected, "{file}: {error}: {said:?}");
        }
    }

    #[test]
    fn systemd_is_told_by_a_file_or_an_abstract_name() {
        let file = env::temp_dir().join(format!("ketuk-ready-{}", std::process::id()));
        let name = format!("ketuk-ready-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).expect("a name");
        let sockets = [
            (file.clone().into_os_string(), UnixDatagram::bind(&file).expect("a socket")),
            (format!("@{name}").into(), UnixDatagram::bind_addr(&abstract_name).expect("a socket")),
        ];
        for (name, socket) in sockets {
            send(&name, b"READY=1").expect("sent");
            let mut buffer = [0; 16];
            let len = socket.recv(&mut buffer).expect("received");
            assert_eq!(&buffer[..len], b"READY=1", "{}", name.display());
        }
        std::fs::remove_file(file).expect("the socket");
        send(OsStr::new("/nonexistent/notify"), b"READY=1").expect_err("nobody listens");
    }
}
