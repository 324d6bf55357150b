//! Reads `fwknopd.conf`: the port, the age of packets and the device.

use std::ops::Range;

use super::lines::Lines;
use super::outcome::{Imported, Note};
use super::settings::{Setting, is_yes, key_and_value};
use super::write::{NewSection, settle};
use crate::config::device::{is_name, meant};

/// Reads a fwknopd.conf; `file` is its name, for the comments.
pub(super) fn import(file: &str, lines: &Lines, range: Range<usize>) -> Imported {
    let mut notes = Vec::new();
    let mut settings = Vec::new();
    for line in lines.get(range) {
        let content = line.text.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        match key_and_value(content).filter(|_| line.is_text) {
            Some((key, value)) => {
                settings.push(Setting { key: key.to_owned(), value: value.to_owned(), line: line.number });
            }
            None => notes.push(Note::new(line.number, "left out: it has no value, or is not UTF-8")),
        }
    }
    let mut globals = NewSection::new("globals", "globals", 1);
    globals.comment(&format!(
        "Made from {file} by 'ketukd import'. The users are in the access.conf beside it: import that too."
    ));
    globals.option(1, "enabled", "1");
    globals_of(&mut globals, &settings, true, &mut notes);
    let (uci, refused) = settle(&mut vec![globals]);
    notes.extend(refused);
    lines.imported(uci, notes)
}

/// These settings as `config globals`. `with_device` says whether the device counts.
pub(super) fn globals_of(
    globals: &mut NewSection,
    settings: &[Setting],
    with_device: bool,
    notes: &mut Vec<Note>,
) {
    let has = |key: &str| settings.iter().any(|setting| setting.key == key);
    let is_udp_server =
        settings.iter().any(|setting| setting.key == "ENABLE_UDP_SERVER" && is_yes(&setting.value));
    for Setting { key, value, line } in settings {
        let line = *line;
        let why = match key.as_str() {
            "PCAP_INTF" if !with_device => "the file names a network, which counts",
            "PCAP_INTF" => {
                let device = if is_name(value) { Some(value.as_str()) } else { meant(value) };
                match device {
                    Some(device) => {
                        globals.list(line, "device", device);
                        if device != value {
                            notes.push(Note::new(line, format!("'{value}' is taken for device {device}")));
                        }
                        continue;
                    }
                    None => "no device has such a name",
                }
            }
            // fwknopd either captures packets or receives them at a UDP socket.
            "UDPSERV_PORT" if !is_udp_server && has("PCAP_FILTER") => {
                "the port in PCAP_FILTER counts without ENABLE_UDP_SERVER"
            }
            "PCAP_FILTER" if is_udp_server && has("UDPSERV_PORT") => {
                "UDPSERV_PORT counts with ENABLE_UDP_SERVER"
            }
            "UDPSERV_PORT" => {
                globals.option(line, "spa_port", value.as_str());
                continue;
            }
            "PCAP_FILTER" => match value.strip_prefix("udp port ").map(str::trim) {
                Some(port) if port.parse::<std::num::NonZeroU16>().is_ok() => {
                    globals.option(line, "spa_port", port);
                    continue;
                }
                _ => "only 'udp port NUMBER' is carried over",
            },
            "MAX_SPA_PACKET_AGE" => {
                let age = super::part::atoi(value).clamp(5, 240);
                globals.option(line, "spa_max_age", age.to_string());
                if age.to_string() != *value {
                    notes
                        .push(Note::new(line, format!("{key} {value} is made {age}: it is from 5 to 240 s")));
                }
                continue;
            }
            "ENABLE_SPA_PACKET_AGING" | "ENABLE_DIGEST_PERSISTENCE" | "ENABLE_UDP_SERVER"
                if is_yes(value) =>
            {
                continue;
            }
            "ENABLE_SPA_PACKET_AGING" => "old packets are never taken",
            "ENABLE_DIGEST_PERSISTENCE" => "no packet is taken twice",
            "ENABLE_TCP_SERVER" | "ENABLE_SPA_OVER_HTTP" if !is_yes(value) => continue,
            "ENABLE_TCP_SERVER" | "TCPSERV_PORT" | "ENABLE_SPA_OVER_HTTP" => "packets come by UDP only",
            "ACCESS_FILE" => "import that file by itself",
            _ => "ketuk has nothing like it, or needs nothing like it",
        };
        notes.push(Note::new(line, format!("{key} is left out: {why}")));
    }
}
