//! The rules that the kernel has loaded, from any program, and their effect on a packet: the rules of `nf_tables`, and those
//! of iptables-legacy.
//!
//! They show whether a port is open without a knock, and whether another firewall drops packets that a door lets in. The
//! check follows a packet through the chains as the kernel would. Where a rule depends on something unknown, the check
//! follows both cases. So there are three outcomes: the packet passes, it is dropped, or the outcome depends on the unknown.

mod effect;
mod evaluate;
mod legacy;
mod lookup;
mod packet;
mod walk;
mod xt;

use std::fmt;
use std::io;

use nix::errno::Errno;

use super::iptables::SHUTTING;
use super::nft::{KernelAnswer, kind, message_type};
use super::ruleset::LoadedRule;
use crate::config::NftTable;
use crate::linux::netlink::Dialogue;
use crate::linux::netlink::message::Attributes;

pub use legacy::fingerprint as legacy_fingerprint;
pub use packet::{Arrival, Packet};
pub use walk::PacketFate;

/// The most bytes of rules that are read: more than any router has. Reading more is an error.
const MAX_RULES: usize = 4 << 20;

const REQUEST_DUMP: u16 = 0x301;

/// A family of tables, `NFPROTO_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Family(u8);

impl Family {
    const INET: Self = Self(1);
    const IPV4: Self = Self(2);
    const IPV6: Self = Self(10);

    /// Whether chains of this family see packets of an address family.
    fn sees(self, is_ipv4: bool) -> bool {
        self == Self::INET || self == if is_ipv4 { Self::IPV4 } else { Self::IPV6 }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::INET => "inet",
            Self::IPV4 => "ip",
            Self::IPV6 => "ip6",
            _ => "other",
        }
    }
}

/// A chain, named by its family, table and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainName {
    family: Family,
    /// The table's name.
    pub(crate) table: String,
    /// The chain's own name.
    pub(crate) chain: String,
    /// Whether the chain is in a table of iptables-legacy.
    is_legacy: bool,
}

impl ChainName {
    /// A chain of a table of family inet.
    #[cfg(test)]
    pub fn of_inet(table: &str, chain: &str) -> Self {
        Self { family: Family::INET, table: table.to_owned(), chain: chain.to_owned(), is_legacy: false }
    }

    /// Whether the chain is in the daemon's own table, or one of its own chains of iptables.
    pub fn is_own(&self) -> bool {
        match self.family {
            Family::INET => self.table == super::own::NAME,
            _ => self.is_filter() && SHUTTING.contains(&&*self.chain),
        }
    }

    /// Whether the chain is in this table of `nf_tables`.
    pub fn is_in(&self, table: &NftTable) -> bool {
        !self.is_legacy && self.table == table.name && self.family.name() == table.family.name()
    }

    /// Whether the chain is in iptables' table `filter`, of either kind.
    fn is_filter(&self) -> bool {
        self.family != Family::INET && self.table == "filter"
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, table, chain, is_legacy } = self;
        match (is_legacy, *family) {
            (false, family) => write!(f, "chain {chain} of table {} {table}", family.name()),
            (true, Family::IPV4) => write!(f, "chain {chain} of table {table} of iptables-legacy"),
            (true, _) => write!(f, "chain {chain} of table {table} of ip6tables-legacy"),
        }
    }
}

/// The place of a base chain in a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hook {
    /// `enum nf_inet_hooks`.
    number: u32,
    priority: i32,
    /// Whether the chain translates addresses.
    is_nat: bool,
    /// Whether the chain's policy is to drop.
    drops: bool,
}

#[derive(Debug)]
struct LoadedChain {
    name: ChainName,
    hook: Option<Hook>,
    rules: Vec<KernelRule>,
}

#[derive(Debug)]
enum KernelRule {
    /// Expressions of `nf_tables`, in the kernel's bytes.
    Nft(Box<[u8]>),
    /// A rule of iptables-legacy.
    Legacy(legacy::LegacyRule),
}

/// All loaded rules.
#[derive(Debug)]
pub struct LoadedRules {
    chains: Vec<LoadedChain>,
    /// The connection by which sets are read when a rule looks them up; `None` without `nf_tables`.
    dialogue: Option<Dialogue>,
    /// Whether there may be rules that could not be read.
    is_partial: bool,
}

impl LoadedRules {
    /// Reads the rules. A kernel without `nf_tables` has only those of iptables-legacy.
    ///
    /// # Errors
    /// The kernel refuses to list (`EPERM` without `CAP_NET_ADMIN`), or there are too many rules.
    pub fn read() -> io::Result<Self> {
        let mut rules = Self { chains: Vec::new(), dialogue: None, is_partial: false };
        match rules.read_nft() {
            Err(error) if lacks_nf_tables(&error) => rules.chains.clear(),
            read => read?,
        }
        let legacy::LegacyTables { chains, is_partial } = legacy::read()?;
        rules.chains.extend(chains);
        rules.is_partial = is_partial;
        // The chains in the order in which packets pass them.
        rules.chains.sort_by_key(|chain| chain.hook.map(|hook| hook.priority));
        Ok(rules)
    }

    fn read_nft(&mut self) -> io::Result<()> {
        let rules = self;
        rules.dialogue = Some(Dialogue::open(libc::NETLINK_NETFILTER)?);
        let mut dormant = Vec::new();
        rules.each(kind::GET_TABLE, &mut |_, family, table| {
            // NFTA_TABLE_NAME, NFTA_TABLE_FLAGS: NFT_TABLE_F_DORMANT
            if table.clone().find(2).and_then(number).is_some_and(|flags| flags & 1 != 0) {
                dormant.extend(text(&table, 1).map(|name| (family, name)));
            }
        })?;
        rules.each(kind::GET_CHAIN, &mut |rules, family, chain| {
            let (Some(table), Some(name)) = (text(&chain, 1), text(&chain, 3)) else { return };
            if dormant.iter().any(|asleep| *asleep == (family, table.clone())) {
                return;
            }
            let hook = chain.clone().find(4).and_then(|hook| {
                let hook = Attributes::new(hook);
                Some(Hook {
                    number: hook.clone().find(1).and_then(number)?,
                    priority: hook.clone().find(2).and_then(number)?.cast_signed(),
                    is_nat: text(&chain, 7).is_some_and(|kind| kind == "nat"),
                    drops: chain.clone().find(5).and_then(number) == Some(0),
                })
            });
            rules.chains.push(LoadedChain {
                name: ChainName { family, table, chain: name, is_legacy: false },
                hook,
                rules: Vec::new(),
            });
        })?;
        let mut size = 0;
        rules.each(kind::GET_RULE, &mut |rules, family, rule| {
            let (Some(table), Some(chain)) = (text(&rule, 1), text(&rule, 2)) else { return };
            let name = ChainName { family, table, chain, is_legacy: false };
            let expressions = rule.find(4).unwrap_or(&[]);
            size += expressions.len();
            if size <= MAX_RULES
                && let Some(chain) = rules.chains.iter_mut().find(|chain| chain.name == name)
            {
                chain.rules.push(KernelRule::Nft(expressions.into()));
            }
        })?;
        if size > MAX_RULES {
            return Err(io::Error::other("the firewall has too many rules to be read"));
        }
        Ok(())
    }

    /// Whether there may be rules of iptables-legacy that could not be read. Only root may read them.
    pub const fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Whether a table of this name has this chain.
    pub fn has_chain(&self, table: &str, chain: &str) -> bool {
        self.chains.iter().any(|found| found.name.table == table && found.name.chain == chain)
    }

    /// Calls `each` with every object of a kind and its family.
    fn each(&mut self, kind: u8, each: &mut dyn FnMut(&mut Self, Family, Attributes<'_>)) -> io::Result<()> {
        let mut dialogue = Dialogue::open(libc::NETLINK_NETFILTER)?;
        let (request, sequence) = dialogue.begin(1);
        // NFPROTO_UNSPEC asks for all families.
        request.message(message_type(kind), REQUEST_DUMP, sequence, |r| r.raw(&[0; 4]));
        let errno = dialogue.ask(sequence, &mut |message| {
            if let (KernelAnswer::Object { attributes, .. }, Some(family)) =
                (KernelAnswer::of(message), message.body.first())
            {
                each(self, Family(*family), attributes);
            }
        })?;
        if errno == 0 { Ok(()) } else { Err(Errno::from_raw(errno).into()) }
    }

    /// The elements of a set, each as its raw attributes.
    fn elements(&mut self, family: Family, table: &str, set: &str) -> Option<Vec<Box<[u8]>>> {
        let mut elements = Vec::new();
        let dialogue = self.dialogue.as_mut()?;
        let (request, sequence) = dialogue.begin(1);
        request.message(message_type(kind::GET_ELEMENT), REQUEST_DUMP, sequence, |r| {
            r.raw(&[family.0, 0, 0, 0]);
            r.string(1, table);
            r.string(2, set);
        });
        let errno = dialogue
            .ask(sequence, &mut |message| {
                if let KernelAnswer::Object { kind: kind::NEW_ELEMENT, attributes, .. } =
                    KernelAnswer::of(message)
                {
                    let list = Attributes::new(attributes.find(3).unwrap_or(&[]));
                    elements.extend(list.map(|(_, element)| element.into()));
                }
            })
            .ok()?;
        (errno == 0).then_some(elements)
    }
}

/// The rules in a table that were loaded from `ketukd ruleset`, found by their comment. A table that does not exist has none.
///
/// # Errors
/// The kernel has no `nf_tables`, or does not tell (`EPERM` without `CAP_NET_ADMIN`).
pub fn rules_of_doors(table: &NftTable) -> io::Result<Vec<LoadedRule>> {
    /// The beginning of the comments, as nft stores them after a type and a length.
    const COMMENT: &[u8] = b"ketuk: ";
    let mut found = Vec::new();
    let mut dialogue = Dialogue::open(libc::NETLINK_NETFILTER)?;
    let (request, sequence) = dialogue.begin(1);
    super::nft::get(request, kind::GET_RULE, table, sequence);
    let errno = dialogue.ask(sequence, &mut |message| {
        let KernelAnswer::Object { attributes: rule, .. } = KernelAnswer::of(message) else { return };
        // NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_USERDATA
        let is_ours = text(&rule, 1).is_some_and(|name| name == table.name)
            && rule
                .clone()
                .find(7)
                .and_then(|data| data.get(2..))
                .is_some_and(|data| data.starts_with(COMMENT));
        let handle =
            rule.clone().find(3).and_then(<[u8]>::first_chunk).map(|handle| u64::from_be_bytes(*handle));
        if let (true, Some(chain), Some(handle)) = (is_ours, text(&rule, 2), handle) {
            found.push(LoadedRule { chain, handle });
        }
    })?;
    if matches!(errno, 0 | libc::ENOENT) { Ok(found) } else { Err(Errno::from_raw(errno).into()) }
}

/// Whether the error says that the kernel has no `nf_tables`. Without nfnetlink the socket cannot be opened, and without the
/// subsystem the requests are invalid.
fn lacks_nf_tables(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPROTONOSUPPORT | libc::EOPNOTSUPP | libc::EINVAL))
}

/// A string attribute.
fn text(attributes: &Attributes<'_>, kind: u16) -> Option<String> {
    let bytes = attributes.clone().find(kind)?;
    Some(String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(bytes)).into_owned())
}

/// A number of 32 bits, big-endian.
fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
