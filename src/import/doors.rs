//! Turns knockd's doors into ketuk's.

use super::closing::{self, DoorWork};
use super::door::{
    CMD_TIMEOUT, KEYS, KnockdDoor, ONE_TIME, SEQ_TIMEOUT, SEQUENCE, START, START_6, STOP, STOP_6, TARGET,
    TCP_FLAGS,
};
use super::host::Host;
use super::lines::Lines;
use super::listens::{own_options, unknown};
use super::opens::ForeignPorts;
use super::outcome::{Imported, Note};
use super::part::{KnockdSection, atoi, is_digits, without_comment};
use super::write::{NewSection, settle};
use crate::config::{MAX_NAME, MAX_OPEN_TIME_S};
use crate::core::door::{MAX_DOORS, MAX_SEQ_TIMEOUT_S};
use crate::core::network::AddressFamily;

/// knockd's default of `cmd_timeout`, in seconds.
const CMD_TIMEOUT_S: u32 = 10;
/// The file that is imported, and the host that has it.
#[derive(Clone, Copy)]
pub(super) struct ForeignFile<'s> {
    /// The file's name, for comments.
    pub(super) file: &'s str,
    pub(super) lines: &'s Lines,
    pub(super) host: &'s dyn Host,
}

/// Imports the file's own sections and its doors.
pub(super) fn import(
    ForeignFile { file, lines, host }: ForeignFile<'_>,
    own: &[KnockdSection],
    doors: Vec<KnockdSection>,
    mut notes: Vec<Note>,
) -> Imported {
    let mut doors: Vec<KnockdDoor> = doors.into_iter().map(KnockdDoor::new).collect();
    for door in doors.extract_if(.., |door| door.get(SEQUENCE).or(door.get(ONE_TIME)).is_none()) {
        notes.push(door.part.note("left out: it has no sequence"));
    }
    for door in doors.drain(doors.len().min(MAX_DOORS)..) {
        notes.push(door.part.note(format!("left out: more than {MAX_DOORS} doors")));
    }
    name(&mut doors, &mut notes);

    let mut globals = NewSection::new("globals", "globals", own.first().map_or(1, |part| part.line));
    globals.comment(&format!("Made from {file} by 'ketukd import'."));
    globals.option(globals.line, "enabled", "1");
    let listens = own_options(&mut globals, own, host, &mut notes);
    let ways = closing::ways(&doors, listens.only_device.as_deref(), &mut notes);
    if let Some(table) = ways.iter().find_map(|way| way.opens()?.nft_table()) {
        globals.option(globals.line, "nft_table", table);
        globals.comment("The sets and rules of the doors: ketukd ruleset --zone none | nft -f -");
    }

    let mut sections = vec![globals];
    for (door, way) in doors.iter().zip(&ways) {
        let mut section = door.section(way, &doors, &mut notes);
        if let Some((target, line)) = listens.target.filter(|_| door.get(TARGET).is_none()) {
            section.option(line, "target", target.to_string());
        }
        if let Some(why) = &listens.shut {
            section.shut(why);
        }
        sections.push(section);
    }
    let (uci, refused) = settle(&mut sections);
    notes.extend(refused);
    lines.imported(uci, notes)
}

impl KnockdDoor {
    /// The door in UCI.
    fn section(&self, way: &DoorWork, doors: &[Self], notes: &mut Vec<Note>) -> NewSection {
        let mut section = NewSection::new("door", &self.name, self.part.line);
        self.knock(&mut section, notes);
        match way {
            DoorWork::Opens(opens) => self.native(&mut section, opens, notes),
            DoorWork::Closes(closed) => {
                let (command, line) = self.get(START).unwrap_or(("", self.part.line));
                section.comment(&format!("[{}] shut it with: {command}", self.part.name));
                section.option(line, "action", "close");
                for &door in closed {
                    section.list(line, "door", doors[door].name.as_str());
                }
            }
            DoorWork::Commands => self.keep_commands(&mut section, notes),
        }
        self.part.name_doubles(KEYS, notes);
        for entry in &self.part.entries {
            if entry.value.is_none() || !KEYS.iter().any(|names| entry.is(names)) {
                let note = unknown(&entry.key, entry.value.as_deref(), entry.line);
                // The unknown key may have kept some people out.
                section.shut(&format!("line {}: {}", entry.line, note.message));
                notes.push(note);
            }
        }
        if let Some(line) = self.part.unreadable {
            section.shut(&format!("line {line} cannot be read"));
        }
        section
    }

    fn knock(&self, section: &mut NewSection, notes: &mut Vec<Note>) {
        let mut steps = 0;
        if let Some((sequence, line)) = self.get(SEQUENCE) {
            for step in sequence.split(',') {
                section.list(line, "sequence", read_step(step, line, notes));
                steps += 1;
            }
        }
        if let Some((file, line)) = self.get(ONE_TIME) {
            section.option(line, "one_time_sequences", file);
            steps = steps.max(2);
        }
        if let Some((value, line)) = self.get(SEQ_TIMEOUT) {
            match read_time("Seq_Timeout", value, line, notes) {
                0 if steps > 1 => {
                    notes.push(self.note_at(line, "shut: with this Seq_Timeout no sequence is ever in time"));
                    section.shut(&format!("line {line}: with this Seq_Timeout no sequence is ever in time"));
                }
                0 => {}
                long if long > MAX_SEQ_TIMEOUT_S => {
                    notes.push(
                        self.note_at(line, format!("Seq_Timeout is made {MAX_SEQ_TIMEOUT_S}, the longest")),
                    );
                    section.option(line, "seq_timeout", MAX_SEQ_TIMEOUT_S.to_string());
                }
                seconds => section.option(line, "seq_timeout", seconds.to_string()),
            }
        }
        if let Some((flags, line)) = self.get(TCP_FLAGS) {
            let flags = without_comment(flags);
            section.option(line, "tcpflags", flags);
            let has = |flag: &str| flags.split(',').any(|word| word.trim().eq_ignore_ascii_case(flag));
            if has("syn") && (has("ack") || has("rst") || has("fin")) {
                notes.push(
                    self.note_at(line, "no client's first segment has these TCPFlags, so nobody can knock"),
                );
            }
        }
        if let Some((target, line)) = self.get(TARGET) {
            section.option(line, "target", without_comment(target));
        }
    }

    /// Writes the ports and the time.
    fn native(&self, section: &mut NewSection, opens: &ForeignPorts, notes: &mut Vec<Note>) {
        let (command, line) = self.get(START).or(self.get(START_6)).unwrap_or(("", self.part.line));
        section.comment(&format!("[{}] opened it with: {command}", self.part.name));
        match opens.protocols[..] {
            [protocol] => section.option(line, "proto", protocol.to_string()),
            _ => section.option(line, "proto", "tcpudp"),
        }
        let port = |name, section: &mut NewSection| {
            for ports in &opens.ports {
                section.list(line, name, ports.to_string());
            }
        };
        match opens.forward {
            None => port("dest_port", section),
            Some((host, to)) => {
                port("src_dport", section);
                section.option(line, "dest_ip", host.to_string());
                if let Some(to) = to {
                    section.option(line, "dest_port", to.to_string());
                }
            }
        }
        if let [family] = opens.families[..] {
            let (all, name) = match family {
                AddressFamily::V4 => ("0.0.0.0/0", "IPv4"),
                AddressFamily::V6 => ("::/0", "IPv6"),
            };
            section.comment(&format!(
                "The command opened it for {name} only; without list src it opens for both."
            ));
            section.list(line, "src", all);
        }
        if let Some((command, line)) = self.get(STOP).filter(|(command, _)| !command.is_empty()) {
            section.comment(&format!("[{}] shut it with: {command}", self.part.name));
            section.option(line, "open_time", self.cmd_timeout(notes).to_string());
        } else {
            // Without a stop command knockd's door stays open.
            let seconds = opens.seconds.map(|seconds| seconds.clamp(1, MAX_OPEN_TIME_S));
            section.option(line, "open_time", seconds.unwrap_or(0).to_string());
            self.name_useless_timeout(notes);
        }
    }

    /// Writes the commands unchanged.
    fn keep_commands(&self, section: &mut NewSection, notes: &mut Vec<Note>) {
        for (names, option) in [
            (START, "start_command"),
            (START_6, "start_command_6"),
            (STOP, "stop_command"),
            (STOP_6, "stop_command_6"),
        ] {
            let Some((command, line)) = self.get(names) else { continue };
            // UCI treats an empty value as absent.
            section.option(line, option, if command.is_empty() { "none" } else { command });
        }
        match self.get(STOP) {
            Some((command, line)) if !command.is_empty() => {
                section.option(line, "cmd_timeout", self.cmd_timeout(notes).to_string());
            }
            _ => self.name_useless_timeout(notes),
        }
    }

    /// The time for which the door stays open, in seconds.
    fn cmd_timeout(&self, notes: &mut Vec<Note>) -> u32 {
        let Some((value, line)) = self.get(CMD_TIMEOUT) else {
            notes.push(self.part.note(format!("Cmd_Timeout is not given: {CMD_TIMEOUT_S} s, as in knockd")));
            return CMD_TIMEOUT_S;
        };
        let (seconds, why) = match read_time("Cmd_Timeout", value, line, notes) {
            0 => (1, "no door shuts sooner"),
            long if long > MAX_OPEN_TIME_S => (MAX_OPEN_TIME_S, "no door is open for longer"),
            seconds => return seconds,
        };
        notes.push(Note::new(line, format!("Cmd_Timeout {value} is made {seconds}: {why}")));
        seconds
    }

    fn name_useless_timeout(&self, notes: &mut Vec<Note>) {
        if let Some((_, line)) = self.get(CMD_TIMEOUT) {
            notes.push(self.note_at(line, "Cmd_Timeout is left out: there is no Stop_Command to wait for"));
        }
    }
}

/// A time as knockd reads it, in seconds. Units have no meaning for knockd, so they are noted.
fn read_time(key: &str, value: &str, line: usize, notes: &mut Vec<Note>) -> u32 {
    let seconds = u32::try_from(atoi(value)).unwrap_or(0);
    let number = without_comment(value);
    if seconds > 0 && !is_digits(number) {
        notes.push(Note::new(line, format!("{key} {number} is {seconds} s, as knockd reads it")));
    }
    seconds
}

/// A step of a sequence: the port's number as knockd reads it, and the protocol. A number with other text behind it is noted:
/// `7000 8000 9000` is a single step for knockd.
fn read_step(step: &str, line: usize, notes: &mut Vec<Note>) -> String {
    let (port, protocol) = step.split_once(':').map_or((step, None), |(port, word)| (port, Some(word)));
    let number = atoi(port);
    let written = without_comment(port);
    // A port that knockd refuses stays as written, so that the message shows it.
    let port = if (1..=65535).contains(&number) { number.to_string() } else { port.trim().to_owned() };
    if port != written && !is_digits(written) {
        notes.push(Note::new(line, format!("step '{written}' is port {port}, as knockd reads it")));
    }
    match protocol {
        Some(protocol) => format!("{port}:{}", without_comment(protocol)),
        None => port,
    }
}

/// Gives each door a name that UCI accepts and no other door has.
fn name(doors: &mut [KnockdDoor], notes: &mut Vec<Note>) {
    let mut taken: Vec<String> = vec!["globals".to_owned()];
    for door in doors {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let plain: String = door.part.name.chars().map(plain).take(MAX_NAME).collect();
        let plain = if plain.is_empty() { "door".to_owned() } else { plain };
        // Two digits are enough for the most doors.
        let numbered = (2..).map(|n| format!("{}_{n}", &plain[..plain.len().min(MAX_NAME - 3)]));
        let mut names = std::iter::once(plain.clone()).chain(numbered);
        door.name = names.find(|name| !taken.contains(name)).expect("there is always a next number");
        if door.name != door.part.name {
            notes.push(door.part.note(format!("the door is called '{}' now", door.name)));
        }
        taken.push(door.name.clone());
    }
}
