//! The doors' sets in the kernel: elements in, elements out.
//!
//! The firewall declares the sets and the rules that look at them; here only elements come and go. Each
//! has its own timer in the kernel, which runs on when this process is dead.

use core::net::IpAddr;
use core::time::Duration;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::config::Table;
use crate::linux::netlink::{Received, Socket};

use super::error::{NftError, Operation};
use super::message::{Message, Messages, Request};
use super::nft::{self, Answer, Change, kind};
use super::set_name::{AddressFamily, DoorSets, SetName, family_name};

/// Size of the receive buffer, in bytes. The kernel fills dumps up to the page size, or to 8 kB where pages
/// are larger, or to the size of the buffer offered.
const RECEIVE: usize = 8192;

/// Longest wait for an answer. `nf_tables` answers before `send` returns, so this only ends what would
/// otherwise be a hang.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a change is tried when the set proves to be other than believed. The second try is right
/// unless somebody else changes the same element at the same moment.
const TRIES: usize = 4;

/// How often a listing is begun anew because another program changed the firewall meanwhile. A listing takes
/// milliseconds and changes are rarer than that.
const LISTINGS: usize = 16;

/// The sets of one table.
#[derive(Debug)]
pub struct Sets {
    socket: Socket,
    table: Table,
    /// Family and name, for errors, which then need no allocation.
    table_name: Arc<str>,
    /// The next request's sequence number.
    sequence: u32,
    request: Request,
    received: Box<[u8]>,
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
            socket: Socket::open(libc::NETLINK_NETFILTER, &[], &[])?,
            table_name: format!("{} {}", family_name(table.family), table.name).into(),
            table,
            sequence: 1,
            request: Request::new(),
            received: vec![0; RECEIVE].into_boxed_slice(),
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
        let sequence = self.reserve(1);
        nft::get_table(&mut self.request, &self.table, sequence);
        self.find(sequence, kind::NEW_TABLE, Operation::FindTable)
    }

    /// Which of a door's sets are not there: both, when the table is not. A table of family ip or ip6 needs
    /// only one.
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
            if family.fits(self.table.family) && !self.set_exists(&set)? {
                missing.push(set).expect("there are two families");
            }
        }
        Ok(missing)
    }

    /// Lets `address` in for `time` from now; `None` is until it is shut. The element is new, or replaced, so
    /// that its timer starts afresh: adding one that is there would leave the old timer.
    ///
    /// `held` says that the element is believed to be there; a wrong belief costs one more round trip.
    ///
    /// # Errors
    /// The reason why `address` is not let in, or not for longer than before.
    pub fn open<'a>(
        &mut self,
        door: impl Into<DoorSets<'a>>,
        address: IpAddr,
        time: Option<Duration>,
        held: bool,
    ) -> Result<(), NftError> {
        let set = SetName::new(door, AddressFamily::of(address)).ok_or(NftError::DoorName)?;
        let renewal = [Change::Delete, Change::Add { time }];
        let mut changes = if held { &renewal[..] } else { &renewal[1..] };
        for _ in 0..TRIES {
            match self.commit(&set, address, changes)? {
                Ok(()) => return Ok(()),
                // The element, or the set: adding tells which.
                Err((Operation::Delete, Errno::ENOENT)) => changes = &renewal[1..],
                Err((Operation::Add, Errno::EEXIST)) => changes = &renewal,
                Err((Operation::Add, Errno::ENOENT)) => return Err(self.not_there(set)?),
                Err((operation, errno)) => return Err(self.error(operation, errno)),
            }
        }
        Err(NftError::Busy)
    }

    /// Shuts the door to `address`. An element that is not there is as good as deleted.
    ///
    /// # Errors
    /// The reason why `address` may still be in, a missing set or table too.
    pub fn shut<'a>(&mut self, door: impl Into<DoorSets<'a>>, address: IpAddr) -> Result<(), NftError> {
        let set = SetName::new(door, AddressFamily::of(address)).ok_or(NftError::DoorName)?;
        match self.commit(&set, address, &[Change::Delete])? {
            Ok(()) => Ok(()),
            // The same error for an element and for a set that is not there.
            Err((_, Errno::ENOENT)) if self.set_exists(&set)? => Ok(()),
            Err((_, Errno::ENOENT)) => Err(self.not_there(set)?),
            Err((operation, errno)) => Err(self.error(operation, errno)),
        }
    }

    /// Hands `each` every address that is in, with the time it has left (`None`: until it is shut). When the
    /// firewall changes meanwhile the list begins anew, so that an address may come more than once.
    ///
    /// # Errors
    /// The reason why the list is not whole.
    pub fn list<'a>(
        &mut self,
        door: impl Into<DoorSets<'a>>,
        family: AddressFamily,
        each: &mut dyn FnMut(IpAddr, Option<Duration>),
    ) -> Result<(), NftError> {
        let set = SetName::new(door, family).ok_or(NftError::DoorName)?;
        for _ in 0..LISTINGS {
            let sequence = self.reserve(1);
            nft::dump_elements(&mut self.request, &self.table, &set, sequence);
            let (mut whole, mut begun) = (true, None);
            let errno = self.exchange(Operation::List, &mut |message| {
                if message.sequence != sequence {
                    return None;
                }
                match Answer::of(message) {
                    Answer::Outcome(errno) => return Some(errno),
                    Answer::Object { kind: kind::NEW_ELEMENT, attributes, generation } => {
                        whole &= *begun.get_or_insert(generation) == generation;
                        nft::elements(attributes).for_each(|element| each(element.address, element.left));
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
        let sequence = self.reserve(1);
        nft::get_set(&mut self.request, &self.table, set, sequence);
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

    /// Sends a batch of changes: done, or the first that was refused, in which case none was done.
    fn commit(
        &mut self,
        set: &SetName,
        address: IpAddr,
        changes: &[Change],
    ) -> Result<Result<(), (Operation, Errno)>, NftError> {
        let count = u32::try_from(changes.len()).expect("a batch has one or two changes");
        let begin = self.reserve(count + 2);
        nft::batch(&mut self.request, &self.table, set, address, changes, begin);
        let operation = |index: u32| match changes.get(index as usize) {
            Some(Change::Add { .. }) => Operation::Add,
            Some(Change::Delete) => Operation::Delete,
            None => Operation::Commit,
        };
        let mut refusal = None;
        self.exchange(operation(count - 1), &mut |message| {
            // Begin is 0; the last change, which always answers, is `count`. An error of the batch as a
            // whole comes as one of begin, and is then all that need be known.
            let index = message.sequence.wrapping_sub(begin);
            let Answer::Outcome(errno) = Answer::of(message) else { return None };
            if index > count {
                return None;
            }
            if errno != 0 && refusal.is_none() {
                refusal = Some((operation(index.wrapping_sub(1)), Errno::from_raw(errno)));
            }
            (index == count || index == 0 && errno != 0).then_some(errno)
        })?;
        Ok(refusal.map_or(Ok(()), Err))
    }

    /// Takes `count` sequence numbers and empties the request.
    fn reserve(&mut self, count: u32) -> u32 {
        let first = self.sequence;
        self.sequence = first.wrapping_add(count);
        self.request.clear();
        first
    }

    /// Sends the request and hands `take` the messages that come back until it says how they end, an errno. What
    /// belongs to an earlier request it must skip, by the sequence number.
    fn exchange(
        &mut self,
        operation: Operation,
        take: &mut dyn FnMut(&Message<'_>) -> Option<i32>,
    ) -> Result<i32, NftError> {
        let result = self.try_exchange(operation, take);
        if result.is_err() {
            // A dump left half read would make the kernel refuse the next one: start with a fresh socket.
            // If there is none to be had, the old one is still the best there is.
            if let Ok(socket) = Socket::open(libc::NETLINK_NETFILTER, &[], &[]) {
                self.socket = socket;
            }
        }
        result
    }

    fn try_exchange(
        &mut self,
        operation: Operation,
        take: &mut dyn FnMut(&Message<'_>) -> Option<i32>,
    ) -> Result<i32, NftError> {
        let name = &self.table_name;
        let failed = |error: io::Error| {
            NftError::of(operation, name, Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
        };
        self.socket.send(self.request.bytes()).map_err(failed)?;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            match self.socket.recv(&mut self.received).map_err(failed)? {
                Received::Message(len) => {
                    if let Some(taken) = Messages::new(&self.received[..len]).find_map(|m| take(&m)) {
                        return Ok(taken);
                    }
                }
                Received::Truncated => return Err(NftError::Truncated),
                Received::Lost => return Err(self.error(operation, Errno::ENOBUFS)),
                Received::Nothing => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(NftError::Silent);
                    }
                    // An interrupted poll only brings the next look forward.
                    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
                    let _ = poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout);
                }
            }
        }
    }

    fn error(&self, operation: Operation, errno: Errno) -> NftError {
        NftError::of(operation, &self.table_name, errno)
    }
}
