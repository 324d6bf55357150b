//! The points about the firewall: ports that are open to everybody, and the parts that doors need to open.

use super::finding::Finding;
use super::subject::Subject;
use crate::config::{Config, Door};
use crate::control::show::Status;
use crate::firewall::backend::BackendKind;
use crate::firewall::error::NftError;
use crate::firewall::exposure::{self, DoorFault};
use crate::firewall::iptables::Shutting;
use crate::firewall::sets::Sets;
use crate::firewall::{backend, own, sweep};
use crate::linux::process::find_program;

/// The findings of the loaded rules about the doors.
pub(super) struct Firewall {
    backend: BackendKind,
    found: Result<Vec<exposure::DoorFinding>, Vec<Finding>>,
}

impl Firewall {
    pub(super) fn look(subject: &Subject<'_>) -> Self {
        let backend = subject.config.as_ref().map_or(BackendKind::None, backend::resolve);
        let found = subject.config().and_then(|config| {
            exposure::look_at(config, backend, subject.devices()?)
                .map_err(|error| vec![Finding::unreadable("the loaded rules", &error)])
        });
        Self { backend, found }
    }

    /// The doors' ports that everybody reaches, or may reach, without a knock.
    pub(super) fn open_ports(&self) -> Vec<Finding> {
        self.faults(&|fault| matches!(fault, DoorFault::Open { .. } | DoorFault::Unknown(_)))
    }

    /// The missing parts without which no client gets in: tables, sets, programs, or a rule that lets clients pass.
    pub(super) fn sets_and_rules(&self, subject: &Subject<'_>) -> Vec<Finding> {
        let config = match subject.config() {
            Ok(config) => config,
            Err(unknown) => return unknown,
        };
        let doors: Vec<_> = config.doors.iter().filter(|door| door.enabled && door.opens_ports()).collect();
        if doors.is_empty() {
            return Vec::new();
        }
        let mut findings = match self.backend {
            BackendKind::None => return Vec::new(),
            BackendKind::Iptables(shutting) => iptables(shutting),
            _ => sets(self.backend, config, &doors),
        };
        if findings.is_empty() {
            findings = self.faults(&|fault| matches!(fault, DoorFault::Blocked { .. }));
        }
        let waiting = subject.status.iter().flat_map(Status::grants).filter(|grant| !grant.in_firewall);
        for grant in waiting {
            findings.push(Finding::wrong(
                format!(
                    "door '{}' should be open for {}, but the firewall does not have the entry",
                    grant.door.unwrap_or_default(),
                    grant.address
                ),
                "the daemon's log says why",
            ));
        }
        findings
    }

    fn faults(&self, kind: &dyn Fn(&DoorFault) -> bool) -> Vec<Finding> {
        match &self.found {
            Ok(found) => {
                let found = found.iter().filter(|found| kind(&found.fault));
                found.map(finding).collect()
            }
            Err(unknown) => unknown.clone(),
        }
    }
}

/// A finding in the loaded rules, in the words of the doctor.
fn finding(found: &exposure::DoorFinding) -> Finding {
    match found.fault {
        DoorFault::Unknown(_) => Finding::NotKnown { what: found.what(), advice: found.advice() },
        DoorFault::Open { .. } | DoorFault::Blocked { .. } => Finding::wrong(found.what(), found.advice()),
    }
}

/// The doors' sets that nftables lacks.
fn sets(backend: BackendKind, config: &Config, doors: &[&Door]) -> Vec<Finding> {
    let table = match backend {
        BackendKind::Own => own::table(),
        _ => config.globals.nft_table.clone().unwrap_or_else(backend::fw4),
    };
    let name = format!("table {} {}", table.family.name(), table.name);
    let mut sets = match Sets::connect(table) {
        Ok(sets) => sets,
        Err(error) => return vec![Finding::unreadable(&format!("the firewall's {name}"), &error)],
    };
    let advice = match backend {
        BackendKind::Own => "start the daemon, which makes it",
        BackendKind::Fw4 => "run 'service firewall reload'",
        _ => "load the firewall again, and then the output of 'ketukd ruleset'",
    };
    match sets.table_exists() {
        Ok(true) => {}
        Ok(false) if backend == BackendKind::Own => {
            return vec![Finding::wrong(
                format!("{name} is not loaded: it does not shut the doors' ports"),
                advice,
            )];
        }
        Ok(false) => return vec![Finding::wrong(format!("there is no {name}: no door can open"), advice)],
        Err(error) => return vec![refused(&error)],
    }
    let mut findings = Vec::new();
    for door in doors {
        match sets.missing(*door) {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => findings.push(Finding::wrong(
                format!("door '{}' cannot open: {name} has no set {}", door.name, missing[0]),
                advice,
            )),
            Err(error) => findings.push(refused(&error)),
        }
    }
    findings
}

/// The finding if the firewall cannot be asked.
fn refused(error: &NftError) -> Finding {
    match error {
        NftError::Unsupported => Finding::wrong(error.to_string(), ""),
        NftError::Denied => {
            Finding::not_known("the firewall cannot be read without privilege: run it as root")
        }
        _ => Finding::not_known(error.to_string()),
    }
}

/// The missing parts for rules of iptables.
fn iptables(shutting: Shutting) -> Vec<Finding> {
    let iptables = sweep::working();
    if find_program(&iptables.ipv4).is_none() {
        return vec![Finding::wrong(
            "there is no program iptables: no door can open",
            "install it, or choose another backend",
        )];
    }
    if !nix::unistd::geteuid().is_root() {
        return vec![Finding::not_known("iptables cannot be asked without privilege: run it as root")];
    }
    if !sweep::has_chain(&iptables, iptables.input()) {
        return vec![Finding::wrong(
            "iptables cannot list its chain INPUT: no door can open",
            "run 'iptables -S INPUT', which says why",
        )];
    }
    if shutting == Shutting::OwnChain && !sweep::has_chain(&iptables, iptables.own_input()) {
        return vec![Finding::wrong(
            "the daemon's own chains of iptables are not loaded: they do not shut the doors' ports",
            "start the daemon, which makes them",
        )];
    }
    Vec::new()
}
