//! The daemon's own chains in table `filter` of iptables, for a kernel without `nf_tables`.
//!
//! ```text
//!   INPUT    -> ketuk_input     jump ketuk_input_open, then all others are shut out of the doors' ports
//!   FORWARD  -> ketuk_forward   jump ketuk_forward_open, then the same
//! ```
//! The rules that let knockers in are in the `_open` chains, which a reload does not change. Each family's chains change in
//! one step, because `iptables-restore` replaces a table as a whole. Only packets that begin a connection are dropped.

mod listing;
mod text;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use self::listing::Listing;
use super::iptables::{Iptables, SHUTTING};
use super::own::Plan;
use super::sweep::{SweepError, output};
use crate::core::network::AddressFamily;
use crate::linux::process::find_program;

/// The firewall's chains that lead to [`SHUTTING`], in the same order.
const BUILT_IN: [&str; 2] = ["INPUT", "FORWARD"];

/// The options of `iptables-save` for one table.
const FILTER: [&str; 2] = ["-t", "filter"];

/// The time limit for loading or deleting the chains of both families. Packets wait meanwhile.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// The programs by which `ketukd unload` looks for the chains: this host's `iptables`, and iptables-legacy.
const PROGRAMS: [&str; 4] = ["iptables", "ip6tables", "iptables-legacy", "ip6tables-legacy"];

/// Why the chains of a family were not changed.
#[derive(Debug)]
pub struct ChainFault {
    /// The program that failed.
    pub(crate) program: String,
    /// The error.
    pub(crate) fault: SweepError,
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, chains {} and {}: {}", self.program, SHUTTING[0], SHUTTING[1], self.fault)
    }
}

/// The chains of both families, as they were loaded last.
#[derive(Debug)]
pub struct OwnChains {
    families: Vec<FamilyChains>,
}

/// The chains of one family.
#[derive(Debug)]
struct FamilyChains {
    family: AddressFamily,
    program: String,
    /// The rules after the last load; `None` before it, and while there should be no chains.
    loaded: Option<Vec<Vec<String>>>,
}

impl OwnChains {
    /// The chains that these programs make. A kernel without IPv6 needs none for IPv6.
    pub fn new(iptables: &Iptables) -> Self {
        let mut programs = vec![(AddressFamily::V4, &iptables.ipv4)];
        if Path::new("/proc/thread-self/net/if_inet6").exists() {
            programs.push((AddressFamily::V6, &iptables.ipv6));
        }
        let family =
            |(family, program): (_, &String)| FamilyChains { family, program: program.clone(), loaded: None };
        Self { families: programs.into_iter().map(family).collect() }
    }

    /// Loads the chains as `plan` wants them, each family's in one step. The first load empties the chains for knockers,
    /// whose rules an earlier run of the daemon left. Without a door the chains are deleted.
    ///
    /// # Errors
    /// The chains of this family were not changed. The other family's were, if they could be.
    pub fn load(&mut self, plan: &Plan<'_>) -> Result<(), ChainFault> {
        let deadline = Instant::now() + TIME_LIMIT;
        let mut first = Ok(());
        for family in &mut self.families {
            if let Err(fault) = family.load(plan, deadline) {
                first = first.and(Err(ChainFault { program: family.program.clone(), fault }));
            }
        }
        first
    }

    /// Whether the chains are as they were loaded. Chains that cannot be listed are not.
    pub fn is_intact(&self) -> bool {
        let deadline = Instant::now() + TIME_LIMIT;
        self.families.iter().all(|family| match &family.loaded {
            None => true,
            Some(loaded) => listed(&family.program, &FILTER, deadline)
                .is_ok_and(|listing| listing.is_reached() && listing.own_rules() == *loaded),
        })
    }
}

impl FamilyChains {
    fn load(&mut self, plan: &Plan<'_>, deadline: Instant) -> Result<(), SweepError> {
        let before = listed(&self.program, &FILTER, deadline)?;
        if plan.openings().next().is_none() {
            self.loaded = None;
            return unload_one(&self.program, &before, deadline);
        }
        let text = text::load(plan, self.family, &before, self.loaded.is_none());
        self.loaded = None;
        restore(&self.program, &text, deadline)?;
        let after = listed(&self.program, &FILTER, deadline)?;
        self.loaded = after.is_reached().then(|| after.own_rules());
        if self.loaded.is_some() { Ok(()) } else { Err(SweepError::Unreached) }
    }
}

/// Deletes the chains of every kind of iptables on this host. A host without iptables has none.
///
/// # Errors
/// Some chains are still there, or none of the programs works.
pub fn unload() -> Result<(), ChainFault> {
    let deadline = Instant::now() + TIME_LIMIT;
    let (mut works, mut last) = (false, Ok(()));
    for program in PROGRAMS.into_iter().filter(|program| find_program(program).is_some()) {
        let failed = |fault| ChainFault { program: program.to_owned(), fault };
        match listed(program, &[], deadline) {
            Ok(listing) => {
                works = true;
                unload_one(program, &listing, deadline).map_err(failed)?;
            }
            // This kernel may lack the program's kind of tables.
            Err(fault) => last = Err(failed(fault)),
        }
    }
    if works { Ok(()) } else { last }
}

fn unload_one(program: &str, listing: &Listing, deadline: Instant) -> Result<(), SweepError> {
    text::unload(listing).map_or(Ok(()), |text| restore(program, &text, deadline))
}

/// Lists the tables that `options` names. Without a name, iptables lists the existing tables and makes none.
fn listed(program: &str, options: &[&str], deadline: Instant) -> Result<Listing, SweepError> {
    let save = format!("{program}-save");
    if find_program(&save).is_none() {
        return Err(SweepError::Missing);
    }
    // A foreign rule's comment may be in any encoding. The daemon's own rules are ASCII.
    let argv: Vec<_> = [&*save].into_iter().chain(options.iter().copied()).map(str::to_owned).collect();
    output(&argv, None, deadline).map(|text| Listing::read(&String::from_utf8_lossy(&text)))
}

fn restore(program: &str, text: &str, deadline: Instant) -> Result<(), SweepError> {
    let argv = [&format!("{program}-restore"), "--noflush", "-w", "5"].map(str::to_owned);
    output(&argv, Some(text), deadline).map(drop)
}

#[cfg(test)]
mod tests;
