//! Deletes iptables rules that a crash has left. Such rules have no timeout, so the next start deletes them.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use crate::firewall::iptables::{Chain, EXIT_BUSY, Iptables};
use crate::linux::process::{self, Exit, Output, OutputError};

/// The time limit of a whole sweep: some hundred rules on a slow router, and several waits for the lock.
pub const SWEEP_TIME_LIMIT: Duration = Duration::from_secs(30);

/// The time limit of the search for lost rules, see [`all_gone`].
pub const LOOK_TIME_LIMIT: Duration = Duration::from_secs(10);

/// Largest listing of one chain, in bytes. A blocklist of some ten thousand rules fits.
const MAX_LISTING: usize = 1024 * 1024;

/// The most tries for a command that waits for the lock in vain. Without privilege iptables fails with the same code,
/// at once and always.
const MAX_ATTEMPTS: usize = 3;

/// The result of a sweep of one family's chains.
#[derive(Debug)]
pub struct Swept {
    /// The program that ran.
    pub program: String,
    /// The chain that `fault` is about.
    pub chain: String,
    /// The number of ketuk's rules that were deleted.
    pub deleted: usize,
    /// The number of ketuk's rules that could not be deleted.
    pub left: usize,
    /// The error, if there was one.
    pub fault: Option<SweepError>,
}

/// Why a chain or one of its rules could not be swept.
#[derive(Debug)]
pub enum SweepError {
    /// The program does not exist.
    Missing,
    /// The program failed.
    Failed(Exit),
    /// The program could not be run to its end.
    Output(OutputError),
    /// The daemon's own chains were loaded, but packets do not enter them first.
    Unreached,
}

/// Deletes all of ketuk's rules of both families. It blocks for at most `limit`, so call it at the daemon's start, before
/// doors are open. `forwards` says that doors translate addresses.
pub fn sweep(iptables: &Iptables, forwards: bool, limit: Duration) -> [Swept; 2] {
    let deadline = Instant::now() + limit;
    let nat = forwards || nat_may_hold_rules();
    [&iptables.ipv4, &iptables.ipv6].map(|program| sweep_family(iptables, program, nat, deadline))
}

/// Whether a chain exists, for IPv4.
pub fn has_chain(iptables: &Iptables, chain: Chain<'_>) -> bool {
    let deadline = Instant::now() + SWEEP_TIME_LIMIT;
    // A chain whose listing is too long exists.
    !matches!(
        output(&iptables.list(&iptables.ipv4, chain), None, deadline),
        Err(SweepError::Failed(_) | SweepError::Missing)
    )
}

/// The programs of this host that work. If `iptables` needs `nf_tables` and the kernel has none, these are the programs of
/// iptables-legacy.
pub fn working() -> Iptables {
    let usual = Iptables::default();
    let older = Iptables {
        ipv4: "iptables-legacy".to_owned(),
        ipv6: "ip6tables-legacy".to_owned(),
        ..Iptables::default()
    };
    if has_chain(&usual, usual.input()) || !has_chain(&older, older.input()) { usual } else { older }
}

/// Whether ipset works, so that the kernel can end grants.
pub fn has_sets(iptables: &Iptables) -> bool {
    let deadline = Instant::now() + SWEEP_TIME_LIMIT;
    output(&iptables.probe(), None, deadline).is_ok()
}

/// Whether no chain holds any of ketuk's rules any more, because the firewall was made anew. A chain that cannot be listed
/// counts as holding one.
pub fn all_gone(iptables: &Iptables, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let gone = |program: &str| {
        iptables.chains(program).into_iter().filter(|chain| chain.table.is_none()).all(|chain| {
            output(&iptables.list(program, chain), None, deadline)
                .is_ok_and(|text| iptables.stale(program, chain, &String::from_utf8_lossy(&text)).is_empty())
        })
    };
    let programs = [&iptables.ipv4, &iptables.ipv6].into_iter();
    programs.filter(|program| process::find_program(program).is_some()).all(|program| gone(program))
}

/// Whether table nat can hold ketuk's rules. Listing a table of iptables-legacy creates it, and with it connection tracking
/// on a host that may not need it.
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
        return Swept { fault: Some(SweepError::Missing), ..swept };
    }
    for chain in chains {
        let fault = |swept: &mut Swept, fault| {
            chain.name.clone_into(&mut swept.chain);
            swept.fault = Some(fault);
        };
        let listing = match output(&iptables.list(program, chain), None, deadline) {
            Ok(listing) => listing,
            Err(error) => {
                fault(&mut swept, error);
                continue;
            }
        };
        // A foreign rule's comment may be in any encoding; our own rules are ASCII.
        for argv in iptables.stale(program, chain, &String::from_utf8_lossy(&listing)) {
            match output(&argv, None, deadline) {
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

/// Runs one command with this standard input, up to [`MAX_ATTEMPTS`] times. Returns its standard output.
pub(super) fn output(argv: &[String], input: Option<&str>, deadline: Instant) -> Result<Vec<u8>, SweepError> {
    let mut attempts = 1;
    loop {
        match process::output(argv, input, deadline, MAX_LISTING) {
            Ok(Output { text, exit: Exit::Code(0) }) => return Ok(text),
            Ok(Output { exit: Exit::Code(EXIT_BUSY), .. }) if attempts < MAX_ATTEMPTS => attempts += 1,
            Ok(Output { exit, .. }) => return Err(SweepError::Failed(exit)),
            Err(error) => return Err(SweepError::Output(error)),
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

impl fmt::Display for SweepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no such program; is the package installed?"),
            Self::Unreached => f.write_str("another program changes the firewall at the same time"),
            Self::Failed(exit) => exit.fmt(f),
            Self::Output(OutputError::TooLong) => write!(f, "lists more than {MAX_LISTING} bytes of rules"),
            Self::Output(error) => error.fmt(f),
        }
    }
}
