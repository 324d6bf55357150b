//! Profiles on this machine: one file each, with secrets in it, in the user's configuration folder.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::failure::ClientFailure;
use crate::profile::Profile;

/// Longest name of a profile, in bytes.
const MAX_NAME: usize = 64;

/// The folder: `$KETUK_PROFILES`, or `ketuk` in the user's folder for configurations.
///
/// # Errors
/// The environment does not name the folder.
fn folder() -> Result<PathBuf, ClientFailure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = if cfg!(windows) { set("APPDATA") } else { set("HOME").map(|home| home.join(".config")) };
    set("KETUK_PROFILES")
        .or_else(|| set("XDG_CONFIG_HOME").or(home).map(|folder| folder.join("ketuk")))
        .ok_or_else(|| {
            ClientFailure::failed("the folder of the profiles is not known: set HOME or KETUK_PROFILES")
        })
}

/// Keeps a profile under a name. Returns its file.
///
/// # Errors
/// The file cannot be written, or a profile of this name exists.
pub fn add(name: &str, profile: &Profile) -> Result<PathBuf, ClientFailure> {
    let folder = folder()?;
    let path = path(&folder, name)?;
    let failed = |error: io::Error| ClientFailure::failed(format!("{}: {error}", path.display()));
    make_folder(&folder).map_err(|error| ClientFailure::failed(format!("{}: {error}", folder.display())))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => ClientFailure::failed(format!(
            "there is a profile '{name}' already, {}: 'ketuk remove {name}', or give another name",
            path.display()
        )),
        _ => failed(error),
    })?;
    let mut line = profile.to_line();
    line.push('\n');
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(path)
}

/// Reads a profile.
///
/// # Errors
/// The profile does not exist or cannot be read.
pub fn load(name: &str) -> Result<Profile, ClientFailure> {
    let path = place(name)?;
    let text = fs::read_to_string(&path)
        .map(Zeroizing::new)
        .map_err(|error| ClientFailure::usage(format!("{}: {error}", path.display())))?;
    warn_if_open(&path);
    text.parse().map_err(|error| ClientFailure::usage(format!("{}: {error}", path.display())))
}

/// The file of a profile.
///
/// # Errors
/// The profile does not exist.
pub fn place(name: &str) -> Result<PathBuf, ClientFailure> {
    let folder = folder()?;
    let path = path(&folder, name)?;
    if path.exists() {
        return Ok(path);
    }
    Err(ClientFailure::usage(match names_in(&folder).as_slice() {
        [] => {
            format!(
                "there is no profile '{name}', and no other: 'ketuk add' takes the line that 'ketukd invite' prints"
            )
        }
        names => format!("there is no profile '{name}'; there are: {}", names.join(", ")),
    }))
}

/// Deletes a profile.
///
/// # Errors
/// The profile does not exist or cannot be deleted.
pub fn remove(name: &str) -> Result<(), ClientFailure> {
    let path = place(name)?;
    fs::remove_file(&path).map_err(|error| ClientFailure::failed(format!("{}: {error}", path.display())))
}

/// The names of all profiles, sorted.
///
/// # Errors
/// The environment does not name the folder.
pub fn names() -> Result<Vec<String>, ClientFailure> {
    folder().map(|folder| names_in(&folder))
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| is_name(name));
    names.sort();
    names
}

/// The default name of a profile: its host's first label, or its user.
pub fn default_name(profile: &Profile) -> String {
    let label = profile.host.split('.').next().unwrap_or_default();
    let is_word = label.bytes().any(|byte| byte.is_ascii_alphabetic()) && !profile.host.starts_with('[');
    match &profile.user {
        _ if is_word => label.to_owned(),
        Some(user) => user.clone(),
        None => "home".to_owned(),
    }
}

fn path(folder: &Path, name: &str) -> Result<PathBuf, ClientFailure> {
    if is_name(name) {
        return Ok(folder.join(name));
    }
    let problem = format!(
        "'{name}' is no name for a profile: it has letters, digits, '_', '-' and '.', and begins with none of '-' and '.'"
    );
    Err(ClientFailure::usage(problem))
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(unix)]
fn warn_if_open(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        let path = path.display();
        eprintln!("ketuk: warning: {path} holds secrets, and others may read it: chmod 600 {path}");
    }
}

#[cfg(not(unix))]
fn warn_if_open(_: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_profiles_stay_in_the_folder() {
        for wrong in ["", "..", ".x", "a/b", "a\\b", "-x", "ä"] {
            assert!(!is_name(wrong), "{wrong}");
        }
        for fine in ["home", "home.example", "a-b_c", "_x"] {
            assert!(is_name(fine), "{fine}");
        }
    }

    #[test]
    fn a_profile_is_named_after_its_host_or_user() {
        for (line, expected) in [
            ("ketuk://alice@home.example.org/ssh?sequence=1", "home"),
            ("ketuk://alice@192.0.2.1/ssh?sequence=1", "alice"),
            ("ketuk://alice@[2001:db8::1]/ssh?sequence=1", "alice"),
            ("ketuk://192.0.2.1/ssh?sequence=1", "home"),
        ] {
            assert_eq!(default_name(&line.parse().unwrap()), expected);
        }
    }
}
