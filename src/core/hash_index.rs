//! A hash index over the slots of a fixed table: chains of slot numbers, no allocation.

/// Finds the slots of a table of `N` entries by hash.
///
/// The caller hashes with a key that is random for each start, so that nobody can fill one chain on purpose. There are as
/// many chains as slots, so that a look-up follows about one link, however full the table is. Only the low 32 bits of a hash
/// are used. A new index is all zero bytes: it takes no room in the binary, and no memory until it is used.
#[derive(Debug)]
pub struct HashIndex<const N: usize> {
    /// For each bucket, the first slot plus one; 0 ends a chain.
    heads: [u16; N],
    /// For each slot, the next slot of its chain plus one; [`UNLINKED`] if it was taken out.
    next: [u16; N],
}

/// Marks a slot that was taken out of its chain. No slot has this number.
const UNLINKED: u16 = u16::MAX;

impl<const N: usize> HashIndex<N> {
    /// An index that knows no slot.
    pub const fn new() -> Self {
        const { assert!(0 < N && N < UNLINKED as usize, "slot numbers plus one must fit 16 bits") };
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

impl<const N: usize> Default for HashIndex<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The bucket of a hash: its low 32 bits scaled to `0..N`. All buckets are equally likely for every `N`, and a multiplication
/// is cheaper than the division of a remainder.
#[expect(clippy::cast_possible_truncation, reason = "only the low bits choose a bucket, and there are N")]
const fn bucket<const N: usize>(hash: u64) -> usize {
    ((hash as u32 as u64 * N as u64) >> 32) as usize
}

/// How a slot is written in a chain.
#[expect(clippy::cast_possible_truncation, reason = "N is less than 16 bits hold, checked in `new`")]
const fn number(slot: usize) -> u16 {
    slot as u16 + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A hash for each quarter of the range: of four buckets, the one with this number.
    const QUARTER: u64 = 1 << 30;

    fn all<const N: usize>(index: &HashIndex<N>, hash: u64) -> Vec<usize> {
        index.slots(hash).collect()
    }

    #[test]
    fn unlinks_head_middle_and_tail() {
        for gone in 0..3 {
            let mut index = HashIndex::<4>::new();
            (0..3).for_each(|slot| index.link(QUARTER, slot));
            index.unlink(QUARTER + 1, gone);
            let rest: Vec<_> = [2, 1, 0].into_iter().filter(|&slot| slot != gone).collect();
            assert_eq!(all(&index, QUARTER), rest);
            assert_eq!(all(&index, 0), []);
        }
    }

    #[test]
    fn a_slot_can_move_to_another_chain() {
        let mut index = HashIndex::<2>::new();
        index.link(0, 1);
        index.link(0, 0);
        index.unlink(0, 1);
        index.link(2 * QUARTER, 1);
        assert_eq!((all(&index, 0), all(&index, 2 * QUARTER)), (vec![0], vec![1]));
    }

    #[test]
    fn every_bucket_of_any_number_is_used_and_about_as_often() {
        const N: usize = 12_288;
        let mut sizes = vec![0; N];
        // Every 1,024th of all hashes.
        for hash in (0..1 << 32).step_by(1024) {
            sizes[bucket::<N>(hash)] += 1;
        }
        assert_eq!((sizes.iter().min(), sizes.iter().max()), (Some(&341), Some(&342)));
    }

    proptest! {
        /// Against a list for each hash, with a size that is no power of two.
        #[test]
        fn holds_what_was_linked_and_not_unlinked(operations in prop::collection::vec((any::<u64>(), 0..7_usize), 0..100)) {
            let mut index = HashIndex::<7>::new();
            let mut linked: Vec<(u64, usize)> = Vec::new();
            for (hash, slot) in operations {
                if let Some(at) = linked.iter().position(|(_, known)| *known == slot) {
                    let (hash, _) = linked.remove(at);
                    index.unlink(hash, slot);
                    prop_assert!(!index.is_linked(slot));
                } else {
                    linked.insert(0, (hash, slot));
                    index.link(hash, slot);
                }
                for (hash, _) in &linked {
                    let same = |other: &u64| bucket::<7>(*other) == bucket::<7>(*hash);
                    let expected: Vec<_> = linked.iter().filter(|(other, _)| same(other)).map(|(_, slot)| *slot).collect();
                    prop_assert_eq!(all(&index, *hash), expected);
                }
            }
        }
    }
}
