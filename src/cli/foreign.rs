//! Invitations for the apps of other projects: fwknop's keys as its Android app reads them, and a `knockd.conf`.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::Failure;
#[cfg(feature = "fwknop")]
use crate::config::Door;
use crate::config::{Config, User};
use crate::core::sequence::{FlagMatch, Protocol};

/// The newest pair of fwknop keys, in the form that the app Fwknop2 reads from a QR code.
#[cfg(feature = "fwknop")]
pub(super) fn fwknop(user: &User) -> Result<Zeroizing<String>, Failure> {
    use crate::protocol::{base64, fwknop};
    use zeroize::Zeroize as _;

    let keys = user.fwknop.last().ok_or_else(|| {
        Failure::Failed(format!(
            "user '{}' has no fwknop keys: add the keys that 'fwknop --key-gen --use-hmac' prints, as fwknop_key and fwknop_hmac_key",
            user.name
        ))
    })?;
    let mut text = Zeroizing::new(String::with_capacity(4 * fwknop::MAX_HMAC_KEY));
    let mut buffer = [0; 2 * fwknop::MAX_HMAC_KEY];
    for (name, key) in [("KEY_BASE64:", keys.key.bytes()), (" HMAC_KEY_BASE64:", keys.hmac_key.bytes())] {
        text.push_str(name);
        text.push_str(base64::encode(key, &mut buffer).expect("room for twice as much"));
    }
    buffer.zeroize();
    Ok(text)
}

/// The commands for fwknop's own client: a line for each door, which saves its settings as a stanza.
#[cfg(feature = "fwknop")]
pub(super) fn fwknop_commands(config: &Config, user: &User, host: &str) -> String {
    use crate::protocol::SPA_PORT;
    use crate::protocol::fwknop::HmacType;

    let mut options = String::from("--use-hmac --key-base64-rijndael KEY --key-base64-hmac HMAC_KEY");
    if let Some(keys) = user.fwknop.last().filter(|keys| keys.hmac != HmacType::Sha256) {
        let _ = write!(options, " --hmac-digest-type {}", keys.hmac.name());
    }
    if let Some(name) = &user.fwknop_name {
        let _ = write!(options, " -U '{name}'");
    }
    let port = config.globals.auth.spa_port.get();
    if port != SPA_PORT {
        let _ = write!(options, " -p {port}");
    }
    // The client asks a web page for its address, or the packet's source counts.
    let address = if user.require_address { "-R" } else { "-s" };
    let mut text = format!(
        "with fwknop's own client, run each line once, with the keys below for KEY and HMAC_KEY; afterwards 'fwknop -n DOOR {address}' opens a door:\n"
    );
    for door in config.doors.iter().filter(|door| door.enabled && user.doors.contains(&door.name)) {
        if let Some(asked) = asked_port(door) {
            let name = &door.name;
            let _ = writeln!(
                text,
                "  fwknop -n {name} --save-rc-stanza -D {host} -A {asked} {address} {options}"
            );
        }
    }
    text
}

/// The port that fwknop's client asks for to open this door, as in `tcp/22`. At a door with `any_port` it is one of the
/// allowed ports.
#[cfg(feature = "fwknop")]
fn asked_port(door: &Door) -> Option<String> {
    if let Some(step) = door.fwknop_port {
        return Some(format!("{}/{}", step.protocol, step.port));
    }
    if let Some(any) = door.any_port.first() {
        let port = if any.ports.contains(22) { 22 } else { any.ports.first() };
        return Some(format!("{}/{port}", any.protocol));
    }
    let opening = door.opening.as_ref()?;
    let outer = opening.forward.as_ref().map_or(&opening.dest_port, |forward| &forward.src_dport);
    Some(format!("{}/{}", opening.protocols.first()?, outer.first()?.first()))
}

#[cfg(not(feature = "fwknop"))]
pub(super) fn fwknop_commands(_: &Config, _: &User, _: &str) -> String {
    String::new()
}

#[cfg(not(feature = "fwknop"))]
pub(super) fn fwknop(_: &User) -> Result<Zeroizing<String>, Failure> {
    Err(Failure::Usage("this ketukd was built without 'fwknop'".to_owned()))
}

/// The plain sequences of the user's doors as a `knockd.conf`, which apps for plain sequences read.
pub(super) fn knockd(config: &Config, user: &User) -> Result<String, Failure> {
    let mut text = String::new();
    let doors = config.doors.iter().filter(|door| door.enabled && user.doors.contains(&door.name));
    for door in doors.filter(|door| !door.knock.sequence.is_empty()) {
        let steps: Vec<_> = door
            .knock
            .sequence
            .iter()
            .map(|step| match step.protocol {
                Protocol::Tcp => step.port.to_string(),
                Protocol::Udp => format!("{}:udp", step.port),
            })
            .collect();
        let flags = if door.knock.tcp_flags == FlagMatch::SYN { "\ttcpflags = syn\n" } else { "" };
        let seconds = door.knock.seq_timeout.as_secs();
        let _ = write!(
            text,
            "[{}]\n\tsequence = {}\n\tseq_timeout = {seconds}\n{flags}\n",
            door.name,
            steps.join(",")
        );
    }
    if text.is_empty() {
        let problem =
            format!("no door of user '{}' has a plain sequence: add list sequence to one", user.name);
        return Err(Failure::Failed(problem));
    }
    Ok(text)
}
