//! A hash index over the slots of a fixed table: chains of slot numbers, no allocation.

/// Finds the slots of a table of `N` entries by hash.
///
/// The caller hashes with a key that is random for each start, so nobody can aim at one chain; with
/// as many heads as slots, a look-up then follows about one link however full the table is.
/// A new index is all zero bytes: it costs no room in the binary, and no memory until it is used.
#[derive(Debug)]
pub struct Chains<const N: usize> {
    /// For each bucket, the first slot plus one; 0 ends a chain.
    heads: [u16; N],
    /// For each slot, the next slot of its chain plus one; [`UNLINKED`] if it was taken out.
    next: [u16; N],
}

/// Marks a slot that was taken out of its chain. No slot has this number.
const UNLINKED: u16 = u16::MAX;

impl<const N: usize> Chains<N> {
    /// An index that knows no slot.
    pub const fn new() -> Self {
        const { assert!(N.is_power_of_two() && N <= 0x8000, "slot numbers plus one must fit 16 bits") };
        Self { heads: [0; N], next: [0; N] }
    }

    /// The slots whose hash falls into the bucket of `hash`, the newest first.
    pub fn slots(&self, hash: u64) -> impl Iterator<Item = usize> + '_ {
        let mut link = self.heads[bucket::<N>(hash)];
        core::iter::from_fn(move || {
            let slot = usize::from(link.checked_sub(1)?);
            link = self.next[slot];
            Some(slot)
        })
    }

    /// Adds `slot`, which must not be in any chain.
    pub fn link(&mut self, hash: u64, slot: usize) {
        let head = &mut self.heads[bucket::<N>(hash)];
        self.next[slot] = *head;
        *head = number(slot);
    }

    /// Takes `slot` out of the chain of `hash`, the hash it was linked with.
    pub fn unlink(&mut self, hash: u64, slot: usize) {
        let after = core::mem::replace(&mut self.next[slot], UNLINKED);
        let wanted = number(slot);
        let head = &mut self.heads[bucket::<N>(hash)];
        if *head == wanted {
            *head = after;
            return;
        }
        let mut link = *head;
        while let Some(before) = link.checked_sub(1).map(usize::from) {
            if self.next[before] == wanted {
                self.next[before] = after;
                return;
            }
            link = self.next[before];
        }
        debug_assert!(false, "slot {slot} is not in the chain of its hash");
    }

    /// Whether `slot`, which was linked once, still is.
    pub const fn is_linked(&self, slot: usize) -> bool {
        self.next[slot] != UNLINKED
    }

    /// Forgets every slot.
    pub fn clear(&mut self) {
        self.heads = [0; N];
    }
}

impl<const N: usize> Default for Chains<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only the low bits choose a bucket")]
const fn bucket<const N: usize>(hash: u64) -> usize {
    hash as usize & (N - 1)
}

/// How a slot is written in a chain.
#[expect(clippy::cast_possible_truncation, reason = "N is at most 0x8000, checked in `new`")]
const fn number(slot: usize) -> u16 {
    slot as u16 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<const N: usize>(chains: &Chains<N>, hash: u64) -> Vec<usize> {
        chains.slots(hash).collect()
    }

    #[test]
    fn unlinks_head_middle_and_tail() {
        for gone in 0..3 {
            let mut chains = Chains::<4>::new();
            (0..3).for_each(|slot| chains.link(1, slot));
            chains.unlink(5, gone);
            let rest: Vec<_> = [2, 1, 0].into_iter().filter(|&slot| slot != gone).collect();
            assert_eq!(all(&chains, 1), rest);
            assert_eq!(all(&chains, 0), []);
        }
    }

    #[test]
    fn a_slot_can_move_to_another_chain() {
        let mut chains = Chains::<2>::new();
        chains.link(0, 1);
        chains.link(0, 0);
        chains.unlink(0, 1);
        chains.link(1, 1);
        assert_eq!((all(&chains, 0), all(&chains, 1)), (vec![0], vec![1]));
    }
}
