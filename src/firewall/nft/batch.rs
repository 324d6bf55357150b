//! A transaction: begin, the changes, end. The kernel takes it all or not at all.

use super::{ACK, REQUEST, SUBSYSTEM, family_header, message_type};
use crate::config::TableFamily;
use crate::linux::netlink::message::Datagram;
use crate::linux::netlink::{Dialogue, DialogueError};

const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// A transaction under construction. Its sequence numbers are, in this order, one for the begin, one for each change
/// and one for the end.
#[derive(Debug)]
pub struct Batch<'d> {
    dialogue: &'d mut Dialogue,
    /// The sequence number of the begin.
    first: u32,
    /// The number of changes so far.
    changes: u32,
    /// The last change's offset in the request, in bytes.
    last: usize,
}

/// A change that the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedChange {
    /// The change's index, from 0; `None` if the kernel refused the whole transaction.
    pub(crate) change: Option<usize>,
    /// The kernel's error, above 0.
    pub(crate) errno: i32,
}

impl<'d> Batch<'d> {
    /// Begins a transaction of at most `changes` changes.
    pub fn begin(dialogue: &'d mut Dialogue, changes: u32) -> Self {
        let (request, first) = dialogue.begin(changes.saturating_add(2));
        request.message(BATCH_BEGIN, REQUEST, first, batch_header);
        Self { dialogue, first, changes: 0, last: 0 }
    }

    /// Adds a change: a message of this kind whose body `body` writes. `flags` are added to the usual ones.
    pub fn change(&mut self, kind: u8, flags: u16, family: TableFamily, body: impl FnOnce(&mut Datagram)) {
        self.changes += 1;
        let sequence = self.first.wrapping_add(self.changes);
        let request = self.dialogue.request();
        self.last = request.bytes().len();
        request.message(message_type(kind), REQUEST | flags, sequence, |r| {
            family_header(r, family);
            body(r);
        });
    }

    /// Ends the transaction and sends it to the kernel. Calls `refused` with every refused change, in order. If there
    /// is one, the kernel made none of the changes.
    ///
    /// # Errors
    /// The kernel could not be asked or did not answer. Whether the changes were made is unknown.
    pub fn commit(self, refused: &mut dyn FnMut(RefusedChange)) -> Result<(), DialogueError> {
        let Self { dialogue, first, changes, .. } = self.ended();
        dialogue
            .exchange(&mut |message| {
                // The kernel always answers the last change, and the others only when it refuses them. An error of the
                // whole transaction comes as one of its begin, and no answer follows.
                let index = message.sequence.wrapping_sub(first);
                let errno = message.outcome()?;
                if index > changes {
                    return None;
                }
                if errno != 0 {
                    let change = usize::try_from(index).ok().and_then(|index| index.checked_sub(1));
                    refused(RefusedChange { change, errno });
                }
                (index == changes || index == 0 && errno != 0).then_some(errno)
            })
            .map(drop)
    }

    /// Adds the end to the transaction, and makes the last change ask for an answer.
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
fn batch_header(request: &mut Datagram) {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    request.raw(&[0, 0, high, low]);
}
