//! Gives a user a changing sequence, which the knock page needs: writes the secret into the configuration file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::arguments::Arguments;
use super::{Failure, control};
use crate::config::{self, Config, uci};
use crate::linux::process;
use crate::profile;

/// OpenWrt's service. It hands the daemon, which may be in a jail, a copy of the configuration.
const SERVICE: &str = "/etc/init.d/ketuk";

/// How long the service may take to reload. It takes a second or two.
const RELOAD_TIME: Duration = Duration::from_secs(60);

/// The most bytes that the service may print. It prints a line or two, which are ignored.
const MAX_WORDS: usize = 65_536;

/// Adds a new `totp` to the section of a user that has none, and tells the daemon to read the file. Returns the new
/// configuration, and whether the daemon has read it.
///
/// The file is replaced in one step and keeps its mode and owner. It is replaced only if the new configuration differs
/// in nothing but the secret.
pub(super) fn enrol(arguments: &Arguments, config: &Config, name: &str) -> Result<(Config, bool), Failure> {
    let path = arguments.config_path();
    let cannot = |error: io::Error| {
        Failure::Failed(format!(
            "user '{name}' needs a changing sequence, and {} cannot be written: {error}; add the option totp that 'ketukd keygen' prints to the user's section",
            path.display()
        ))
    };
    let path = &fs::canonicalize(path).map_err(cannot)?;
    let old = Zeroizing::new(fs::read(path).map_err(cannot)?);
    let [_, totp] = profile::new_secret_pair().map_err(|error| Failure::Failed(error.to_string()))?;
    let new = with_totp(&old, name, &totp).and_then(|text| {
        let read = config::parse(&path.display().to_string(), &text).ok()?;
        only_totp_differs(config, &read, name).then_some((text, read))
    });
    let (text, read) = new.ok_or_else(|| {
        Failure::Failed(format!(
            "user '{name}' needs a changing sequence: add the option totp that 'ketukd keygen' prints to the user's section"
        ))
    })?;
    replace(path, &text).map_err(cannot)?;
    Ok((read, tell_daemon(arguments)))
}

/// The text with the option added to the first section of the user.
fn with_totp(text: &[u8], name: &str, totp: &str) -> Option<Zeroizing<Vec<u8>>> {
    let sections = uci::parse(text).ok()?;
    let mut users = sections.iter().filter(|section| section.kind.bytes == b"user");
    let section = users.find(|section| section.name.bytes == name.as_bytes())?;
    let header = section.name.span.end;
    let end = text[header..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| header + at + 1);
    let mut longer = Zeroizing::new(Vec::with_capacity(text.len() + totp.len() + 32));
    longer.extend_from_slice(&text[..end]);
    if !longer.ends_with(b"\n") {
        longer.push(b'\n');
    }
    for part in ["\toption totp '", totp, "'\n"] {
        longer.extend_from_slice(part.as_bytes());
    }
    longer.extend_from_slice(&text[end..]);
    Some(longer)
}

/// Whether the new secret of the user is the only difference.
fn only_totp_differs(old: &Config, new: &Config, name: &str) -> bool {
    let mut expected = old.clone();
    for (expected, new) in expected.users.iter_mut().zip(&new.users) {
        if expected.name == name && expected.totp.is_empty() && new.totp.len() == 1 {
            expected.totp.clone_from(&new.totp);
        }
    }
    expected == *new && expected != *old
}

/// Writes a new file and renames it over the old one. If the disk is full, the old file stays.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let old = fs::metadata(path)?;
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut file| {
            chown(&beside, Some(old.uid()), Some(old.gid()))?;
            file.set_permissions(old.permissions())?;
            file.write_all(text)?;
            file.sync_all()
        });
    written.and_then(|()| fs::rename(&beside, path)).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

/// Tells the daemon to read the configuration again. Returns whether it did. A daemon that does not run reads it at
/// its start.
fn tell_daemon(arguments: &Arguments) -> bool {
    if arguments.config.is_none() && Path::new(SERVICE).exists() {
        let reload = [SERVICE, "reload"].map(str::to_owned);
        let said = process::output(&reload, None, Instant::now() + RELOAD_TIME, MAX_WORDS);
        return said.is_ok_and(|said| said.exit.is_success());
    }
    control::reload(arguments).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

    #[test]
    fn the_secret_is_added_to_its_user_and_to_nobody_else() {
        for (before, after) in [
            ("config user 'bob'\n", "config user 'bob'\n\toption totp 'S'\n"),
            (
                "config user bob # mine\n\tlist door 'a'\n",
                "config user bob # mine\n\toption totp 'S'\n\tlist door 'a'\n",
            ),
            (
                "config user 'ann'\nconfig user \"bob\"",
                "config user 'ann'\nconfig user \"bob\"\n\toption totp 'S'\n",
            ),
        ] {
            let text = with_totp(before.as_bytes(), "bob", SECRET).expect("there is a bob");
            assert_eq!(String::from_utf8_lossy(&text).replace(SECRET, "S"), after);
        }
        assert!(with_totp(b"config door 'bob'\n", "bob", SECRET).is_none());
    }

    #[test]
    fn nothing_else_may_differ() {
        let read = |text: &str| config::parse("test", text.as_bytes()).expect("a configuration");
        let old = "config door 'ssh'\n\toption dest_port 22\nconfig user 'bob'\n\tlist door 'ssh'\n";
        let totp = format!("\toption totp '{SECRET}'\n");
        let new = [old, &totp].concat();
        assert!(only_totp_differs(&read(old), &read(&new), "bob"));
        assert!(!only_totp_differs(&read(old), &read(old), "bob"));
        assert!(!only_totp_differs(&read(old), &read(&new), "ann"));
        assert!(!only_totp_differs(&read(old), &read(&new.replace("22", "23")), "bob"));
    }
}
