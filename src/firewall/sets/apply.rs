//! Changes the elements of doors' sets, many in one transaction.

use core::net::IpAddr;
use core::time::Duration;

use nix::errno::Errno;

use super::Sets;
use crate::core::passage::Passage;
use crate::firewall::error::{NftError, Operation};
use crate::firewall::nft::batch::Batch;
use crate::firewall::nft::{ElementNote, OpenedBy, element};
use crate::firewall::set_name::{DoorSets, SetName};

/// The most changes in one transaction. Each may be refused, and all refusals must fit into the socket's queue, which
/// holds some 160 of them where it is smallest.
const MAX_BATCH: usize = 64;

/// The most tries for a change when the set's state differs from what the daemon assumed. The second try succeeds
/// unless another program changes the same element at the same moment.
const TRIES: usize = 4;

/// A change of one address in a door's set.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The door's sets.
    pub door: DoorSets<'a>,
    /// The passage that opens or shuts.
    pub passage: Passage,
    /// The new state.
    pub to: AddressState<'a>,
}

/// The state of an address at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressState<'a> {
    /// The address is let in. Its element is added, or deleted and added: a plain add would leave the old timer.
    Open {
        /// The time from now; `None` means until it is shut.
        time: Option<Duration>,
        /// The opener, and whether only connections hold the door open.
        note: ElementNote<'a>,
        /// Whether the element is assumed to exist. A wrong assumption costs one more transaction.
        held: bool,
    },
    /// The address is not let in any more.
    Shut,
}

impl AddressState<'_> {
    const fn first_step(self) -> ElementOperation {
        match self {
            Self::Open { held: true, .. } => ElementOperation::Renew,
            Self::Open { held: false, .. } => ElementOperation::Add,
            Self::Shut => ElementOperation::Delete,
        }
    }
}

/// The next operation on an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElementOperation {
    Add,
    /// Delete it and add it.
    Renew,
    Delete,
}

/// A change that has not been made yet.
struct Pending {
    /// The index of the change.
    change: usize,
    set: SetName,
    /// The step to try next.
    step: ElementOperation,
}

/// The changes that have not been made yet.
type Todo = heapless::Vec<Pending, MAX_BATCH>;

/// A step that the kernel refused.
struct RefusedStep {
    /// The step's index in [`Todo`].
    at: usize,
    operation: Operation,
    errno: Errno,
}

type RefusedSteps = heapless::Vec<RefusedStep, MAX_BATCH>;

impl Sets {
    /// Makes all these changes, 64 in a transaction. Calls `failed` with the index and error of each change that could
    /// not be made. All others are made.
    ///
    /// Deleting an element that does not exist counts as success. Do not delete elements that the kernel's timer has
    /// removed, because each deletion makes the kernel wait for all processors.
    pub fn apply(&mut self, changes: &[Change<'_>], failed: &mut dyn FnMut(usize, NftError)) {
        for (part, changes) in changes.chunks(MAX_BATCH).enumerate() {
            self.apply_part(changes, &mut |index, error| failed(part * MAX_BATCH + index, error));
        }
    }

    /// Makes one change.
    ///
    /// # Errors
    /// The change could not be made.
    pub fn apply_one(&mut self, change: Change<'_>) -> Result<(), NftError> {
        let mut outcome = Ok(());
        self.apply(&[change], &mut |_, error| outcome = Err(error));
        outcome
    }

    /// Lets `address` in for `time` from now; `None` means until it is shut. For `held` see [`AddressState::Open`].
    ///
    /// # Errors
    /// The address is not let in, or its time was not extended.
    pub fn open<'a>(
        &mut self,
        door: impl Into<DoorSets<'a>>,
        address: IpAddr,
        time: Option<Duration>,
        held: bool,
    ) -> Result<(), NftError> {
        let to = AddressState::Open { time, note: OpenedBy::Knock.into(), held };
        self.apply_one(Change { door: door.into(), passage: address.into(), to })
    }

    /// Shuts the door for `passage`. An element that does not exist counts as deleted.
    ///
    /// # Errors
    /// The passage may still be open. A missing set or table is an error too.
    pub fn shut<'a>(
        &mut self,
        door: impl Into<DoorSets<'a>>,
        passage: impl Into<Passage>,
    ) -> Result<(), NftError> {
        self.apply_one(Change { door: door.into(), passage: passage.into(), to: AddressState::Shut })
    }

    fn apply_part(&mut self, changes: &[Change<'_>], failed: &mut dyn FnMut(usize, NftError)) {
        let mut todo = Todo::new();
        for (index, change) in changes.iter().enumerate() {
            match self.set_for(change.door, change.passage) {
                Ok(set) => {
                    let pending = Pending { change: index, set, step: change.to.first_step() };
                    todo.push(pending).ok().expect("no more than MAX_BATCH changes");
                }
                Err(error) => failed(index, error),
            }
        }
        for _ in 0..TRIES {
            let refused = match self.commit(changes, &todo) {
                Ok(refused) if refused.is_empty() => return,
                Ok(refused) => refused,
                Err(error) => return todo.iter().for_each(|pending| failed(pending.change, error.clone())),
            };
            // The last refusal comes first, so that the other indices stay valid.
            for refused in refused.into_iter().rev() {
                let at = refused.at;
                match self.after_refusal(&mut todo[at], &refused) {
                    Next::Try => continue,
                    Next::Done => {}
                    Next::Fail(error) => failed(todo[at].change, error),
                }
                todo.remove(at);
            }
        }
        todo.iter().for_each(|pending| failed(pending.change, NftError::Busy));
    }

    /// Decides the next step after a refused one.
    fn after_refusal(&mut self, pending: &mut Pending, refused: &RefusedStep) -> Next {
        let Pending { set, step, .. } = pending;
        let RefusedStep { operation, errno, .. } = *refused;
        match (operation, errno, *step) {
            // Either the element or the set is missing. The add will tell.
            (Operation::Delete, Errno::ENOENT, ElementOperation::Renew) => *step = ElementOperation::Add,
            (Operation::Add, Errno::EEXIST, _) => *step = ElementOperation::Renew,
            // The error is the same for a missing element and a missing set.
            (Operation::Delete, Errno::ENOENT, _) if matches!(self.set_exists(set), Ok(true)) => {
                return Next::Done;
            }
            (_, Errno::ENOENT, _) => return Next::Fail(self.not_there(set.clone()).unwrap_or_else(|e| e)),
            _ => return Next::Fail(self.error(operation, errno)),
        }
        Next::Try
    }

    /// Makes the changes of `todo` in one transaction. Returns the refused steps, in order. If there is one, the
    /// kernel has made no change.
    fn commit(&mut self, changes: &[Change<'_>], todo: &Todo) -> Result<RefusedSteps, NftError> {
        let (mut refused, mut whole) = (RefusedSteps::new(), None);
        if todo.is_empty() {
            return Ok(refused);
        }
        // The change and operation of each message of the transaction.
        let mut messages = heapless::Vec::<(usize, Operation), { 2 * MAX_BATCH }>::new();
        let mut batch = Batch::begin(&mut self.dialogue, 2 * u32::try_from(MAX_BATCH).expect("a few dozen"));
        for (at, Pending { change, set, step }) in todo.iter().enumerate() {
            let Change { passage, to, .. } = changes[*change];
            if matches!(step, ElementOperation::Delete | ElementOperation::Renew) {
                element::delete(&mut batch, &self.table, set, passage);
                messages.push((at, Operation::Delete)).expect("two for each change");
            }
            if let (ElementOperation::Add | ElementOperation::Renew, AddressState::Open { time, note, .. }) =
                (step, to)
            {
                element::add(&mut batch, &self.table, set, passage, time, note);
                messages.push((at, Operation::Add)).expect("two for each change");
            }
        }
        let outcome = batch.commit(&mut |refusal| {
            let errno = Errno::from_raw(refusal.errno);
            match refusal.change.and_then(|change| messages.get(change)) {
                // Only the first refusal of a change counts.
                Some((at, _)) if refused.last().is_some_and(|last: &RefusedStep| last.at == *at) => {}
                Some(&(at, operation)) => {
                    refused.push(RefusedStep { at, operation, errno }).ok().expect("one for each change");
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

/// The reaction to a refused step.
enum Next {
    /// Another step must be tried.
    Try,
    /// The change counts as made.
    Done,
    /// The change cannot be made.
    Fail(NftError),
}
