//! Changes of who is in, many in one transaction.

use core::net::IpAddr;
use core::time::Duration;

use nix::errno::Errno;

use super::Sets;
use crate::core::network::AddressFamily;
use crate::firewall::error::{NftError, Operation};
use crate::firewall::nft::batch::Batch;
use crate::firewall::nft::{self, OpenedBy};
use crate::firewall::set_name::{DoorSets, SetName};

/// Most changes in one transaction. Each may be refused, and all refusals must fit into the socket's queue, which
/// holds some 160 of them where it is smallest.
const MAX_BATCH: usize = 64;

/// How often a change is tried when the set proves to be other than believed. The second try is right
/// unless somebody else changes the same element at the same moment.
const TRIES: usize = 4;

/// A change of who is in at a door.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The door's sets.
    pub door: DoorSets<'a>,
    /// Whose access changes: an address, or the first one of a network.
    pub address: IpAddr,
    /// What it becomes.
    pub to: Access<'a>,
}

/// What somebody's access to a door becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access<'a> {
    /// He is let in. The element is new, or replaced so that its timer starts afresh: adding one that is there would
    /// leave the old timer.
    Open {
        /// For how long from now; `None`: until it is shut.
        time: Option<Duration>,
        /// Who opened the door.
        by: OpenedBy<'a>,
        /// Whether the element is believed to be there. A wrong belief costs one more transaction.
        held: bool,
    },
    /// He is not let in any more.
    Shut,
}

impl Access<'_> {
    const fn first_step(self) -> Step {
        match self {
            Self::Open { held: true, .. } => Step::Renew,
            Self::Open { held: false, .. } => Step::Add,
            Self::Shut => Step::Delete,
        }
    }
}

/// What is done to an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Add,
    /// Deleted and added.
    Renew,
    Delete,
}

/// What is left to do: the index of the change, its set, and the step to try.
type Todo = heapless::Vec<(usize, SetName, Step), MAX_BATCH>;

/// The steps that the kernel refused: place in [`Todo`], what was being done, and why not.
type Refused = heapless::Vec<(usize, Operation, Errno), MAX_BATCH>;

impl Sets {
    /// Makes all these changes in one transaction, or in one for each 64. Hands `failed` the index of each change
    /// that could not be made, with the reason; all others are made.
    ///
    /// An element that is to be deleted and is not there is as good as deleted. Do not delete what the kernel's own
    /// timer has ended: a deletion costs a wait for all processors.
    pub fn apply(&mut self, changes: &[Change<'_>], failed: &mut dyn FnMut(usize, NftError)) {
        for (part, changes) in changes.chunks(MAX_BATCH).enumerate() {
            self.apply_part(changes, &mut |index, error| failed(part * MAX_BATCH + index, error));
        }
    }

    /// Makes one change.
    ///
    /// # Errors
    /// It could not be made.
    pub fn apply_one(&mut self, change: Change<'_>) -> Result<(), NftError> {
        let mut outcome = Ok(());
        self.apply(&[change], &mut |_, error| outcome = Err(error));
        outcome
    }

    /// Lets `address` in for `time` from now; `None` is until it is shut. `held` as in [`Access::Open`].
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
        let to = Access::Open { time, by: OpenedBy::Knock, held };
        self.apply_one(Change { door: door.into(), address, to })
    }

    /// Shuts the door to `address`. An element that is not there is as good as deleted.
    ///
    /// # Errors
    /// The reason why `address` may still be in, a missing set or table too.
    pub fn shut<'a>(&mut self, door: impl Into<DoorSets<'a>>, address: IpAddr) -> Result<(), NftError> {
        self.apply_one(Change { door: door.into(), address, to: Access::Shut })
    }

    fn apply_part(&mut self, changes: &[Change<'_>], failed: &mut dyn FnMut(usize, NftError)) {
        let mut todo = Todo::new();
        for (index, change) in changes.iter().enumerate() {
            match SetName::new(change.door, AddressFamily::of(change.address)) {
                Some(set) => {
                    todo.push((index, set, change.to.first_step())).expect("no more than MAX_BATCH changes");
                }
                None => failed(index, NftError::DoorName),
            }
        }
        for _ in 0..TRIES {
            let refused = match self.commit(changes, &todo) {
                Ok(refused) if refused.is_empty() => return,
                Ok(refused) => refused,
                Err(error) => return todo.iter().for_each(|(index, ..)| failed(*index, error.clone())),
            };
            // From the last to the first, so that their places stay right.
            for (at, operation, errno) in refused.into_iter().rev() {
                match self.after_refusal(&mut todo[at], operation, errno) {
                    Next::Try => continue,
                    Next::Done => {}
                    Next::Fail(error) => failed(todo[at].0, error),
                }
                todo.remove(at);
            }
        }
        todo.iter().for_each(|(index, ..)| failed(*index, NftError::Busy));
    }

    /// What comes of a step that was refused.
    fn after_refusal(
        &mut self,
        (_, set, step): &mut (usize, SetName, Step),
        operation: Operation,
        errno: Errno,
    ) -> Next {
        match (operation, errno, *step) {
            // The element, or the set: adding tells which.
            (Operation::Delete, Errno::ENOENT, Step::Renew) => *step = Step::Add,
            (Operation::Add, Errno::EEXIST, _) => *step = Step::Renew,
            // The same error for an element and for a set that is not there.
            (Operation::Delete, Errno::ENOENT, _) if matches!(self.set_exists(set), Ok(true)) => {
                return Next::Done;
            }
            (_, Errno::ENOENT, _) => return Next::Fail(self.not_there(set.clone()).unwrap_or_else(|e| e)),
            _ => return Next::Fail(self.error(operation, errno)),
        }
        Next::Try
    }

    /// Has the kernel make the changes of `todo` in one transaction. Those that it refuses, in their order; if there
    /// are any, none was made.
    fn commit(&mut self, changes: &[Change<'_>], todo: &Todo) -> Result<Refused, NftError> {
        let (mut refused, mut whole) = (Refused::new(), None);
        if todo.is_empty() {
            return Ok(refused);
        }
        // What each message of the transaction is.
        let mut messages = heapless::Vec::<(usize, Operation), { 2 * MAX_BATCH }>::new();
        let mut batch = Batch::begin(&mut self.dialogue, 2 * u32::try_from(MAX_BATCH).expect("a few dozen"));
        for (at, (index, set, step)) in todo.iter().enumerate() {
            let Change { address, to, .. } = changes[*index];
            if matches!(step, Step::Delete | Step::Renew) {
                nft::delete_element(&mut batch, &self.table, set, address);
                messages.push((at, Operation::Delete)).expect("two for each change");
            }
            if let (Step::Add | Step::Renew, Access::Open { time, by, .. }) = (step, to) {
                nft::add_element(&mut batch, &self.table, set, address, time, by);
                messages.push((at, Operation::Add)).expect("two for each change");
            }
        }
        let outcome = batch.commit(&mut |refusal| {
            let errno = Errno::from_raw(refusal.errno);
            match refusal.change.and_then(|change| messages.get(change)) {
                // Of one change the first refusal counts.
                Some((at, _)) if refused.last().is_some_and(|(last, ..)| last == at) => {}
                Some((at, operation)) => {
                    refused.push((*at, *operation, errno)).expect("one for each change");
                }
                None => whole = Some(errno),
            }
        });
        match (outcome, whole) {
            (Ok(()), None) => Ok(refused),
            (Ok(()), Some(errno)) => Err(self.error(Operation::Commit, errno)),
            (Err(error), _) => Err(self.failed(Operation::Commit, error)),
        }
    }
}

/// What comes of a step that was refused.
enum Next {
    /// Another step is tried.
    Try,
    /// It is as if it had been taken.
    Done,
    /// The change cannot be made.
    Fail(NftError),
}
