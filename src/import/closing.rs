//! Decides which doors need no commands any more. A door keeps its commands if another command in the file may shut it and
//! is not understood.

use super::commands::{self, Deed, ForeignRule};
use super::door::KnockdDoor;
use super::opens::{ForeignPorts, shuts};
use super::outcome::Note;

/// How an imported door does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DoorWork {
    /// ketuk opens it, without commands.
    Opens(ForeignPorts),
    /// It shuts these doors, given by their indices.
    Closes(Vec<usize>),
    /// It runs its commands.
    Commands,
}

impl DoorWork {
    /// The ports that the door opens without commands.
    pub(super) fn opens(&self) -> Option<&ForeignPorts> {
        match self {
            Self::Opens(opens) => Some(opens),
            _ => None,
        }
    }

    /// Whether `deed` deletes one of the door's rules.
    fn is_shut_by(&self, deed: &Deed) -> bool {
        self.opens().is_some_and(|opens| opens.rules.iter().any(|rule| shuts(deed, rule)))
    }
}

/// The deeds of a door's commands.
struct Deeds {
    /// Each deed with its line.
    all: Vec<(Deed, usize)>,
    /// Whether the door only deletes rules.
    only_shuts: bool,
}

impl Deeds {
    fn of(door: &KnockdDoor) -> Self {
        let commands = door.commands();
        let read = |(command, line)| commands::read(command).into_iter().map(move |deed| (deed, line));
        let all: Vec<(Deed, usize)> = commands.all().flat_map(read).collect();
        let shuts = |(deed, _): &(Deed, usize)| matches!(deed, Deed::Shut(_) | Deed::ShutByHandle(_));
        let only_shuts = commands.start.is_some() && commands.stop.is_none() && commands.stop_6.is_none();
        Self { only_shuts: only_shuts && !all.is_empty() && all.iter().all(shuts), all }
    }

    /// Whether one of these deeds deletes a rule that one of `other` adds.
    fn undo(&self, other: &Self) -> bool {
        let mut added = other.all.iter().filter_map(|(deed, _)| match deed {
            Deed::Open(rule) => Some(rule),
            _ => None,
        });
        added.any(|rule| self.all.iter().any(|(deed, _)| shuts(deed, rule)))
    }

    /// The line of a command that is not understood.
    fn unknown(&self) -> Option<usize> {
        self.all.iter().find(|(deed, _)| *deed == Deed::Unknown).map(|(_, line)| *line)
    }
}

/// The way of each door. `device` is the device that the daemon will listen on, if it is only one.
pub(super) fn ways(doors: &[KnockdDoor], device: Option<&str>, notes: &mut Vec<Note>) -> Vec<DoorWork> {
    let deeds: Vec<Deeds> = doors.iter().map(Deeds::of).collect();
    let mut ways: Vec<DoorWork> = doors.iter().map(|door| native(door, device, notes)).collect();
    // One backend serves all doors: that of the first door's commands.
    let program = ways.iter().find_map(|way| way.opens()?.program());
    for way in &mut ways {
        if way.opens().is_some_and(|opens| opens.program() != program) {
            *way = DoorWork::Commands;
        }
    }
    // A door that keeps its commands may force others to keep theirs, so this repeats until nothing changes.
    while let Some((keeps, because)) = next_to_keep(&deeds, &ways) {
        let message = format!("it keeps its commands, since line {because} may shut the same port");
        notes.push(doors[keeps].note_at(line_of(&doors[keeps]), message));
        ways[keeps] = DoorWork::Commands;
    }
    for (at, own) in deeds.iter().enumerate().filter(|(_, own)| own.only_shuts) {
        let is_shut = |way: &DoorWork| own.all.iter().any(|(deed, _)| way.is_shut_by(deed));
        let closed: Vec<usize> = (0..doors.len()).filter(|&other| is_shut(&ways[other])).collect();
        let mut others =
            deeds.iter().zip(&ways).filter(|(_, way)| **way == DoorWork::Commands).map(|(deeds, _)| deeds);
        if !closed.is_empty() {
            ways[at] = DoorWork::Closes(closed);
        } else if !others.any(|other| own.undo(other) || other.unknown().is_some()) {
            let message = "it deletes a rule that no door of this file adds, so a port may stay open";
            notes.push(doors[at].note_at(line_of(&doors[at]), message));
        }
    }
    for (at, own) in deeds.iter().enumerate() {
        name_kept(at, own, doors, &ways, notes);
    }
    ways
}

fn line_of(door: &KnockdDoor) -> usize {
    door.commands().all().next().map_or(1, |(_, line)| line)
}

/// The way of a door by its own commands, whatever the other doors do. ketuk opens a port on every device that the daemon
/// listens on, so rules for one device stay commands if the daemon may listen on others.
fn native(door: &KnockdDoor, device: Option<&str>, notes: &mut Vec<Note>) -> DoorWork {
    let Some(opens) = ForeignPorts::read(&door.commands()) else { return DoorWork::Commands };
    match opens.device() {
        Some(only) if device != Some(only) => {
            let message = format!("it keeps its commands, since they open the port on device {only} only");
            notes.push(door.note_at(line_of(door), message));
            DoorWork::Commands
        }
        _ => DoorWork::Opens(opens),
    }
}

/// The first door that must keep its commands, and the line of the command that may shut it.
fn next_to_keep(deeds: &[Deeds], ways: &[DoorWork]) -> Option<(usize, usize)> {
    for own in deeds.iter().zip(ways).filter(|(_, way)| way.opens().is_none()).map(|(own, _)| own) {
        // Commands that only shut are run only if they delete a rule of a door that keeps its commands.
        let others = || deeds.iter().zip(ways).filter(|(_, way)| **way == DoorWork::Commands);
        let is_run = !own.only_shuts || others().any(|(other, _)| own.undo(other));
        for (deed, line) in &own.all {
            let may_shut = |way: &DoorWork| match deed {
                // A door that shuts after its time only stays open for longer than it might.
                Deed::Unknown => way.opens().is_some_and(|opens| !opens.ends),
                _ => is_run && way.is_shut_by(deed),
            };
            if let Some(keeps) = ways.iter().position(may_shut) {
                return Some((keeps, *line));
            }
        }
    }
    None
}

/// Notes commands of a door that are not understood, if they may matter to other doors or to the firewall.
fn name_kept(at: usize, own: &Deeds, doors: &[KnockdDoor], ways: &[DoorWork], notes: &mut Vec<Note>) {
    let (door, way) = (&doors[at], &ways[at]);
    let kept = || own.all.iter().filter(|_| *way == DoorWork::Commands);
    let foreign = kept().find_map(|(deed, line)| match deed {
        Deed::Foreign(program) => Some((program, *line)),
        _ => None,
    });
    if let Some((program, line)) = foreign {
        notes.push(
            door.note_at(line, format!("it keeps its commands: only {program} can change its own entries")),
        );
    }
    let opened = kept().find_map(|(deed, line)| match deed {
        Deed::Open(rule) => Some((rule, *line)),
        _ => None,
    });
    if let Some((ForeignRule { protocol, ports, .. }, line)) = opened {
        let ports = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let message =
            format!("ketuk shuts no port that a command opens: a firewall must drop {protocol} {ports}");
        notes.push(door.note_at(line, message));
    } else if let Some(line) = foreign.map(|(_, line)| line).or(own.unknown()) {
        let message = "ketuk shuts no port for this door: if its command opens one, a firewall must drop it \
                       for everybody else";
        notes.push(door.note_at(line, message));
    }
    let opening: Vec<_> = doors
        .iter()
        .zip(ways)
        .filter(|(_, way)| way.opens().is_some())
        .map(|(door, _)| door.name.as_str())
        .collect();
    if let Some(line) = own.unknown().filter(|_| !opening.is_empty()) {
        let message = format!(
            "this command is kept, but not understood; if it is meant to shut {}, write a door with action 'close' instead",
            opening.join(", ")
        );
        notes.push(door.note_at(line, message));
    }
}
