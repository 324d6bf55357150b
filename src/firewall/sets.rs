//! The doors' sets in the kernel: adds and deletes elements.
//!
//! The firewall declares the sets and the rules that use them; only elements are changed here. Each element has its own
//! timer in the kernel, which runs on when this process is dead.

mod apply;

use std::io;
use std::sync::Arc;

use nix::errno::Errno;

use crate::config::Table;
use crate::linux::netlink::message::Message;
use crate::linux::netlink::{Dialogue, DialogueError};

use super::error::{NftError, Operation};
use super::nft::{self, Answer, Element, kind};
use super::set_name::{DoorSets, SetName};
use crate::core::network::AddressFamily;

pub use apply::{Access, Change};

/// How often a listing is repeated because another program changed the firewall meanwhile. A listing takes milliseconds, and
/// changes are rarer.
const LISTINGS: usize = 16;

/// The sets of one table.
#[derive(Debug)]
pub struct Sets {
    dialogue: Dialogue,
    table: Table,
    /// Family and name, for errors, which then need no allocation.
    table_name: Arc<str>,
}

impl Sets {
    /// Connects to the kernel's firewall. The table need not be there yet.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` when the kernel has no nfnetlink; `InvalidInput` for a table name of more than 255
    /// bytes.
    pub fn connect(table: Table) -> io::Result<Self> {
        if table.name.len() > 255 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            dialogue: Dialogue::open(libc::NETLINK_NETFILTER)?,
            table_name: format!("{} {}", table.family.name(), table.name).into(),
            table,
        })
    }

    /// The table.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Whether the table is there.
    ///
    /// # Errors
    /// Any but [`NftError::MissingTable`] and [`NftError::MissingSet`].
    pub fn table_exists(&mut self) -> Result<bool, NftError> {
        let (request, sequence) = self.dialogue.begin(1);
        nft::get_table(request, &self.table, sequence);
        self.find(sequence, kind::NEW_TABLE, Operation::FindTable)
    }

    /// The sets of a door that are missing: both if the table is missing. A table of family ip or ip6 needs only one.
    ///
    /// # Errors
    /// Any but [`NftError::MissingTable`] and [`NftError::MissingSet`].
    pub fn missing<'a>(
        &mut self,
        door: impl Into<DoorSets<'a>>,
    ) -> Result<heapless::Vec<SetName, 2>, NftError> {
        let (door, mut missing) = (door.into(), heapless::Vec::new());
        for family in AddressFamily::ALL {
            let set = SetName::new(door, family).ok_or(NftError::DoorName)?;
            if self.table.family.holds(family) && !self.set_exists(&set)? {
                missing.push(set).expect("there are two families");
            }
        }
        Ok(missing)
    }

    /// Calls `each` with every address that is let in, its remaining time (`None`: until it is shut), and who opened the door.
    /// If the firewall changes meanwhile, the list begins again, so an address may come more than once.
    ///
    /// # Errors
    /// The reason why the list is incomplete.
    pub fn list<'a>(
        &mut self,
        door: impl Into<DoorSets<'a>>,
        family: AddressFamily,
        each: &mut dyn FnMut(&Element<'_>),
    ) -> Result<(), NftError> {
        let set = SetName::new(door, family).ok_or(NftError::DoorName)?;
        for _ in 0..LISTINGS {
            let (request, sequence) = self.dialogue.begin(1);
            nft::dump_elements(request, &self.table, set.as_str(), sequence);
            let (mut whole, mut begun) = (true, None);
            let errno = self.exchange(Operation::List, &mut |message| {
                if message.sequence != sequence {
                    return None;
                }
                match Answer::of(message) {
                    Answer::Outcome(errno) => return Some(errno),
                    Answer::Object { kind: kind::NEW_ELEMENT, attributes, generation } => {
                        whole &= *begun.get_or_insert(generation) == generation;
                        nft::elements(attributes).for_each(|element| each(&element));
                    }
                    _ => {}
                }
                None
            })?;
            match Errno::from_raw(errno) {
                _ if errno == 0 && whole => return Ok(()),
                _ if errno == 0 => {}
                Errno::EINTR => {}
                Errno::ENOENT => return Err(self.not_there(set)?),
                errno => return Err(self.error(Operation::List, errno)),
            }
        }
        Err(NftError::Busy)
    }

    fn set_exists(&mut self, set: &SetName) -> Result<bool, NftError> {
        let (request, sequence) = self.dialogue.begin(1);
        nft::get_set(request, &self.table, set, sequence);
        self.find(sequence, kind::NEW_SET, Operation::FindSet)
    }

    /// After `ENOENT` for something in `set`: what is missing, the table or the set.
    fn not_there(&mut self, set: SetName) -> Result<NftError, NftError> {
        let table = self.table_name.clone();
        Ok(if self.table_exists()? {
            NftError::MissingSet { table, set: Box::new(set) }
        } else {
            NftError::MissingTable { table }
        })
    }

    /// Sends the request for one object: whether it is there.
    fn find(&mut self, sequence: u32, wanted: u8, operation: Operation) -> Result<bool, NftError> {
        let errno = self.exchange(operation, &mut |message| match Answer::of(message) {
            _ if message.sequence != sequence => None,
            Answer::Object { kind, .. } if kind == wanted => Some(0),
            Answer::Outcome(errno) => Some(errno),
            _ => None,
        })?;
        match Errno::from_raw(errno) {
            _ if errno == 0 => Ok(true),
            Errno::ENOENT => Ok(false),
            errno => Err(self.error(operation, errno)),
        }
    }

    fn exchange(
        &mut self,
        operation: Operation,
        take: &mut dyn FnMut(&Message<'_>) -> Option<i32>,
    ) -> Result<i32, NftError> {
        self.dialogue.exchange(take).map_err(|error| self.failed(operation, error))
    }

    fn failed(&self, operation: Operation, error: DialogueError) -> NftError {
        NftError::of_dialogue(operation, &self.table_name, error)
    }

    fn error(&self, operation: Operation, errno: Errno) -> NftError {
        NftError::of(operation, &self.table_name, errno)
    }
}
