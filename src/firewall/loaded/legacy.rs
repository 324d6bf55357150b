//! Rules of iptables-legacy, which `nf_tables` does not list.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::effect::{Effect, Tri};
use super::packet::Packet;
use super::{ChainName, Family, Hook, KernelRule, LoadedChain, MAX_RULES, xt};
use crate::config::HAS_IPTABLES;
use crate::core::network::AddressFamily;
use crate::linux::xtables::{Extension, HOOKS, RawRule, Table};

/// The files that list the tables of a family, one a line. A file exists once iptables-legacy has made a table.
const NAMES: [(AddressFamily, Family, &str); 2] = [
    (AddressFamily::V4, Family::IPV4, "/proc/thread-self/net/ip_tables_names"),
    (AddressFamily::V6, Family::IPV6, "/proc/thread-self/net/ip6_tables_names"),
];

/// The opened files of [`NAMES`]. Only root may open them. A daemon that is not root any more reads the files that it opened
/// before.
static OPENED: Mutex<[Option<File>; NAMES.len()]> = Mutex::new([const { None }; NAMES.len()]);

/// Most bytes that are read of a file of [`NAMES`]. The names of all tables are shorter.
const MAX_NAMES: usize = 256;

/// Each table with the priority of its chains at the hooks that the check follows.
const TABLES: [(&str, i32); 5] =
    [("raw", -300), ("mangle", -150), ("nat", -100), ("filter", 0), ("security", 50)];

/// The built-in chains, by the number of their hook.
const BUILT_IN: [&str; HOOKS] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// `IPT_F_FRAG`, `IPT_F_GOTO`, and `IP6T_F_GOTO`.
const FRAGMENT_4: u8 = 1;
const GOTO: [u8; 2] = [2, 4];

/// `IPT_INV_*`, which are the same for IPv6.
mod inverted {
    pub(super) const DEVICE_IN: u8 = 1;
    pub(super) const SOURCE: u8 = 8;
    pub(super) const DESTINATION: u8 = 0x10;
    pub(super) const FRAGMENT: u8 = 0x20;
    pub(super) const PROTOCOL: u8 = 0x40;
}

/// A rule.
#[derive(Debug)]
pub(super) struct LegacyRule {
    conditions: Conditions,
    matches: Vec<OwnedExtension>,
    target: Target,
}

/// A match or a target.
#[derive(Debug)]
struct OwnedExtension {
    name: String,
    revision: u32,
    /// Its structure.
    info: Box<[u8]>,
}

#[derive(Debug)]
enum Target {
    Known(Effect),
    Extension(OwnedExtension),
}

/// The tables that were found.
pub(super) struct LegacyTables {
    /// Their chains.
    pub(super) chains: Vec<LoadedChain>,
    /// Whether there may be tables that could not be read.
    pub(super) is_partial: bool,
}

/// Reads the tables of both families.
///
/// # Errors
/// A table cannot be read.
pub(super) fn read() -> io::Result<LegacyTables> {
    // Without /proc it is not known which tables there are.
    let is_partial = !Path::new("/proc/thread-self/net").exists();
    if !HAS_IPTABLES {
        let may_be_there = NAMES.iter().any(|(.., file)| Path::new(file).exists());
        return Ok(LegacyTables { chains: Vec::new(), is_partial: is_partial || may_be_there });
    }
    let mut found = LegacyTables { chains: Vec::new(), is_partial };
    for (at, (family, of, _)) in NAMES.into_iter().enumerate() {
        let names = match names(at) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Only root may open the file. A request for a missing table would make the kernel load it.
            Err(_) => {
                found.is_partial = true;
                continue;
            }
        };
        for name in names.lines() {
            let Some((name, priority)) = TABLES.into_iter().find(|(known, _)| *known == name) else {
                found.is_partial = true;
                continue;
            };
            let table = Table::read(family, name, MAX_RULES)?;
            found.chains.extend(chains(&table, of, name, priority));
        }
    }
    Ok(found)
}

/// The text of a file of [`NAMES`].
fn names(at: usize) -> io::Result<String> {
    let file = &mut OPENED.lock().unwrap_or_else(PoisonError::into_inner)[at];
    match File::open(NAMES[at].2) {
        Ok(opened) => *file = Some(opened),
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
        Err(_) => {}
    }
    let file = file.as_ref().ok_or(io::ErrorKind::PermissionDenied)?;
    let mut text = [0; MAX_NAMES];
    let len = file.read_at(&mut text, 0)?;
    Ok(String::from_utf8_lossy(&text[..len]).into_owned())
}

/// A hash of the rules of table `filter` of both families. It changes when a rule does. `None` if there is no such table, or
/// it cannot be read.
pub fn fingerprint() -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let mut is_there = false;
    for (at, (family, ..)) in NAMES.into_iter().enumerate() {
        let has_filter = names(at).is_ok_and(|names| names.lines().any(|name| name == "filter"));
        if !has_filter {
            continue;
        }
        is_there = true;
        let table = Table::read(family, "filter", MAX_RULES).ok()?;
        for RawRule { conditions, extensions, .. } in table.rules() {
            (conditions, extensions).hash(&mut hasher);
        }
    }
    is_there.then(|| hasher.finish())
}

/// The chains of a table.
fn chains(table: &Table, family: Family, name: &str, priority: i32) -> Vec<LoadedChain> {
    let named =
        |chain: &str| ChainName { family, table: name.to_owned(), chain: chain.to_owned(), is_legacy: true };
    // The heads of chains first, since a rule may jump to a later one.
    let mut heads: Vec<(usize, LoadedChain)> = Vec::new();
    let mut policies = Vec::new();
    for (number, chain) in (0..).zip(BUILT_IN) {
        let Some((first, policy)) = table.hook(number) else { continue };
        policies.push(policy);
        let drops =
            table.rules().any(|rule| rule.offset == policy && verdict(&rule) == Some(XtVerdict::DROP));
        let hook = Hook { number, priority, is_nat: name == "nat", drops };
        heads.push((first, LoadedChain { name: named(chain), hook: Some(hook), rules: Vec::new() }));
    }
    for rule in table.rules() {
        if let Some(target) = rule.target().filter(|target| target.name == "ERROR") {
            let text = target.data.split(|byte| *byte == 0).next().unwrap_or(&[]);
            let chain = named(&String::from_utf8_lossy(text));
            heads.push((rule.next, LoadedChain { name: chain, hook: None, rules: Vec::new() }));
        }
    }
    heads.sort_by_key(|(first, _)| *first);
    let starts: Vec<(usize, String)> =
        heads.iter().map(|(first, chain)| (*first, chain.name.chain.clone())).collect();
    for rule in table.rules() {
        let is_head = rule.target().is_some_and(|target| target.name == "ERROR");
        if is_head || policies.contains(&rule.offset) {
            continue;
        }
        let at = heads.partition_point(|(first, _)| *first <= rule.offset);
        let Some((_, chain)) = at.checked_sub(1).and_then(|at| heads.get_mut(at)) else { continue };
        chain.rules.push(KernelRule::Legacy(LegacyRule::of(&rule, family, &starts)));
    }
    heads.into_iter().map(|(_, chain)| chain).collect()
}

/// The number in iptables' own target: a verdict, or the place of the rule to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct XtVerdict(i32);

impl XtVerdict {
    const DROP: Self = Self(-1);
    const ACCEPT: Self = Self(-2);
    const RETURN: Self = Self(-5);
}

fn verdict(rule: &RawRule<'_>) -> Option<XtVerdict> {
    let target = rule.target().filter(|target| target.name.is_empty())?;
    Some(XtVerdict(i32::from_ne_bytes(*target.data.first_chunk()?)))
}

impl LegacyRule {
    /// `starts` are the first rules of the chains and their names.
    fn of(rule: &RawRule<'_>, family: Family, starts: &[(usize, String)]) -> Self {
        let owned = |Extension { name, revision, data }: Extension<'_>| OwnedExtension {
            name: name.to_owned(),
            revision: u32::from(revision),
            info: data.into(),
        };
        let conditions = Conditions::of(rule.conditions, family);
        let target = match (verdict(rule), rule.target()) {
            (Some(XtVerdict::ACCEPT), _) => Target::Known(Effect::Accept),
            (Some(XtVerdict::DROP), _) => Target::Known(Effect::Drop),
            (Some(XtVerdict::RETURN), _) => Target::Known(Effect::Return),
            (Some(XtVerdict(to)), _) => Target::Known(match usize::try_from(to) {
                // A rule without a target goes on with the next rule.
                Ok(to) if to == rule.next => Effect::Continue,
                Ok(to) => {
                    starts.iter().find(|(first, _)| *first == to).map_or(Effect::Unknown, |(_, chain)| {
                        let chain = chain.clone();
                        if conditions.is_goto { Effect::Goto(chain) } else { Effect::Jump(chain) }
                    })
                }
                Err(_) => Effect::Unknown,
            }),
            (None, Some(target)) => Target::Extension(owned(target)),
            (None, None) => Target::Known(Effect::Unknown),
        };
        Self { conditions, matches: rule.matches().map(owned).collect(), target }
    }

    /// Whether the rule matches a packet, and its effect then.
    pub(super) fn evaluate(&self, packet: &mut Packet<'_>) -> (Tri, Effect) {
        let mut applies = self.conditions.hold(packet);
        for OwnedExtension { name, revision, info } in &self.matches {
            match xt::matches(name, *revision, info, packet) {
                _ if applies == Tri::No => break,
                Tri::No => applies = Tri::No,
                Tri::Maybe => applies = Tri::Maybe,
                Tri::Yes => {}
            }
        }
        if applies == Tri::No {
            return (Tri::No, Effect::Continue);
        }
        let effect = match &self.target {
            Target::Known(effect) => effect.clone(),
            Target::Extension(OwnedExtension { name, revision, info }) => {
                xt::target(name, *revision, info, packet, applies == Tri::Yes)
            }
        };
        (applies, effect)
    }
}

/// A value, and a mask of the bits that count.
#[derive(Clone, Copy, Debug)]
struct Masked<T> {
    value: T,
    mask: T,
}

/// The conditions on addresses, devices and the protocol: `struct ipt_ip`, `struct ip6t_ip6`.
#[derive(Debug)]
struct Conditions {
    source: Masked<IpAddr>,
    destination: Masked<IpAddr>,
    /// The name of the device for the way in.
    device: Masked<[u8; 16]>,
    /// Whether there is a condition on the device of the way out.
    has_device_out: bool,
    /// The protocol's number; 0 is any.
    protocol: u8,
    /// Whether only later fragments match.
    is_fragment: bool,
    is_goto: bool,
    inverted: u8,
}

impl Conditions {
    fn of(bytes: &[u8], family: Family) -> Self {
        let is_ipv4 = family == Family::IPV4;
        let len = if is_ipv4 { 4 } else { 16 };
        let address = |index: usize| {
            let bytes = bytes.get(index * len..).unwrap_or(&[]);
            if is_ipv4 {
                IpAddr::V4(Ipv4Addr::from(bytes.first_chunk::<4>().copied().unwrap_or_default()))
            } else {
                IpAddr::V6(Ipv6Addr::from(bytes.first_chunk::<16>().copied().unwrap_or_default()))
            }
        };
        // Names of the devices in and out, then their masks, then the protocol.
        let rest = bytes.get(4 * len..).unwrap_or(&[]);
        let name =
            |index: usize| rest.get(16 * index..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; 16]);
        let byte = |at: usize| rest.get(64 + at).copied().unwrap_or(0);
        let protocol = u16::from_ne_bytes([byte(0), byte(1)]);
        // For IPv6 the type of service stands between.
        let flags = if is_ipv4 { byte(2) } else { byte(3) };
        Self {
            source: Masked { value: address(0), mask: address(2) },
            destination: Masked { value: address(1), mask: address(3) },
            device: Masked { value: name(0), mask: name(2) },
            has_device_out: name(3) != [0; 16],
            protocol: u8::try_from(protocol).unwrap_or(u8::MAX),
            is_fragment: is_ipv4 && flags & FRAGMENT_4 != 0,
            is_goto: flags & GOTO[usize::from(!is_ipv4)] != 0,
            inverted: if is_ipv4 { byte(3) } else { byte(4) },
        }
    }

    fn hold(&self, packet: &Packet<'_>) -> Tri {
        let is = |holds: bool, inversion: u8| holds != (self.inverted & inversion != 0);
        let mut device = [0; 16];
        for (to, from) in device.iter_mut().zip(packet.arrival.device.as_bytes()) {
            *to = *from;
        }
        let Masked { value: name, mask } = self.device;
        let by_device =
            device.iter().zip(name).zip(mask).all(|((found, name), mask)| (found ^ name) & mask == 0);
        let (source, destination) = packet.ends();
        let holds = is(by_device, inverted::DEVICE_IN)
            && is(self.source.holds(source), inverted::SOURCE)
            && is(self.destination.holds(destination), inverted::DESTINATION)
            && (self.protocol == 0 || is(self.protocol == packet.protocol(), inverted::PROTOCOL))
            && (!self.is_fragment || self.inverted & inverted::FRAGMENT != 0);
        match (holds, self.has_device_out) {
            (false, _) => Tri::No,
            // The routing table decides.
            (true, true) => Tri::Maybe,
            (true, false) => Tri::Yes,
        }
    }
}

impl Masked<IpAddr> {
    /// Whether an address is in this network.
    fn holds(self, address: IpAddr) -> bool {
        match (address, self.value, self.mask) {
            (IpAddr::V4(address), IpAddr::V4(network), IpAddr::V4(mask)) => {
                address.to_bits() & mask.to_bits() == network.to_bits()
            }
            (IpAddr::V6(address), IpAddr::V6(network), IpAddr::V6(mask)) => {
                address.to_bits() & mask.to_bits() == network.to_bits()
            }
            _ => false,
        }
    }
}
