//! The doors' sets in the kernel: adds and deletes elements.
//!
//! The firewall declares the sets and the rules that use them; only elements are changed here. Each element has its own
//! timer in the kernel, which runs on when this process is dead.

mod apply;

use std::io;
use std::sync::Arc;

pub use apply::{AddressState, Change};
use nix::errno::Errno;

use super::error::{NftError, Operation};
use super::nft::element::{self, Element};
use super::nft::{self, KernelAnswer, kind};
use super::set_name::{DoorSets, SetKey, SetName};
use crate::config::NftTable;
use crate::core::network::AddressFamily;
use crate::core::passage::Passage;
use crate::core::sequence::Protocol;
use crate::linux::netlink::message::Message;
use crate::linux::netlink::{Dialogue, DialogueError};

/// How often a listing is repeated because another program changed the firewall meanwhile. A listing takes milliseconds, and
/// changes are rarer.
const LISTINGS: usize = 16;

/// The sets of one table.
#[derive(Debug)]
pub struct Sets {
    dialogue: Dialogue,
    table: NftTable,
    /// The table's family and name for errors, which then need no allocation.
    table_name: Arc<str>,
}

impl Sets {
    /// Connects to the kernel's firewall. The table need not exist yet.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` when the kernel has no nfnetlink; `InvalidInput` for a table name of more than 255
    /// bytes.
    pub fn connect(table: NftTable) -> io::Result<Self> {
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
    pub const fn table(&self) -> &NftTable {
        &self.table
    }

    /// Whether the table exists.
    ///
    /// # Errors
    /// Any error but [`NftError::MissingTable`] and [`NftError::MissingSet`].
    pub fn table_exists(&mut self) -> Result<bool, NftError> {
        let (request, sequence) = self.dialogue.begin(1);
        nft::get_table(request, &self.table, sequence);
        self.find(sequence, kind::NEW_TABLE, Operation::FindTable)
    }

    /// The sets of a door that are missing. If the table is missing, all of them are. A table of family ip or ip6 needs sets of
    /// one family only.
    ///
    /// # Errors
    /// Any error but [`NftError::MissingTable`] and [`NftError::MissingSet`].
    pub fn missing<'a>(
        &mut self,
        door: impl Into<DoorSets<'a>>,
    ) -> Result<heapless::Vec<SetName, 4>, NftError> {
        let (door, mut missing) = (door.into(), heapless::Vec::new());
        let table = self.table.family;
        for family in AddressFamily::ALL.into_iter().filter(|family| table.holds(*family)) {
            for set in self.sets_of(door, family)? {
                if !self.set_exists(&set)? {
                    missing.push(set).expect("two for each family");
                }
            }
        }
        Ok(missing)
    }

    /// Calls `each` with every address in the door's set, its remaining time (`None` means no end), and the opener. If
    /// the firewall changes meanwhile, the list begins again, so an address may come more than once.
    ///
    /// # Errors
    /// The reason why the list is incomplete.
    pub fn list<'a>(
        &mut self,
        door: impl Into<DoorSets<'a>>,
        family: AddressFamily,
        each: &mut dyn FnMut(&Element<'_>),
    ) -> Result<(), NftError> {
        for set in self.sets_of(door.into(), family)? {
            self.list_set(&set, each)?;
        }
        Ok(())
    }

    fn list_set(&mut self, set: &SetName, each: &mut dyn FnMut(&Element<'_>)) -> Result<(), NftError> {
        let protocol = match set.key() {
            SetKey::AddressPort(protocol) => Some(protocol),
            _ => None,
        };
        for _ in 0..LISTINGS {
            let (request, sequence) = self.dialogue.begin(1);
            element::dump(request, &self.table, set.as_str(), sequence);
            let (mut whole, mut begun) = (true, None);
            let errno = self.exchange(Operation::List, &mut |message| {
                if message.sequence != sequence {
                    return None;
                }
                match KernelAnswer::of(message) {
                    KernelAnswer::Outcome(errno) => return Some(errno),
                    KernelAnswer::Object { kind: kind::NEW_ELEMENT, attributes, generation } => {
                        whole &= *begun.get_or_insert(generation) == generation;
                        element::elements(attributes, protocol).for_each(|element| each(&element));
                    }
                    _ => {}
                }
                None
            })?;
            match Errno::from_raw(errno) {
                _ if errno == 0 && whole => return Ok(()),
                _ if errno == 0 => {}
                Errno::EINTR => {}
                Errno::ENOENT => return Err(self.not_there(set.clone())?),
                errno => return Err(self.error(Operation::List, errno)),
            }
        }
        Err(NftError::Busy)
    }

    /// The sets of a door for one family: one, or one for each protocol where fw4 has declared those of a door with
    /// `any_port`.
    fn sets_of(
        &mut self,
        door: DoorSets<'_>,
        family: AddressFamily,
    ) -> Result<heapless::Vec<SetName, 2>, NftError> {
        let set = SetName::new(door, family).ok_or(NftError::DoorName)?;
        if set.key() == SetKey::AddressProtocolPort && !self.set_exists(&set)? {
            let of_each: Option<heapless::Vec<_, 2>> = [Protocol::Tcp, Protocol::Udp]
                .into_iter()
                .map(|protocol| SetName::of_protocol(door, family, protocol))
                .collect();
            let of_each = of_each.ok_or(NftError::DoorName)?;
            if self.set_exists(&of_each[0])? {
                return Ok(of_each);
            }
        }
        Ok(heapless::Vec::from_iter([set]))
    }

    /// The set that holds this passage.
    fn set_for(&mut self, door: DoorSets<'_>, passage: Passage) -> Result<SetName, NftError> {
        let is_his = |set: &SetName| match set.key() {
            SetKey::AddressPort(protocol) => passage.port.is_some_and(|port| port.protocol == protocol),
            _ => true,
        };
        let sets = self.sets_of(door, AddressFamily::of(passage.address))?;
        sets.into_iter().find(is_his).ok_or(NftError::DoorName)
    }

    fn set_exists(&mut self, set: &SetName) -> Result<bool, NftError> {
        let (request, sequence) = self.dialogue.begin(1);
        nft::get_set(request, &self.table, set, sequence);
        self.find(sequence, kind::NEW_SET, Operation::FindSet)
    }

    /// After `ENOENT` for an element: finds out whether the table or the set is missing.
    fn not_there(&mut self, set: SetName) -> Result<NftError, NftError> {
        let table = self.table_name.clone();
        Ok(if self.table_exists()? {
            NftError::MissingSet { table, set: Box::new(set) }
        } else {
            NftError::MissingTable { table }
        })
    }

    /// Sends the request for one object. Returns whether it exists.
    fn find(&mut self, sequence: u32, wanted: u8, operation: Operation) -> Result<bool, NftError> {
        let errno = self.exchange(operation, &mut |message| match KernelAnswer::of(message) {
            _ if message.sequence != sequence => None,
            KernelAnswer::Object { kind, .. } if kind == wanted => Some(0),
            KernelAnswer::Outcome(errno) => Some(errno),
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
