//! Deletes iptables rules that a crash has left. Such rules have no timeout, so the next start deletes them.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use crate::firewall::iptables::{Chain, EXIT_BUSY, Iptables};
use crate::linux::process::{self, Exit, OutputError};

/// How long a sweep may take in all: the time of some hundred rules on a slow router, and of several
/// waits for the lock.
pub const SWEEP_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Longest listing of one chain, in bytes: a blocklist of some ten thousand rules fits.
const MAX_LISTING: usize = 1024 * 1024;

/// How often a command is tried that has waited for the lock in vain. Without privilege iptables fails in the same way, at
/// once and always.
const MAX_ATTEMPTS: usize = 3;

/// The result of a sweep of one family's chains.
#[derive(Debug)]
pub struct Swept {
    /// The program that was run.
    pub program: String,
    /// The chain that `fault` is about.
    pub chain: String,
    /// Number of our rules that it deleted.
    pub deleted: usize,
    /// Number of our rules that it could not delete.
    pub left: usize,
    /// What went wrong.
    pub fault: Option<Fault>,
}

/// Why a chain, or a rule of it, could not be swept.
#[derive(Debug)]
pub enum Fault {
    /// There is no such program.
    Missing,
    /// The program failed.
    Failed(Exit),
    /// The program could not be run, or not to its end.
    Output(OutputError),
}

/// Deletes all our rules of both families. It blocks for at most `limit`, so it is for the start of the daemon, before doors
/// are open. `forwards` says that the doors translate addresses.
pub fn sweep(iptables: &Iptables, forwards: bool, limit: Duration) -> [Swept; 2] {
    let deadline = Instant::now() + limit;
    let nat = forwards || nat_may_hold_rules();
    [&iptables.ipv4, &iptables.ipv6].map(|program| sweep_family(iptables, program, nat, deadline))
}

/// Whether a chain is there, for IPv4.
pub fn has_chain(iptables: &Iptables, chain: Chain<'_>) -> bool {
    let deadline = Instant::now() + SWEEP_TIME_LIMIT;
    // A chain whose listing is too long exists.
    !matches!(output(&iptables.list(&iptables.ipv4, chain), deadline), Err(Fault::Failed(_) | Fault::Missing))
}

/// Whether ipset works here, so that the kernel can time what is open.
pub fn has_sets(iptables: &Iptables) -> bool {
    let deadline = Instant::now() + SWEEP_TIME_LIMIT;
    output(&iptables.probe(), deadline).is_ok()
}

/// Whether no chain holds a rule of ours any more: somebody has made the firewall anew. A chain that cannot
/// be listed counts as one that does.
pub fn all_gone(iptables: &Iptables, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let gone = |program: &str| {
        iptables.chains(program).into_iter().filter(|chain| chain.table.is_none()).all(|chain| {
            output(&iptables.list(program, chain), deadline)
                .is_ok_and(|text| iptables.stale(program, chain, &String::from_utf8_lossy(&text)).is_empty())
        })
    };
    let programs = [&iptables.ipv4, &iptables.ipv6].into_iter();
    programs.filter(|program| process::find_program(program).is_some()).all(|program| gone(program))
}

/// Whether table nat can hold rules of ours. To list a table of the older kind makes it, and with it
/// connection tracking on a host that has no other use for it.
fn nat_may_hold_rules() -> bool {
    fs::read_to_string("/proc/net/ip_tables_names")
        .map_or(true, |tables| tables.lines().any(|table| table == "nat"))
}

fn sweep_family(iptables: &Iptables, program: &str, nat: bool, deadline: Instant) -> Swept {
    let chains = iptables.chains(program).into_iter().filter(|chain| nat || chain.table.is_none());
    let mut swept = Swept {
        program: program.to_owned(),
        chain: iptables.chain.clone(),
        deleted: 0,
        left: 0,
        fault: None,
    };
    if process::find_program(program).is_none() {
        return Swept { fault: Some(Fault::Missing), ..swept };
    }
    for chain in chains {
        let fault = |swept: &mut Swept, fault| {
            chain.name.clone_into(&mut swept.chain);
            swept.fault = Some(fault);
        };
        let listing = match output(&iptables.list(program, chain), deadline) {
            Ok(listing) => listing,
            Err(error) => {
                fault(&mut swept, error);
                continue;
            }
        };
        // A foreign rule's comment may be in any encoding; our own rules are ASCII.
        for argv in iptables.stale(program, chain, &String::from_utf8_lossy(&listing)) {
            match output(&argv, deadline) {
                Ok(_) => swept.deleted += 1,
                Err(error) => {
                    swept.left += 1;
                    fault(&mut swept, error);
                }
            }
        }
    }
    swept
}

/// Runs one command, up to [`MAX_ATTEMPTS`] times.
fn output(argv: &[String], deadline: Instant) -> Result<Vec<u8>, Fault> {
    let mut attempts = 1;
    loop {
        match process::output(argv, deadline, MAX_LISTING) {
            Ok((text, Exit::Code(0))) => return Ok(text),
            Ok((_, Exit::Code(EXIT_BUSY))) if attempts < MAX_ATTEMPTS => attempts += 1,
            Ok((_, exit)) => return Err(Fault::Failed(exit)),
            Err(error) => return Err(Fault::Output(error)),
        }
    }
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, chain, deleted, left, fault } = self;
        write!(f, "{program}: deleted {deleted} stale rules")?;
        if *left > 0 {
            write!(f, ", {left} are left and keep doors open")?;
        }
        fault.as_ref().map_or(Ok(()), |fault| write!(f, ": chain {chain}: {fault}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no such program; is the package installed?"),
            Self::Failed(exit) => exit.fmt(f),
            Self::Output(OutputError::TooLong) => write!(f, "lists more than {MAX_LISTING} bytes of rules"),
            Self::Output(error) => error.fmt(f),
        }
    }
}
