//! A door whose knock shuts others: `option action 'close'` and `list door`.

use super::options::{SectionOptions, Text, nearest};
use super::value::{blanks, choice};
use crate::config::Door;
use crate::config::error::{Fault, quoted};
use crate::config::uci::Section;

/// The options that such a door may have: its knock, and limits on the knockers.
const ALLOWED: &[&str] = &[
    "enabled",
    "sequence",
    "seq_timeout",
    "tcpflags",
    "target",
    "trap_except",
    "src",
    "start_time",
    "stop_time",
    "weekdays",
    "action",
    "door",
];

/// The doors that this one closes; empty for a door that opens.
pub(super) fn read(options: &SectionOptions<'_>) -> Result<Vec<String>, Fault> {
    let closes = match options.one("action")? {
        Some(value) => choice(value, &[("open", false), ("close", true)])?,
        None => false,
    };
    let named = options.many("door", blanks)?;
    if !closes {
        return match named.first() {
            None => Ok(Vec::new()),
            Some(_) => Err(Fault::new(options.place("door"), "door without action 'close'")
                .help("a door that shuts others needs option action 'close'")),
        };
    }
    if let Some(other) = options.other_than(ALLOWED) {
        return Err(Fault::new(other.span, format!("{} in a door that closes others", quoted(&other.bytes)))
            .help("such a door only shuts others: this option belongs in the doors that it shuts"));
    }
    let mut doors: Vec<String> = Vec::new();
    for Text { text, .. } in &named {
        if !doors.iter().any(|door| door == text) {
            doors.push((*text).to_owned());
        }
    }
    if doors.is_empty() {
        return Err(Fault::new(options.place("action"), "action 'close' without a door")
            .help("name the doors to shut, for example: list door 'ssh'"));
    }
    Ok(doors)
}

/// Checks that each door to be closed exists.
pub(super) fn check(sections: &[Section], doors: &[Door]) -> Result<(), Fault> {
    for section in sections.iter().filter(|section| section.kind.bytes == b"door") {
        let options = SectionOptions::door(section)?;
        for name in options.many("door", blanks)? {
            let Some(door) = doors.iter().find(|door| door.name == name.text) else {
                let names: Vec<_> = doors.iter().map(|door| door.name.as_str()).collect();
                let fault = name.fault(format!("there is no door {}", name.quoted()));
                return Err(match nearest(name.text.as_bytes(), &names) {
                    Some(near) => fault.help(format!("did you mean '{near}'?")),
                    None => fault,
                });
            };
            if !door.closes.is_empty() {
                return Err(name.fault(format!("door {} opens nothing that could be shut", name.quoted())));
            }
        }
    }
    Ok(())
}
