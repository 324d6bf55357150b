//! The names of the devices to listen on.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use log::warn;

use super::devices::ANY;
use super::options::RunOptions;
use crate::config::{Config, device};

/// Largest device file, in bytes. It holds [`crate::config::MAX_DEVICES`] names with room to spare.
const MAX_DEVICE_FILE: u64 = 4096;

/// The devices to listen on. With a device file these are the devices in it and on the command line. Otherwise they are those
/// of the command line, or those of the configuration, or all. `open` opens the device file.
pub(super) fn wanted(
    options: &RunOptions,
    config: &Config,
    open: &dyn Fn(&Path) -> io::Result<File>,
) -> Vec<String> {
    let sources = [&options.devices, &config.globals.devices];
    let mut names = sources.into_iter().find(|names| !names.is_empty()).cloned().unwrap_or_default();
    if let Some(file) = &options.device_file {
        // The device file's writer knows the networks' devices. An empty file means that there is no device yet, not
        // all devices.
        names.clone_from(&options.devices);
        names.extend(listed_devices(file, open(file)));
    } else if names.is_empty() {
        if !config.globals.networks.is_empty() {
            warn!("networks are resolved by the init script, with --device; listening on every device");
        }
        names.push(ANY.to_owned());
    }
    each_once(names)
}

/// The devices that `file` names.
fn listed_devices(file: &Path, opened: io::Result<File>) -> Vec<String> {
    let mut text = String::new();
    let read = opened.and_then(|opened| opened.take(MAX_DEVICE_FILE).read_to_string(&mut text));
    if let Err(error) = read {
        warn!("{}: {error}", file.display());
    }
    let mut names = Vec::new();
    for name in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match device::fault(name) {
            None => names.push(name.to_owned()),
            Some(wrong) => warn!("{}: '{name}' {wrong}", file.display()),
        }
    }
    names
}

/// The names for a log line.
pub(super) fn shown(names: &[String]) -> String {
    if names.is_empty() { "no device before a network is up".to_owned() } else { names.join(", ") }
}

/// Removes duplicates. Two logical networks may share a device, and a packet must not be received twice.
fn each_once(names: Vec<String>) -> Vec<String> {
    let mut once = Vec::with_capacity(names.len());
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_of_two_networks_is_listened_on_once() {
        let file = std::env::temp_dir().join(format!("ketuk-names-{}", std::process::id()));
        std::fs::write(&file, "eth1\n wwan0 \n\neth1\neth2@eth1\n").unwrap();
        let options = RunOptions {
            config: "/nowhere".into(),
            devices: vec!["wwan0".to_owned()],
            device_file: Some(file.clone()),
            socket: "/nowhere".into(),
        };
        let names = wanted(&options, &crate::config::parse("test", b"").unwrap(), &|file| File::open(file));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(names, ["wwan0", "eth1"]);
    }
}
