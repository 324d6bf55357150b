//! Invitations for the apps of other projects: fwknop's keys as its Android app reads them, and a `knockd.conf`.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::Failure;
use crate::config::{Config, User};
use crate::core::sequence::{FlagMatch, Protocol};

/// The newest pair of fwknop keys, as the QR code of Fwknop2 has them: nothing before and nothing behind them.
#[cfg(feature = "fwknop")]
pub(super) fn fwknop(user: &User) -> Result<Zeroizing<String>, Failure> {
    use crate::protocol::{base64, fwknop};
    use zeroize::Zeroize as _;

    let keys = user.fwknop.last().ok_or_else(|| {
        Failure::Failed(format!(
            "user '{}' has no fwknop keys: add what 'fwknop --key-gen --use-hmac' prints, as fwknop_key and fwknop_hmac_key",
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
