//! The points about the configuration, the rights and the daemon.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use nix::unistd::geteuid;
use zeroize::Zeroizing;

use super::finding::Finding;
use super::subject::{JAILS_COPY, Subject};
use crate::cli::arguments::DEFAULT_CONFIG;
use crate::cli::control::Unreached;
use crate::config::{self, Config, FirewallFile};
use crate::control::client;
use crate::firewall::backend::{self, BackendKind};
use crate::firewall::iptables::Shutting;

/// OpenWrt's service.
const INIT_SCRIPT: &str = "/etc/init.d/ketuk";

/// `SECCOMP_MODE_FILTER`, as /proc writes it.
const FILTERED: &str = "2";

/// The configuration, as `ketukd check` sees it.
pub(super) fn configuration(subject: &Subject<'_>) -> Vec<Finding> {
    match &subject.config {
        Ok(config) => {
            let warnings = config::warnings(&subject.path, &FirewallFile::beside(&subject.path), config);
            warnings.into_iter().map(|warning| Finding::wrong(warning, "")).collect()
        }
        Err(config::Error::Read { cause, .. }) if cause.kind() == ErrorKind::PermissionDenied => {
            vec![Finding::unreadable(&subject.path.to_string_lossy(), cause)]
        }
        Err(error) => vec![Finding::wrong(error.to_string(), "")],
    }
}

/// Whether everything can be looked at.
pub(super) fn rights() -> Vec<Finding> {
    if geteuid().is_root() {
        return Vec::new();
    }
    vec![Finding::not_known("not everything can be looked at without privilege: run it as root")]
}

/// Whether the daemon runs, as this program and with this configuration, and is confined.
pub(super) fn daemon(subject: &Subject<'_>) -> Vec<Finding> {
    let status = match &subject.status {
        Ok(status) => status,
        Err(Unreached::Refused(reason)) => return vec![Finding::not_known(reason)],
        Err(Unreached::Absent(tried)) => {
            return vec![Finding::wrong(format!("no daemon answers at {tried}"), how_to_start(subject))];
        }
        Err(unreached @ Unreached::Broken(..)) => {
            return vec![Finding::wrong(unreached.to_string(), "read its log, and restart it")];
        }
    };
    let (daemon, mut findings) = (status.daemon(), Vec::new());
    if daemon.version != env!("CARGO_PKG_VERSION") {
        findings.push(Finding::wrong(
            format!("version {} runs, and {} is installed", daemon.version, env!("CARGO_PKG_VERSION")),
            "restart it",
        ));
    }
    if daemon.config == JAILS_COPY && subject.path == Path::new(DEFAULT_CONFIG) {
        findings.extend(old_copy(&subject.path));
    } else if !is_same_file(&subject.path, Path::new(daemon.config)) {
        findings.push(Finding::wrong(
            format!("it runs with {}, and not with {}", daemon.config, subject.path.display()),
            "name its file with --config, or start it with this one",
        ));
    }
    findings.extend(daemon.root().map(|why| Finding::wrong(why, "")));
    findings.extend(subject.config.as_ref().map_or(None, |config| confinement(subject, config)));
    findings
}

/// The fault if the daemon in OpenWrt's jail has not got the configuration as it is now.
fn old_copy(path: &Path) -> Option<Finding> {
    // Both hold users' secrets.
    let read = |path: &Path| fs::read(path).map(Zeroizing::new);
    // If the file itself cannot be read, the configuration's point says so.
    let file = read(path).ok()?;
    match read(Path::new(JAILS_COPY)) {
        Ok(copy) if copy == file => None,
        Ok(_) => Some(Finding::wrong(
            format!("{} has changed since the daemon read it", path.display()),
            "'service ketuk reload' has the daemon read it, if it is right",
        )),
        Err(error) => Some(Finding::unreadable(JAILS_COPY, &error)),
    }
}

/// Whether two paths lead to one file. If either cannot be read, their names count.
fn is_same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// How a daemon that does not run is started.
fn how_to_start(subject: &Subject<'_>) -> String {
    let (start, log) = if Path::new(INIT_SCRIPT).exists() {
        ("service ketuk restart", "logread -e ketuk")
    } else {
        ("systemctl start ketukd", "journalctl -u ketukd")
    };
    let is_off = subject.config.as_ref().is_ok_and(|config| !config.globals.enabled);
    if is_off && Path::new(INIT_SCRIPT).exists() {
        return format!("set enabled '1' in the globals, and run '{start}'");
    }
    format!("run '{start}'; if it ends, '{log}' says why")
}

/// The fault if the process that reads packets may make every system call. It must be able to if the daemon makes its
/// own chains of iptables, because it then starts programs itself.
fn confinement(subject: &Subject<'_>, config: &Config) -> Option<Finding> {
    if backend::resolve(config) == BackendKind::Iptables(Shutting::OwnChain) {
        return None;
    }
    let process = subject.arguments.sockets().into_iter().find_map(|socket| client::process(socket).ok()?);
    let status = process.and_then(|process| fs::read_to_string(format!("/proc/{process}/status")).ok());
    let seccomp =
        status.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("Seccomp:")));
    match seccomp.map(str::trim) {
        Some(FILTERED) => None,
        Some(_) => Some(Finding::wrong(
            "the process that reads packets may make every system call",
            "restart it; if its log says that this kernel does not bound system calls, the kernel lacks seccomp",
        )),
        None => Some(Finding::not_known("its process cannot be seen, so its confinement is not known")),
    }
}
