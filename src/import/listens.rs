//! The settings of a knockd.conf that hold for all its doors: the devices and addresses that knockd listens on.

use std::net::IpAddr;

use super::host::Host;
use super::outcome::Note;
use super::part::{KnockdSection, KnockdValue, is_on, without_comment};
use super::write::NewSection;
use crate::config::device::{is_alias, is_name, meant};

/// The file's settings about devices.
pub(super) struct Listens {
    /// The device, if the file names exactly one.
    pub(super) only_device: Option<String>,
    /// The address that the doors are knocked at, because the device is an alias, and the line of the device.
    pub(super) target: Option<(IpAddr, usize)>,
    /// Why no door may be enabled: the file's device cannot be carried over.
    pub(super) shut: Option<String>,
}

/// Reads `[options]`.
pub(super) fn own_options(
    globals: &mut NewSection,
    own: &[KnockdSection],
    host: &dyn Host,
    notes: &mut Vec<Note>,
) -> Listens {
    let mut device: Option<KnockdValue<'_>> = None;
    let mut disabled = None;
    for entry in own.iter().flat_map(|part| &part.entries) {
        match (entry.key.as_str(), entry.value.as_deref()) {
            ("enabled", Some(value)) if !is_on(value) => {
                disabled = Some(format!("line {}: the file says enabled {value}", entry.line));
                notes.push(Note::new(entry.line, "the doors are shut, because this line disables knockd"));
            }
            // ketukd always logs to syslog, and a file is in use unless it says otherwise.
            ("usesyslog", _) | ("enabled", Some(_)) => {}
            ("logfile", Some(path)) => globals.option(entry.line, "log_file", path),
            ("interface", Some(value)) => match device {
                None => device = Some((value, entry.line)),
                Some((_, line)) => notes.push(Note::new(
                    entry.line,
                    format!("interface is left out: line {line} names the first one, which counts"),
                )),
            },
            ("pidfile", _) => notes.push(Note::new(
                entry.line,
                "PidFile is left out: ketukd runs in the foreground, so the service manager knows its process",
            )),
            _ => notes.push(unknown(&entry.key, entry.value.as_deref(), entry.line)),
        }
    }
    let unreadable = own.iter().find_map(|part| part.unreadable);
    let mut shut = unreadable.map(|line| format!("line {line} cannot be read")).or(disabled);
    let (mut devices, mut target) = (Vec::new(), None);
    if let Some((value, line)) = device.filter(|(value, _)| !value.is_empty()) {
        let pieces = || without_comment(value).split([',', ' ', '\t']).filter(|piece| !piece.is_empty());
        for written in pieces() {
            let name = if is_name(written) { Some(written) } else { meant(written) };
            let Some(name) = name else {
                notes.push(Note::new(
                    line,
                    format!("interface '{written}' is left out: no device has such a name"),
                ));
                continue;
            };
            // knockd hears knocks at the alias's address only.
            let is_one = is_alias(written) && pieces().count() == 1;
            target = if is_one { host.alias(written) } else { None };
            if let Some(address) = target {
                let has = "as their target, unless they have another";
                notes.push(Note::new(
                    line,
                    format!(
                        "'{written}' is an alias of device {name}: the doors have its address {address} {has}"
                    ),
                ));
            } else if is_alias(written) {
                shut = Some(format!("'{written}' is an alias: give it the alias's address as target"));
                notes.push(Note::new(
                    line,
                    format!(
                        "'{written}' is an alias of device {name}: the doors are shut until each has the alias's address \
                         as target"
                    ),
                ));
            } else if name != written {
                notes.push(Note::new(line, format!("interface '{written}' is taken for device {name}")));
            }
            globals.list(line, "device", name);
            devices.push(name.to_owned());
        }
        if devices.is_empty() {
            shut = Some(format!("line {line} names no device"));
        }
    } else {
        globals.comment("No Interface was given: it listens on every device, or on what --device says.");
    }
    let only_device = devices.pop().filter(|_| devices.is_empty());
    Listens { only_device, target: target.zip(device.map(|(_, line)| line)), shut }
}

/// The note about an option that knockd does not have.
pub(super) fn unknown(key: &str, value: Option<&str>, line: usize) -> Note {
    Note::new(
        line,
        match value {
            Some(_) => format!("{key} is left out: knockd has no such option"),
            None => format!("'{key}' is left out: it has no value"),
        },
    )
}
