//! The rules that the kernel has loaded, whoever loaded them, and what they do with a packet.
//!
//! This is how the daemon knows that a port is open without a knock, or that another firewall drops what a door lets
//! in. A packet is followed through the chains as the kernel would. Where a rule asks what is not known beforehand, both
//! answers are followed, so that there are three outcomes: it passes, it is dropped, or that depends.

mod effect;
mod evaluate;
mod lookup;
mod packet;
mod walk;
mod xt;

use std::fmt;
use std::io;

use nix::errno::Errno;

use super::nft::{Answer, kind, message_type};
use super::ruleset::LoadedRule;
use crate::linux::netlink::Dialogue;
use crate::linux::netlink::message::Attributes;

pub use packet::{Arrival, Packet};
pub use walk::Outcome;

/// Most bytes of rules that are read. More than any router's; a host with more is told about as if nothing were known.
const MAX_RULES: usize = 4 << 20;

const REQUEST_DUMP: u16 = 0x301;

/// A family of tables, `NFPROTO_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Family(u8);

impl Family {
    const INET: Self = Self(1);
    const IPV4: Self = Self(2);
    const IPV6: Self = Self(10);

    /// Whether its chains see packets of an address family.
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

/// A chain by its family, table and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainName {
    family: Family,
    /// Its table's name.
    pub table: String,
    /// Its own name.
    pub chain: String,
}

impl ChainName {
    /// Whether it is in the daemon's own table.
    pub fn is_own(&self) -> bool {
        self.family == Family::INET && self.table == super::own::NAME
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain {} of table {} {}", self.chain, self.family.name(), self.table)
    }
}

/// Where packets meet a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hook {
    /// `enum nf_inet_hooks`.
    number: u32,
    priority: i32,
    /// Whether it translates addresses.
    is_nat: bool,
    /// Whether its policy is to drop.
    drops: bool,
}

#[derive(Debug)]
struct Chain {
    name: ChainName,
    hook: Option<Hook>,
    /// The expressions of its rules, as the kernel has them.
    rules: Vec<Box<[u8]>>,
}

/// All rules that are loaded.
#[derive(Debug)]
pub struct Rules {
    chains: Vec<Chain>,
    /// To ask for sets when a rule looks into them.
    dialogue: Dialogue,
}

impl Rules {
    /// Reads them.
    ///
    /// # Errors
    /// The kernel has no `nf_tables`, or does not tell (`EPERM` without `CAP_NET_ADMIN`), or there are too many.
    pub fn read() -> io::Result<Self> {
        let mut rules = Self { chains: Vec::new(), dialogue: Dialogue::open(libc::NETLINK_NETFILTER)? };
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
            rules.chains.push(Chain {
                name: ChainName { family, table, chain: name },
                hook,
                rules: Vec::new(),
            });
        })?;
        let mut size = 0;
        rules.each(kind::GET_RULE, &mut |rules, family, rule| {
            let (Some(table), Some(chain)) = (text(&rule, 1), text(&rule, 2)) else { return };
            let name = ChainName { family, table, chain };
            let expressions = rule.find(4).unwrap_or(&[]);
            size += expressions.len();
            if size <= MAX_RULES
                && let Some(chain) = rules.chains.iter_mut().find(|chain| chain.name == name)
            {
                chain.rules.push(expressions.into());
            }
        })?;
        if size > MAX_RULES {
            return Err(io::Error::other("the firewall has too many rules to be read"));
        }
        // As packets meet them.
        rules.chains.sort_by_key(|chain| chain.hook.map(|hook| hook.priority));
        Ok(rules)
    }

    /// Whether a table of this name has such a chain.
    pub fn has_chain(&self, table: &str, chain: &str) -> bool {
        self.chains.iter().any(|found| found.name.table == table && found.name.chain == chain)
    }

    /// Hands `each` every object of a kind, with its family.
    fn each(&mut self, kind: u8, each: &mut dyn FnMut(&mut Self, Family, Attributes<'_>)) -> io::Result<()> {
        let mut dialogue = Dialogue::open(libc::NETLINK_NETFILTER)?;
        let (request, sequence) = dialogue.begin(1);
        // NFPROTO_UNSPEC: of all families.
        request.message(message_type(kind), REQUEST_DUMP, sequence, |r| r.raw(&[0; 4]));
        let errno = dialogue.ask(sequence, &mut |message| {
            if let (Answer::Object { attributes, .. }, Some(family)) =
                (Answer::of(message), message.body.first())
            {
                each(self, Family(*family), attributes);
            }
        })?;
        if errno == 0 { Ok(()) } else { Err(Errno::from_raw(errno).into()) }
    }

    /// The elements of a set, each as its attributes.
    fn elements(&mut self, family: Family, table: &str, set: &str) -> Option<Vec<Box<[u8]>>> {
        let mut elements = Vec::new();
        let (request, sequence) = self.dialogue.begin(1);
        request.message(message_type(kind::GET_ELEMENT), REQUEST_DUMP, sequence, |r| {
            r.raw(&[family.0, 0, 0, 0]);
            r.string(1, table);
            r.string(2, set);
        });
        let errno = self
            .dialogue
            .ask(sequence, &mut |message| {
                if let Answer::Object { kind: kind::NEW_ELEMENT, attributes, .. } = Answer::of(message) {
                    let list = Attributes::new(attributes.find(3).unwrap_or(&[]));
                    elements.extend(list.map(|(_, element)| element.into()));
                }
            })
            .ok()?;
        (errno == 0).then_some(elements)
    }
}

/// The rules of doors in a table, which somebody loaded with `ketukd ruleset`: known by their comment. None where they
/// cannot be read.
pub fn rules_of_doors(table: &crate::config::Table) -> Vec<LoadedRule> {
    /// What the comments begin with, as nft keeps them: a number, a length, the text.
    const COMMENT: &[u8] = b"ketuk: ";
    let mut found = Vec::new();
    let Ok(mut dialogue) = Dialogue::open(libc::NETLINK_NETFILTER) else { return found };
    let (request, sequence) = dialogue.begin(1);
    super::nft::get(request, kind::GET_RULE, table, sequence);
    let _ = dialogue.ask(sequence, &mut |message| {
        let Answer::Object { attributes: rule, .. } = Answer::of(message) else { return };
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
            found.push((chain, handle));
        }
    });
    found
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
