//! Which devices to listen on, by name.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use log::warn;

use super::devices::ANY;
use super::start::Options;
use crate::config::Config;

/// Longest device file, in bytes: some room around [`crate::config::MAX_DEVICES`] names.
const MAX_DEVICE_FILE: u64 = 4096;

/// The devices to listen on: the command line's, the configuration's, or all.
pub(super) fn wanted(options: &Options, config: &Config) -> Vec<String> {
    let sources = [&options.devices, &config.globals.devices];
    let mut names = sources.into_iter().find(|names| !names.is_empty()).cloned().unwrap_or_default();
    if let Some(file) = &options.device_file {
        // Whoever writes it knows the devices of the networks; none is none yet, not all.
        names.clone_from(&options.devices);
        names.extend(listed_devices(file));
    } else if names.is_empty() {
        if !config.globals.networks.is_empty() {
            warn!("networks are resolved by the init script, with --device; listening on every device");
        }
        names.push(ANY.to_owned());
    }
    each_once(names)
}

/// The devices that `file` names.
fn listed_devices(file: &Path) -> Vec<String> {
    let mut text = String::new();
    let read = File::open(file).and_then(|opened| opened.take(MAX_DEVICE_FILE).read_to_string(&mut text));
    if let Err(error) = read {
        warn!("{}: {error}", file.display());
    }
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The names for a log line.
pub(super) fn shown(names: &[String]) -> String {
    if names.is_empty() { "no device before a network is up".to_owned() } else { names.join(", ") }
}

/// Two logical networks may share a device, which must not hear each packet twice.
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
        std::fs::write(&file, "eth1\n wwan0 \n\neth1\n").unwrap();
        let options = Options {
            config: "/nowhere".into(),
            devices: vec!["wwan0".to_owned()],
            device_file: Some(file.clone()),
            socket: "/nowhere".into(),
        };
        let names = wanted(&options, &crate::config::parse("test", b"").unwrap());
        std::fs::remove_file(&file).unwrap();
        assert_eq!(names, ["wwan0", "eth1"]);
    }
}
