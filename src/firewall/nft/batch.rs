//! A transaction: begin, the changes, end. The kernel takes all of it or nothing.

use super::{ACK, REQUEST, SUBSYSTEM, family_header, message_type};
use crate::config::TableFamily;
use crate::linux::netlink::message::Request;
use crate::linux::netlink::{Dialogue, DialogueError};

const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// A transaction under construction. Its sequence numbers are one for the begin, one for each change and one for the
/// end, in this order.
#[derive(Debug)]
pub struct Batch<'d> {
    dialogue: &'d mut Dialogue,
    /// Of the begin.
    first: u32,
    /// Changes so far.
    changes: u32,
    /// Where the last change begins in the request.
    last: usize,
}

/// A change that the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The change's place in the transaction, from 0; none if the transaction as a whole was refused.
    pub change: Option<usize>,
    /// The kernel's error, above 0.
    pub errno: i32,
}

impl<'d> Batch<'d> {
    /// Begins a transaction of at most `changes` changes.
    pub fn begin(dialogue: &'d mut Dialogue, changes: u32) -> Self {
        let (request, first) = dialogue.begin(changes.saturating_add(2));
        request.message(BATCH_BEGIN, REQUEST, first, batch_header);
        Self { dialogue, first, changes: 0, last: 0 }
    }

    /// Adds a change: a message of this kind with what `body` writes. `flags` are beside the usual ones.
    pub fn change(&mut self, kind: u8, flags: u16, family: TableFamily, body: impl FnOnce(&mut Request)) {
        self.changes += 1;
        let sequence = self.first.wrapping_add(self.changes);
        let request = self.dialogue.request();
        self.last = request.bytes().len();
        request.message(message_type(kind), REQUEST | flags, sequence, |r| {
            family_header(r, family);
            body(r);
        });
    }

    /// Ends the transaction and has the kernel take it. Hands `refused` every change that it refuses, in order; if
    /// there is any, none of the changes was made.
    ///
    /// # Errors
    /// The kernel cannot be asked, or did not answer: whether the changes were made is not known.
    pub fn commit(self, refused: &mut dyn FnMut(Refusal)) -> Result<(), DialogueError> {
        let Self { dialogue, first, changes, .. } = self.ended();
        dialogue
            .exchange(&mut |message| {
                // The last change always answers, the others only when they are refused. An error of the
                // transaction as a whole comes as one of its begin, and nothing comes after it.
                let index = message.sequence.wrapping_sub(first);
                let errno = message.outcome()?;
                if index > changes {
                    return None;
                }
                if errno != 0 {
                    let change = usize::try_from(index).ok().and_then(|index| index.checked_sub(1));
                    refused(Refusal { change, errno });
                }
                (index == changes || index == 0 && errno != 0).then_some(errno)
            })
            .map(drop)
    }

    /// The same transaction with its end, and with the last change asking for an answer.
    fn ended(self) -> Self {
        let sequence = self.first.wrapping_add(self.changes + 1);
        let request = self.dialogue.request();
        request.add_flags(self.last, ACK);
        request.message(BATCH_END, REQUEST, sequence, batch_header);
        self
    }

    /// The bytes of the whole transaction.
    #[cfg(test)]
    pub(super) fn bytes(self) -> Vec<u8> {
        self.ended().dialogue.request().bytes().to_vec()
    }
}

/// `struct nfgenmsg` of a batch's begin and end: no family, and the subsystem as the resource, big-endian.
fn batch_header(request: &mut Request) {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    request.raw(&[0, 0, high, low]);
}
