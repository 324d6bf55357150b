//! `config door`.

use std::path::PathBuf;
use std::time::Duration;

use super::closing;
use super::globals::{on_stop, trap_except};
use super::group;
use super::options::SectionOptions;
use super::rules;
use super::shutting;
use super::value::{address, boolean, commas, seconds, step, tcp_flags};
use super::{any_port, opening};
use crate::config::error::{Fault, quoted};
use crate::config::{Commands, Door, MAX_COMMAND, MAX_NAME, MAX_OPEN_TIME_S, OPEN_TIME, OnStop};
use crate::core::door::{self, MAX_SEQ_TIMEOUT_S};
use crate::core::sequence::{MAX_STEPS, Sequence, Step};

/// A command with this value runs nothing. (UCI drops options with an empty value.)
const NO_COMMAND: &str = "none";

/// Reads a door. Its `trap_except` is added to `exceptions`.
pub(super) fn read(
    options: &SectionOptions<'_>,
    globals_on_stop: OnStop,
    exceptions: &mut Vec<Step>,
) -> Result<Door, Fault> {
    let mut door = Door::named(&name(options)?);
    if let Some(value) = options.one("enabled")? {
        door.enabled = boolean(value)?;
    }
    door.knock = knock(options)?;
    door.src = rules::src(options)?;
    door.hours = rules::hours(options)?;
    door.one_time = one_time(options, &door.knock.sequence)?;
    door.closes = closing::read(options)?;
    if !door.closes.is_empty() {
        trap_except(options, exceptions)?;
        return Ok(door);
    }
    door.any_port = any_port::read(options)?;
    door.opening = opening::read(options)?;
    let DoorTimes { open_time, max_time } = times(options)?;
    door.open_time = open_time;
    door.max_time = max_time;
    shutting::read(options, &mut door)?;
    door.commands = Commands {
        start: command(options, "start_command")?.filter(|line| !line.is_empty()),
        start_6: command(options, "start_command_6")?,
        stop: command(options, "stop_command")?.filter(|line| !line.is_empty()),
        stop_6: command(options, "stop_command_6")?,
    };
    door.grant_prefix = group::read(options, door.commands.any())?;
    let starts = [&door.commands.start, &door.commands.start_6];
    if !door.opens_ports() && starts.iter().all(|start| start.as_deref().unwrap_or("").is_empty()) {
        return Err(Fault::new(options.name().span, format!("door '{}' opens nothing", door.name))
            .help("give it a dest_port, or a start_command"));
    }
    door.fwknop_port = fwknop_port(options, &door)?;
    door.on_stop = on_stop(options)?.unwrap_or(globals_on_stop);
    trap_except(options, exceptions)?;
    Ok(door)
}

/// The knock of the door.
fn knock(options: &SectionOptions<'_>) -> Result<door::DoorKnock, Fault> {
    let mut knock = door::DoorKnock { sequence: sequence(options)?, ..door::DoorKnock::default() };
    if let Some(value) = options.one("seq_timeout")? {
        knock.seq_timeout = seconds(value, 1, MAX_SEQ_TIMEOUT_S)?;
    }
    if let Some(value) = options.one("tcpflags")? {
        knock.tcp_flags = tcp_flags(value)?;
    }
    knock.target = options.one("target")?.map(address).transpose()?;
    Ok(knock)
}

fn name(options: &SectionOptions<'_>) -> Result<String, Fault> {
    let name = options.name();
    if options.anonymous() {
        return Err(
            Fault::new(name.span, "a door needs a name").help("name it, for example: config door 'ssh'")
        );
    }
    if name.bytes.len() > MAX_NAME {
        return Err(Fault::new(
            name.span,
            format!("the name {} is longer than {MAX_NAME} characters", quoted(&name.bytes)),
        ));
    }
    // The parser accepts only letters, digits and _.
    Ok(String::from_utf8_lossy(&name.bytes).into_owned())
}

/// `sequence`: a list, or as in knockd several steps in one value, with commas between them.
fn sequence(options: &SectionOptions<'_>) -> Result<Sequence, Fault> {
    let mut sequence = Sequence::new();
    for value in options.many("sequence", commas)? {
        if sequence.push(step(value)?).is_err() {
            return Err(value.fault(format!("more than {MAX_STEPS} knocks in one sequence")));
        }
    }
    Ok(sequence)
}

/// `one_time_sequences`. A door with this option may not have a `sequence`.
fn one_time(options: &SectionOptions<'_>, sequence: &Sequence) -> Result<Option<PathBuf>, Fault> {
    let Some(value) = options.one("one_time_sequences")? else { return Ok(None) };
    if !value.text.starts_with('/') {
        return Err(value.fault(format!("{} is not an absolute path", value.quoted())));
    }
    if !sequence.is_empty() {
        return Err(value
            .fault("a door has either a sequence or one_time_sequences")
            .help("a sequence that stays valid would make one-time sequences useless"));
    }
    Ok(Some(PathBuf::from(value.text)))
}

/// `fwknop_port`: the port by which fwknop's client names a door that opens no port.
fn fwknop_port(options: &SectionOptions<'_>, door: &Door) -> Result<Option<Step>, Fault> {
    let Some(value) = options.one("fwknop_port")? else { return Ok(None) };
    if door.opening.is_some() {
        return Err(value
            .fault("fwknop_port in a door that opens a port")
            .help("an fwknop client gets it by the port that it opens: leave fwknop_port out"));
    }
    step(value).map(Some)
}

/// `open_time` and `max_time`. `None`, which is written 0, means no end.
struct DoorTimes {
    open_time: Option<Duration>,
    max_time: Option<Duration>,
}

fn times(options: &SectionOptions<'_>) -> Result<DoorTimes, Fault> {
    let time = |name| -> Result<_, Fault> {
        let value = options.one(name)?;
        value.map(|value| Ok((value, seconds(value, 0, MAX_OPEN_TIME_S)?))).transpose()
    };
    let (own, knockds) = (time("open_time")?, time("cmd_timeout")?);
    if let (Some((_, open_time)), Some((value, cmd_timeout))) = (own, knockds)
        && open_time != cmd_timeout
    {
        return Err(value
            .fault("cmd_timeout differs from open_time")
            .help("they are two names for one thing: leave one out"));
    }
    let end = |time: Duration| if time.is_zero() { None } else { Some(time) };
    let open_time = end(own.or(knockds).map_or(OPEN_TIME, |(_, time)| time));
    let Some((value, max_time)) = time("max_time")? else {
        return Ok(DoorTimes { open_time, max_time: open_time });
    };
    let max_time = end(max_time);
    if max_time.is_some_and(|max| open_time.is_none_or(|open| max < open)) {
        return Err(value
            .fault("max_time is less than open_time")
            .help("open_time is 30 if it is not given, and 0 means no end"));
    }
    Ok(DoorTimes { open_time, max_time })
}

/// A command; empty if the file says `none`.
fn command(options: &SectionOptions<'_>, name: &str) -> Result<Option<String>, Fault> {
    let Some(value) = options.one(name)? else { return Ok(None) };
    if value.text.len() > MAX_COMMAND {
        return Err(value
            .fault(format!("{name} is longer than {MAX_COMMAND} bytes"))
            .help("put it into a script"));
    }
    Ok(Some(if value.text == NO_COMMAND { String::new() } else { value.text.to_owned() }))
}
