//! Which doors open and shut by themselves: only those that nothing else in the file shuts in a way that is not
//! understood.

use super::commands::{self, Deed};
use super::door::KnockdDoor;
use super::opens::{Opens, shuts};
use super::outcome::Note;

/// How a door does what its commands did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It opens by itself.
    Opens(Opens),
    /// It shuts these doors, by their places in the list.
    Closes(Vec<usize>),
    /// By its commands.
    Commands,
}

impl Way {
    /// What it opens by itself.
    pub(super) fn opens(&self) -> Option<&Opens> {
        match self {
            Self::Opens(opens) => Some(opens),
            _ => None,
        }
    }

    /// Whether this deletes a rule of it.
    fn is_shut_by(&self, deed: &Deed) -> bool {
        self.opens().is_some_and(|opens| opens.rules.iter().any(|rule| shuts(deed, rule)))
    }
}

/// What a door's commands do.
struct Deeds {
    /// Each, and its line.
    all: Vec<(Deed, usize)>,
    /// It deletes rules and does nothing else.
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

    /// Whether one of them deletes a rule that one of `other` adds.
    fn undo(&self, other: &Self) -> bool {
        let mut added = other.all.iter().filter_map(|(deed, _)| match deed {
            Deed::Open(rule) => Some(rule),
            _ => None,
        });
        added.any(|rule| self.all.iter().any(|(deed, _)| shuts(deed, rule)))
    }

    /// The line of a command that may do anything.
    fn unknown(&self) -> Option<usize> {
        self.all.iter().find(|(deed, _)| *deed == Deed::Unknown).map(|(_, line)| *line)
    }
}

/// How each door does it; `device` is the one that is listened on.
pub(super) fn ways(doors: &[KnockdDoor], device: &str, notes: &mut Vec<Note>) -> Vec<Way> {
    let deeds: Vec<Deeds> = doors.iter().map(Deeds::of).collect();
    let mut ways: Vec<Way> = doors.iter().map(|door| native(door, device)).collect();
    // One backend serves all doors: the first one's firewall.
    let program = ways.iter().find_map(|way| way.opens()?.program());
    for way in &mut ways {
        if way.opens().is_some_and(|opens| opens.program() != program) {
            *way = Way::Commands;
        }
    }
    // A door that keeps its commands may let others keep theirs: until nothing changes.
    while let Some((keeps, because)) = next_to_keep(&deeds, &ways) {
        let message = format!("it keeps its commands, since line {because} may shut what it opens");
        notes.push(doors[keeps].note_at(line_of(&doors[keeps]), message));
        ways[keeps] = Way::Commands;
    }
    for (at, own) in deeds.iter().enumerate().filter(|(_, own)| own.only_shuts) {
        let is_shut = |way: &Way| own.all.iter().any(|(deed, _)| way.is_shut_by(deed));
        let closed: Vec<usize> = (0..doors.len()).filter(|&other| is_shut(&ways[other])).collect();
        let mut others =
            deeds.iter().zip(&ways).filter(|(_, way)| **way == Way::Commands).map(|(deeds, _)| deeds);
        if !closed.is_empty() {
            ways[at] = Way::Closes(closed);
        } else if !others.any(|other| own.undo(other) || other.unknown().is_some()) {
            let message = "it deletes a rule that no door of this file adds: what it should shut stays open";
            notes.push(doors[at].note_at(line_of(&doors[at]), message));
        }
    }
    for (door, own) in doors.iter().zip(&deeds) {
        name_kept(door, own, doors, &ways, notes);
    }
    ways
}

fn line_of(door: &KnockdDoor) -> usize {
    door.commands().all().next().map_or(1, |(_, line)| line)
}

/// What a door opens by itself, if it can.
fn native(door: &KnockdDoor, device: &str) -> Way {
    match Opens::read(&door.commands()) {
        Some(opens) if opens.device().is_none_or(|only| only == device) => Way::Opens(opens),
        _ => Way::Commands,
    }
}

/// The first door that must keep its commands, and the line of the command that may shut it.
fn next_to_keep(deeds: &[Deeds], ways: &[Way]) -> Option<(usize, usize)> {
    for own in deeds.iter().zip(ways).filter(|(_, way)| way.opens().is_none()).map(|(own, _)| own) {
        // It must be run, since it deletes a rule of a door that keeps its commands.
        let others = || deeds.iter().zip(ways).filter(|(_, way)| **way == Way::Commands);
        let is_run = !own.only_shuts || others().any(|(other, _)| own.undo(other));
        for (deed, line) in &own.all {
            let may_shut = |way: &Way| match deed {
                // A door that ends by itself is only open for longer, if for that.
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

/// Names what a door's commands do that is not understood, as far as it matters to others or to the firewall.
fn name_kept(door: &KnockdDoor, own: &Deeds, doors: &[KnockdDoor], ways: &[Way], notes: &mut Vec<Note>) {
    for (deed, line) in &own.all {
        if let Deed::Foreign(program) = deed {
            notes.push(door.note_at(
                *line,
                format!("it keeps its commands: only {program} changes what {program} made"),
            ));
            break;
        }
    }
    let opening: Vec<_> = doors
        .iter()
        .zip(ways)
        .filter(|(_, way)| way.opens().is_some())
        .map(|(door, _)| door.name.as_str())
        .collect();
    if let Some(line) = own.unknown().filter(|_| !opening.is_empty()) {
        let message = format!(
            "this command is kept and not understood; if it is to shut {}, that needs a door with action 'close'",
            opening.join(", ")
        );
        notes.push(door.note_at(line, message));
    }
}
