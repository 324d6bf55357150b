//! A table that forgets its oldest entry when it is full.

use super::hash_index::HashIndex;

/// An entry of a [`FifoTable`].
pub trait Entry: Copy {
    /// The hash that it is found by, under the table's key; at least the bits that select a chain.
    fn hash(&self, keyed: &impl core::hash::BuildHasher) -> u64;
}

/// Up to `N` entries in order of arrival, found by hash.
///
/// When the table is full, a new entry replaces the oldest. Other tables are never touched, so a flood of first knocks does
/// not remove attempts that are further on. A removed entry leaves a hole until its turn comes: a new entry in the hole would
/// stand among the oldest, and would soon be replaced.
#[derive(Debug)]
pub struct FifoTable<T, const N: usize> {
    entries: heapless::Vec<T, N>,
    /// An entry that is in no chain is a hole.
    index: HashIndex<N>,
    /// The slot that is written next, once every slot has been written.
    oldest: usize,
}

impl<T: Entry, const N: usize> FifoTable<T, N> {
    /// An empty table.
    pub const fn new() -> Self {
        Self { entries: heapless::Vec::new(), index: HashIndex::new(), oldest: 0 }
    }

    /// The newest entry with this hash that `is_it` accepts, and its slot.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(&T) -> bool) -> Option<(usize, T)> {
        self.index.slots(hash).map(|slot| (slot, self.entries[slot])).find(|(_, entry)| is_it(entry))
    }

    /// Adds an entry. Returns the entry that it replaced, if any.
    pub fn insert(&mut self, keyed: &impl core::hash::BuildHasher, hash: u64, entry: T) -> Option<T> {
        let mut displaced = None;
        let slot = self.entries.len();
        let slot = if self.entries.push(entry).is_ok() {
            slot
        } else {
            let slot = self.oldest;
            self.oldest = (slot + 1) % N;
            let old = core::mem::replace(&mut self.entries[slot], entry);
            if self.index.is_linked(slot) {
                self.index.unlink(old.hash(keyed), slot);
                displaced = Some(old);
            }
            slot
        };
        self.index.link(hash, slot);
        displaced
    }

    /// Removes the entry in `slot`, which [`Self::find`] gave for `hash`.
    pub fn remove(&mut self, hash: u64, slot: usize) {
        self.index.unlink(hash, slot);
    }

    /// The entry in `slot`, which [`Self::find`] gave.
    pub fn entry_mut(&mut self, slot: usize) -> &mut T {
        &mut self.entries[slot]
    }

    /// Removes each entry for which `keep` returns false.
    pub fn retain(&mut self, keyed: &impl core::hash::BuildHasher, mut keep: impl FnMut(&T) -> bool) {
        for slot in 0..self.entries.len() {
            let entry = self.entries[slot];
            if self.index.is_linked(slot) && !keep(&entry) {
                self.remove(entry.hash(keyed), slot);
            }
        }
        if self.is_empty() {
            // No entry is left, so every chain is empty. Start again at the first slot, so that no further memory is
            // touched.
            self.entries.clear();
            self.oldest = 0;
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.linked().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.linked().next().is_none()
    }

    /// The slots that are no holes.
    fn linked(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.entries.len()).filter(|slot| self.index.is_linked(*slot))
    }
}

impl<T: Entry, const N: usize> Default for FifoTable<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use core::hash::BuildHasher;
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::Keyed;

    impl Entry for u32 {
        fn hash(&self, keyed: &impl BuildHasher) -> u64 {
            keyed.hash_one(self)
        }
    }

    fn slot_of<const N: usize>(table: &FifoTable<u32, N>, value: u32) -> Option<usize> {
        table.find(value.hash(&Keyed::default()), |entry| *entry == value).map(|(slot, _)| slot)
    }

    #[test]
    fn the_oldest_goes_first() {
        let (keyed, mut table) = (Keyed::default(), FifoTable::<u32, 4>::new());
        let displaced: Vec<_> = (0..6).map(|v: u32| table.insert(&keyed, v.hash(&keyed), v)).collect();
        assert_eq!(displaced, [None, None, None, None, Some(0), Some(1)]);
        assert_eq!((0..6).filter(|v| slot_of(&table, *v).is_some()).collect::<Vec<_>>(), [2, 3, 4, 5]);
    }

    #[test]
    fn a_hole_is_not_filled_before_its_turn() {
        let (keyed, mut table) = (Keyed::default(), FifoTable::<u32, 4>::new());
        for v in 0..4_u32 {
            table.insert(&keyed, v.hash(&keyed), v);
        }
        let slot = slot_of(&table, 1).unwrap();
        table.remove(1_u32.hash(&keyed), slot);
        assert_eq!(
            table.insert(&keyed, 9_u32.hash(&keyed), 9),
            Some(0),
            "9 takes the oldest place, not the hole"
        );
        assert_eq!(table.insert(&keyed, 10_u32.hash(&keyed), 10), None, "now it is the hole's turn");
        assert_eq!(table.len(), 4);
    }

    proptest! {
        /// Against a plain queue that remembers its holes. The size is no power of two.
        #[test]
        fn behaves_like_a_queue(operations in prop::collection::vec((0..20_u8, 0..12_u32), 0..200)) {
            let (keyed, mut table) = (Keyed::default(), FifoTable::<u32, 7>::new());
            let mut model: VecDeque<Option<u32>> = VecDeque::new();
            for (operation, value) in operations {
                let held = slot_of(&table, value);
                prop_assert_eq!(held.is_some(), model.contains(&Some(value)));
                match (operation, held) {
                    (0, _) => {
                        table.retain(&keyed, |entry| *entry >= value);
                        for entry in &mut model {
                            *entry = entry.filter(|entry| *entry >= value);
                        }
                        if model.iter().all(Option::is_none) {
                            model.clear();
                        }
                    }
                    (1..=10, None) => {
                        let displaced = if model.len() == 7 { model.pop_front().flatten() } else { None };
                        model.push_back(Some(value));
                        prop_assert_eq!(table.insert(&keyed, value.hash(&keyed), value), displaced);
                    }
                    (11.., Some(slot)) => {
                        table.remove(value.hash(&keyed), slot);
                        for entry in model.iter_mut().filter(|entry| **entry == Some(value)) {
                            *entry = None;
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(table.len(), model.iter().flatten().count());
                prop_assert_eq!(table.is_empty(), model.iter().all(Option::is_none));
            }
        }
    }
}
