//! `knockd.conf` of knockd 0.8, read as knockd reads it.
//!
//! Keys ignore case, section names do not; a comment is a whole line; a value is all behind the first `=`; of a
//! key that is written twice the last counts. What opens a port by a firewall command that is understood becomes
//! a door that opens it natively, what deletes the same becomes a door that shuts it; other commands stay.

use super::commands::{self, Program, Rule, Verb};
use super::write::{Section, settle};
use super::{ImportError, Imported, Warning};
use crate::config::{MAX_FILE, MAX_NAME};
use crate::core::door::MAX_DOORS;

/// knockd's `cmd_timeout` if it is not given, in seconds.
const CMD_TIMEOUT: &str = "10";

/// What the file's own section is called.
const OPTIONS: &str = "options";

/// Reads a knockd.conf; `file` is its name, for the comments.
///
/// # Errors
/// There is nothing to import.
pub fn import(file: &str, text: &[u8]) -> Result<Imported, ImportError> {
    if text.len() > MAX_FILE {
        return Err(ImportError::TooLarge);
    }
    let text = String::from_utf8_lossy(text);
    let mut warnings = Vec::new();
    let parts = parts(&text, &mut warnings);
    if parts.is_empty() {
        return Err(ImportError::NotKnockd);
    }
    let (own, doors): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.name == OPTIONS);
    let mut doors: Vec<KnockdDoor<'_>> = doors.into_iter().map(KnockdDoor::new).collect();
    let is_knocked = |door: &KnockdDoor<'_>| door.part.get(&["sequence", "one_time_sequences"]).is_some();
    for door in doors.extract_if(.., |door| !is_knocked(door)) {
        warnings.push(door.part.warning("left out: it has no sequence"));
    }
    for door in doors.drain(doors.len().min(MAX_DOORS)..) {
        warnings.push(door.part.warning(format!("left out: more than {MAX_DOORS} doors")));
    }
    name(&mut doors, &mut warnings);
    go_native(&mut doors);

    let mut globals = globals(file, &own, &mut warnings);
    backend(&mut globals, &doors);
    let closed = closed(&doors);
    let mut sections = vec![globals];
    for (door, closes) in doors.iter().zip(closed) {
        sections.push(door.section(&closes, &mut warnings));
    }
    let (uci, refused) = settle(&mut sections);
    warnings.extend(refused);
    warnings.sort_by_key(|warning| warning.line);
    Ok(Imported { uci, warnings })
}

/// A `[section]` and its lines.
#[derive(Debug)]
struct Part<'a> {
    name: &'a str,
    line: usize,
    entries: Vec<KnockdLine<'a>>,
}

/// `key = value`.
#[derive(Clone, Debug)]
struct KnockdLine<'a> {
    key: String,
    /// None for a word alone.
    value: Option<&'a str>,
    line: usize,
}

impl<'a> Part<'a> {
    /// The value of the first of these keys that is given, and its line. Of a key written twice the last counts.
    fn get(&self, keys: &[&str]) -> Option<(&'a str, usize)> {
        let entry = self.entries.iter().rev().find(|entry| keys.contains(&entry.key.as_str()))?;
        Some((entry.value?, entry.line))
    }

    fn warning(&self, message: impl std::fmt::Display) -> Warning {
        Warning { line: self.line, message: format!("[{}]: {message}", self.name) }
    }
}

fn parts<'a>(text: &'a str, warnings: &mut Vec<Warning>) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(name) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            parts.push(Part { name: name.trim(), line, entries: Vec::new() });
            continue;
        }
        let Some(part) = parts.last_mut() else {
            warnings
                .push(Warning { line, message: "left out: it stands before the first section".to_owned() });
            continue;
        };
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.trim(), Some(value.trim())),
            None => (text, None),
        };
        part.entries.push(KnockdLine { key: key.to_ascii_lowercase(), value, line });
    }
    parts
}

/// `[options]`.
fn globals(file: &str, own: &[Part<'_>], warnings: &mut Vec<Warning>) -> Section {
    let mut globals = Section::new("globals", "globals", own.first().map_or(1, |part| part.line));
    globals.comment(&format!("Made from {file} by 'ketukd import'."));
    globals.option(globals.line, "enabled", "1");
    for entry in own.iter().flat_map(|part| &part.entries) {
        match (entry.key.as_str(), entry.value) {
            // It always does.
            ("usesyslog", _) => {}
            ("logfile", Some(path)) => globals.option(entry.line, "log_file", path),
            ("interface", Some(device)) => globals.list(entry.line, "device", device),
            ("pidfile", _) => {
                let message =
                    "PidFile is left out: ketukd runs in the foreground, and whoever starts it knows";
                warnings.push(Warning { line: entry.line, message: message.to_owned() });
            }
            _ => warnings.push(unknown(entry)),
        }
    }
    if !globals.options.iter().any(|option| option.name == "device") {
        globals.comment("No Interface was given: it listens on every device, or on what --device says.");
    }
    globals
}

fn unknown(entry: &KnockdLine<'_>) -> Warning {
    let message = match entry.value {
        Some(_) => format!("{} is left out: knockd has no such option", entry.key),
        None => format!("'{}' is left out: it has no value", entry.key),
    };
    Warning { line: entry.line, message }
}

/// What opens natively needs a backend, and what only runs commands none.
fn backend(globals: &mut Section, doors: &[KnockdDoor<'_>]) {
    let line = globals.line;
    match doors.iter().find_map(|door| door.opens.as_ref()).map(|rule| &rule.program) {
        None => globals.option(line, "backend", "none"),
        Some(Program::Iptables) => {}
        Some(Program::Nft(table)) => {
            globals.option(line, "backend", "nft");
            globals.option(line, "nft_table", table.as_str());
            globals.comment("The sets and rules of the doors: ketukd ruleset --zone none | nft -f -");
        }
    }
}

/// A door and what is known of it.
#[derive(Debug)]
struct KnockdDoor<'a> {
    part: Part<'a>,
    /// Its name in UCI.
    name: String,
    /// What it opens without a command.
    opens: Option<Rule>,
}

impl<'a> KnockdDoor<'a> {
    fn new(part: Part<'a>) -> Self {
        Self { name: String::new(), opens: None, part }
    }

    fn start(&self) -> Option<(&'a str, usize)> {
        self.part.get(&["start_command", "command"])
    }

    fn start_6(&self) -> Option<(&'a str, usize)> {
        self.part.get(&["start_command_6", "command_6"])
    }

    fn stop(&self) -> Option<(&'a str, usize)> {
        self.part.get(&["stop_command"]).filter(|(command, _)| !command.is_empty())
    }

    /// What the door's commands open, if that is all they do, and shut again if they shut anything.
    fn rule(&self) -> Option<Rule> {
        let (start, _) = self.start()?;
        let (Verb::Open, rule) = commands::read(start)? else { return None };
        let undone = |command: &str| commands::undoes(command, &rule);
        if self.stop().is_some_and(|(stop, _)| !undone(stop)) {
            return None;
        }
        if let Some((start_6, _)) = self.start_6().filter(|(start_6, _)| !start_6.is_empty()) {
            commands::read(start_6).filter(|(verb, other)| *verb == Verb::Open && other.opens_as(&rule))?;
        }
        match self.part.get(&["stop_command_6"]) {
            Some((stop_6, _)) if !stop_6.is_empty() && !undone(stop_6) => None,
            _ => Some(rule),
        }
    }

    /// What its knock takes away again, if that is all it does.
    fn shuts(&self) -> Option<Rule> {
        let (start, _) = self.start()?;
        let (Verb::Shut, rule) = commands::read(start)? else { return None };
        let also = self.start_6().is_none_or(|(start_6, _)| {
            start_6.is_empty()
                || commands::read(start_6)
                    .is_some_and(|(verb, other)| verb == Verb::Shut && other.opens_as(&rule))
        });
        (also && self.stop().is_none()).then_some(rule)
    }

    /// The door in UCI; `closes` are the doors that its knock shuts.
    fn section(&self, closes: &[String], warnings: &mut Vec<Warning>) -> Section {
        let mut section = Section::new("door", &self.name, self.part.line);
        self.knock(&mut section);
        if let (Some(rule), Some((start, line))) = (&self.opens, self.start()) {
            self.native(&mut section, rule, (start, line), warnings);
        } else if let (false, Some((command, line))) = (closes.is_empty(), self.start()) {
            section.comment(&format!("[{}] shut it with: {command}", self.part.name));
            section.option(line, "action", "close");
            for door in closes {
                section.list(line, "door", door.as_str());
            }
        } else {
            self.commands(&mut section);
        }
        for entry in &self.part.entries {
            let known = [
                "sequence",
                "one_time_sequences",
                "seq_timeout",
                "timeout",
                "tcpflags",
                "target",
                "start_command",
                "command",
                "start_command_6",
                "command_6",
                "stop_command",
                "stop_command_6",
                "cmd_timeout",
            ];
            if entry.value.is_none() || !known.contains(&entry.key.as_str()) {
                warnings.push(unknown(entry));
            }
        }
        section
    }

    fn knock(&self, section: &mut Section) {
        if let Some((sequence, line)) = self.part.get(&["sequence"]) {
            sequence.split(',').for_each(|step| section.list(line, "sequence", step.trim()));
        }
        for (keys, option) in [
            (&["one_time_sequences"][..], "one_time_sequences"),
            (&["seq_timeout", "timeout"], "seq_timeout"),
            (&["tcpflags"], "tcpflags"),
            (&["target"], "target"),
        ] {
            if let Some((value, line)) = self.part.get(keys) {
                section.option(line, option, value);
            }
        }
    }

    /// What opens, and for how long.
    fn native(&self, section: &mut Section, rule: &Rule, start: (&str, usize), warnings: &mut Vec<Warning>) {
        let (command, line) = start;
        section.comment(&format!("[{}] opened it with: {command}", self.part.name));
        section.option(line, "proto", rule.protocol.to_string());
        for ports in &rule.ports {
            section.list(line, "dest_port", ports.to_string());
        }
        if let Some(("", line)) = self.start_6() {
            // An empty command for IPv6 says that nothing opens for it.
            section.list(line, "src", "0.0.0.0/0");
        }
        match self.stop() {
            // Without a command to shut it, knockd's door stays open.
            None => section.option(line, "open_time", "0"),
            Some((command, line)) => {
                section.comment(&format!("[{}] shut it with: {command}", self.part.name));
                let (time, line) = self.cmd_timeout().unwrap_or((CMD_TIMEOUT, line));
                section.option(line, "open_time", at_least_one(time, line, warnings));
            }
        }
        if let Some(device) = &rule.device {
            let message =
                format!("-i {device} is left out: the door opens wherever the firewall looks at its sets");
            warnings.push(Warning { line, message });
        }
    }

    /// The commands as they are.
    fn commands(&self, section: &mut Section) {
        for (command, option) in [
            (self.start(), "start_command"),
            (self.start_6(), "start_command_6"),
            (self.stop(), "stop_command"),
            (self.part.get(&["stop_command_6"]), "stop_command_6"),
        ] {
            let Some((command, line)) = command else { continue };
            // To UCI an empty value is one that is not given.
            section.option(line, option, if command.is_empty() { "none" } else { command });
        }
        if let Some((_, line)) = self.stop() {
            let (time, line) = self.cmd_timeout().unwrap_or((CMD_TIMEOUT, line));
            section.option(line, "cmd_timeout", at_least_one(time, line, &mut Vec::new()));
        }
    }

    fn cmd_timeout(&self) -> Option<(&'a str, usize)> {
        self.part.get(&["cmd_timeout"])
    }
}

/// To knockd no time is none at all, here it would be for ever.
fn at_least_one(time: &str, line: usize, warnings: &mut Vec<Warning>) -> String {
    if !time.is_empty() && time.bytes().all(|digit| digit == b'0') {
        warnings
            .push(Warning { line, message: "Cmd_Timeout 0 is made 1: 0 means until it is shut".to_owned() });
        return "1".to_owned();
    }
    time.to_owned()
}

/// Finds for each door a name that UCI takes and no other door has.
fn name(doors: &mut [KnockdDoor<'_>], warnings: &mut Vec<Warning>) {
    let mut taken: Vec<String> = vec!["globals".to_owned()];
    for door in doors {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let plain: String = door.part.name.chars().map(plain).take(MAX_NAME).collect();
        let plain = if plain.is_empty() { "door".to_owned() } else { plain };
        // Two digits do for the doors there can be.
        let numbered = (2..).map(|n| format!("{}_{n}", &plain[..plain.len().min(MAX_NAME - 3)]));
        let mut names = std::iter::once(plain.clone()).chain(numbered);
        door.name = names.find(|name| !taken.contains(name)).expect("there is always a next number");
        if door.name != door.part.name {
            warnings.push(door.part.warning(format!("the door is called '{}' now", door.name)));
        }
        taken.push(door.name.clone());
    }
}

/// Lets doors open by themselves what their commands open. One backend serves all, the first door's.
fn go_native(doors: &mut [KnockdDoor<'_>]) {
    let mut program: Option<Program> = None;
    for door in doors {
        let fits = |rule: &Rule| *program.get_or_insert_with(|| rule.program.clone()) == rule.program;
        door.opens = door.rule().filter(fits);
    }
}

/// For each door, the doors that its knock shuts.
fn closed(doors: &[KnockdDoor<'_>]) -> Vec<Vec<String>> {
    let closes = |door: &KnockdDoor<'_>| -> Vec<String> {
        let Some(shuts) = door.shuts() else { return Vec::new() };
        let opens = |other: &&KnockdDoor<'_>| other.opens.as_ref().is_some_and(|rule| rule.opens_as(&shuts));
        doors.iter().filter(opens).map(|door| door.name.clone()).collect()
    };
    doors.iter().map(closes).collect()
}
