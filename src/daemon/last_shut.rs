//! The ports that the daemon's own table shut last. They are kept in a file, so that they are shut even if the daemon starts
//! with a wrong configuration. Without this file, a mistake in the configuration would open them to everybody at the next
//! boot.
//!
//! systemd names the folder (`StateDirectory=`); without systemd there is no file. It holds no sequences and no secrets.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use log::{error, warn};

use super::devices::ANY;
use super::systemd;
use crate::config::{self, Config, Door, LogLevel};
use crate::core::ports::ProtocolPorts;
use crate::firewall::own::{Own, Plan, table};
use crate::firewall::sets::Sets;
use crate::log as sinks;

/// The file, if systemd started the daemon.
pub(super) fn file() -> Option<PathBuf> {
    let folders = env::var_os("STATE_DIRECTORY")?;
    // Several folders are separated by colons.
    let first = folders.as_bytes().split(|byte| *byte == b':').next()?;
    (!first.is_empty()).then(|| Path::new(OsStr::from_bytes(first)).join("shut"))
}

/// Writes down the ports that the table shuts now. Without doors there is no file.
pub(super) fn keep<'d>(doors: impl Iterator<Item = &'d Door>, devices: &[String]) {
    let Some(file) = file() else { return };
    if let Err(error) = write(&file, &text(doors, devices)) {
        let advice = systemd::advice(&error, &file);
        warn!(
            "{}: {error}: after a boot with a wrong configuration the doors' ports would be open{advice}",
            file.display()
        );
    }
}

/// Shuts the ports of the last run, for a daemon that cannot start.
pub(super) fn shut() {
    let Some(file) = file() else { return };
    sinks::start(LogLevel::default());
    match load(&file) {
        Ok(doors) if doors.is_empty() => {}
        Ok(doors) => error!("the ports of {doors} are shut to everybody until ketukd can start"),
        Err(error) => error!("{}: {error}: the doors' ports may be open to everybody", file.display()),
    }
}

/// Loads the file into the table, unless the table is there. Returns the doors' names.
fn load(file: &Path) -> Result<String, String> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        text => text.map_err(|error| error.to_string())?,
    };
    let Config { doors, globals, .. } =
        config::parse("shut", text.as_bytes()).map_err(|error| error.to_string())?;
    let doors: Vec<&Door> = doors.iter().collect();
    let is_there = Sets::connect(table()).is_ok_and(|mut sets| matches!(sets.table_exists(), Ok(true)));
    if !is_there {
        let mut own = Own::connect().map_err(|error| error.to_string())?;
        let plan = Plan { doors: &doors, shut: Some(&globals.devices) };
        if !own.load(&plan).map_err(|error| error.to_string())? {
            return Err(
                "other programs changed the firewall each time that table inet ketuk was loaded".to_owned()
            );
        }
    }
    Ok(doors.iter().map(|door| format!("door '{}'", door.name)).collect::<Vec<_>>().join(", "))
}

/// The doors' ports, as a configuration.
fn text<'d>(doors: impl Iterator<Item = &'d Door>, devices: &[String]) -> String {
    let mut text = String::new();
    let written = doors.filter(|door| door.enabled && door.opens_ports()).try_for_each(|door| {
        writeln!(text, "config door '{}'", door.name)?;
        let Some(opening) = &door.opening else {
            writeln!(text, "\toption any_port '1'")?;
            let mut allowed = door.any_port.iter();
            return allowed.try_for_each(|ProtocolPorts { protocol, ports }| {
                writeln!(text, "\tlist allow_port '{protocol}/{ports}'")
            });
        };
        let protocols: String = opening.protocols.iter().map(ToString::to_string).collect();
        writeln!(text, "\toption proto '{protocols}'")?;
        for port in &opening.dest_port {
            writeln!(text, "\tlist dest_port '{port}'")?;
        }
        let Some(forward) = &opening.forward else { return Ok(()) };
        for port in &forward.src_dport {
            writeln!(text, "\tlist src_dport '{port}'")?;
        }
        forward.dest_ip.iter().try_for_each(|host| writeln!(text, "\tlist dest_ip '{host}'"))
    });
    written.expect("a String takes everything");
    if text.is_empty() {
        return text;
    }
    text.push_str("config globals\n");
    for device in devices.iter().filter(|device| *device != ANY) {
        writeln!(text, "\tlist device '{device}'").expect("a String takes everything");
    }
    text
}

/// Replaces the file if its text differs. An empty text removes the file.
fn write(file: &Path, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    if fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let new = file.with_extension("new");
    let mut written = fs::File::create(&new)?;
    written.write_all(text.as_bytes())?;
    // A power failure must not leave an empty file.
    written.sync_all()?;
    fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_file_shuts_the_same_ports() {
        let all = "
config globals
	list device 'wan0'
config door 'ssh'
	list sequence '7000'
	option proto 'tcp'
	option dest_port '22 8000-8010'
config door 'dns'
	list sequence '7000'
	option dest_port '53'
config door 'nas'
	list sequence '7000'
	option proto 'udp'
	option src_dport '8443'
	list dest_ip '192.168.1.10'
	list dest_ip '2001:db8:2::10'
	option dest_port '443'
config door 'same'
	list sequence '7000'
	option src_dport '27000-27010 27020'
	option dest_ip '192.168.1.10'
config door 'any'
	option any_port '1'
	list allow_port 'tcp/20-80'
	list allow_port '53:udp'
";
        let parse = |text: &str| config::parse("test", text.as_bytes()).expect("a configuration");
        let off = "config door 'off'\n\toption enabled '0'\n\tlist sequence '1'\n\toption dest_port '99'\n";
        let started = "config door 'runs'\n\tlist sequence '1'\n\toption start_command '/bin/true'\n";
        let config = parse(&[all, off, started].concat());
        let kept = parse(&text(config.doors.iter(), &config.globals.devices));
        let ports = |config: &Config| {
            let doors = config.doors.iter().filter(|door| door.enabled && door.opens_ports());
            doors
                .map(|door| (door.name.clone(), door.opening.clone(), door.any_port.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(ports(&kept), ports(&config));
        assert_eq!(ports(&kept).len(), 5);
        assert_eq!(kept.globals.devices, config.globals.devices);
        let everywhere = text(config.doors.iter(), &[ANY.to_owned()]);
        assert!(parse(&everywhere).globals.devices.is_empty(), "{everywhere}");
        for nothing in [off, started, ""] {
            assert_eq!(text(parse(nothing).doors.iter(), &["wan0".to_owned()]), "");
        }
    }

    #[test]
    fn the_file_is_replaced_only_if_its_text_differs() {
        let folder = env::temp_dir().join(format!("ketuk-shut-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("shut");
        let inode = || fs::metadata(&file).unwrap().ino();
        write(&file, "one").unwrap();
        let before = inode();
        // A link keeps the inode's number from being used again.
        fs::hard_link(&file, folder.join("old")).unwrap();
        write(&file, "one").unwrap();
        assert_eq!(inode(), before);
        write(&file, "two").unwrap();
        assert_ne!(inode(), before);
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        write(&file, "").unwrap();
        assert!(!file.exists());
        write(&file, "").unwrap();
        write(&folder, "").expect_err("it is no file");
        assert_eq!(load(&file), Ok(String::new()), "there is nothing to shut");
        load(&folder).expect_err("what cannot be read may have ports in it");
        fs::remove_dir_all(&folder).unwrap();
    }
}
