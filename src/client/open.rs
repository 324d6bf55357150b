//! `ketuk open` and `ketuk connect`: knock as a profile says, at every address of its host.

use std::ffi::OsString;
use std::io;
use std::process::Command;

use super::command::OpenCommand;
use super::failure::ClientFailure;
use super::way::Way;
use super::{profiles, relay, wait};

/// Opens the door, and runs the command if there is one. Returns the command's exit code, or 0.
///
/// # Errors
/// Exit code 1, or 2 if the profile or the door does not exist.
pub fn open(opening: &OpenCommand) -> Result<u8, ClientFailure> {
    let profile = profiles::load(&opening.profile)?;
    let door = match &opening.door {
        None => profile.doors.first(),
        Some(name) => profile.doors.iter().find(|door| door.name == *name),
    };
    let door = door.ok_or_else(|| {
        let names: Vec<_> = profile.doors.iter().map(|door| door.name.as_str()).collect();
        ClientFailure::usage(format!("the profile has no such door; it has: {}", names.join(", ")))
    })?;
    // With `-a` the door opens for another address, so its port does not answer this host.
    let options = &opening.options;
    let wanted = door.port.filter(|_| !opening.command.is_empty() && options.address.is_none());
    let way = Way::to(&profile, door, opening)?;
    way.knock()?;
    if let Some(port) = options.wait.or(wanted) {
        wait::until_it_answers(&way, port)?;
    } else {
        wait::a_moment(options.delay);
    }
    if opening.command.is_empty() { Ok(0) } else { run(&opening.command) }
}

/// Opens the door in front of a port, and relays standard input and output to the port.
///
/// # Errors
/// Those of [`open`].
pub fn connect(opening: &OpenCommand, port: Option<u16>) -> Result<u8, ClientFailure> {
    let profile = profiles::load(&opening.profile)?;
    let door = profile.doors.iter().find(|door| port.is_some() && door.port == port);
    let door = door.or(profile.doors.first()).expect("a profile has a door");
    let port = port.or(door.port).ok_or_else(|| {
        ClientFailure::usage(format!(
            "the profile has no port for door '{}': name the port, as in 'ketuk connect {} 22'",
            door.name, opening.profile
        ))
    })?;
    let way = Way::to(&profile, door, opening)?;
    way.knock()?;
    relay::relay(&wait::until_it_answers(&way, port)?)?;
    Ok(0)
}

/// Replaces this program by the command, or does the nearest thing that the system allows.
fn run(command: &[OsString]) -> Result<u8, ClientFailure> {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]);
    let failed =
        |error: io::Error| ClientFailure::failed(format!("{}: {error}", command[0].to_string_lossy()));
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        Err(failed(process.exec()))
    }
    #[cfg(not(unix))]
    {
        let status = process.status().map_err(failed)?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
    }
}
