//! Elements of ipset. The kernel removes an element when its time is over, so the door shuts even if the daemon is dead.

use std::fmt;
use std::time::Duration;

use crate::config::Door;
use crate::core::passage::Passage;
use crate::core::sequence::Step;

/// Longest door name that fits into the name of an ipset, in bytes (`IPSET_MAXNAMELEN` less its zero). Doors with
/// longer names get no set.
pub(super) const MAX_NAME_IN_SET: usize = 31 - "ketuk__4".len();

/// Longest timeout that ipset takes, in seconds. Longer grants are ended by the daemon alone.
const MAX_TIMEOUT_S: u64 = 2_147_483;

/// The element of a passage in a set of its door. Its text is `192.0.2.1`, or `192.0.2.1,tcp:22` at a door with
/// `any_port`.
#[derive(Clone, Copy)]
pub(super) struct SetElement<'a> {
    door: &'a Door,
    passage: Passage,
}

impl<'a> SetElement<'a> {
    /// `None` if the door has no set.
    pub(super) fn new(door: &'a Door, passage: Passage) -> Option<Self> {
        (door.opens_ports() && door.name.len() <= MAX_NAME_IN_SET).then_some(Self { door, passage })
    }

    /// The command that adds the element, or sets its remaining time. Without `time` there is no end.
    pub(super) fn put(self, time: Option<Duration>) -> Vec<String> {
        let set = self.set();
        let family = if self.passage.address.is_ipv4() { "inet" } else { "inet6" };
        let kind = if self.door.any_port.is_empty() { "hash:net" } else { "hash:ip,port" };
        // Rounded up, so that the daemon, which counts in milliseconds, ends the grant first.
        let timeout = time.map(|time| time.as_secs() + 1).filter(|time| *time <= MAX_TIMEOUT_S).unwrap_or(0);
        shell(format!(
            "ipset -exist create {set} {kind} family {family} timeout 0; \
             ipset -exist add {set} {self} timeout {timeout}"
        ))
    }

    /// The command that removes the element.
    pub(super) fn remove(self) -> Vec<String> {
        shell(format!("ipset -exist del {} {self}", self.set()))
    }

    /// The condition of a rule that the set has an element for the packet.
    pub(super) fn condition(self) -> [String; 5] {
        // A door with `any_port` has the port in its set.
        let parts = if self.door.any_port.is_empty() { "src" } else { "src,dst" };
        ["-m", "set", "--match-set", &self.set(), parts].map(str::to_owned)
    }

    /// The name of the set.
    fn set(self) -> String {
        format!("ketuk_{}_{}", self.door.name, if self.passage.address.is_ipv4() { '4' } else { '6' })
    }
}

impl fmt::Display for SetElement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.door.grant_prefix.shown(self.passage.address).fmt(f)?;
        self.passage.port.map_or(Ok(()), |Step { protocol, port }| write!(f, ",{protocol}:{port}"))
    }
}

/// A command that succeeds only if ipset, this program and the kernel support sets in this chain. It inserts a rule
/// without a target and deletes it.
pub(super) fn probe(program: &str, chain: &str) -> Vec<String> {
    shell(format!(
        "ipset -exist create ketuk hash:net timeout 0 && r='{chain} -m set --match-set ketuk src' && \
         {program} -w 5 -I $r && {program} -w 5 -D $r && ipset destroy ketuk"
    ))
}

/// A shell command. Door names and addresses have no special characters.
fn shell(text: String) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), text]
}
