//! A set of addresses of one family, as ranges.

/// Most ranges of one family: an own address, its network and its broadcast address for each of
/// [`MAX_ADDRESSES`](super::place::MAX_ADDRESSES), and the addresses that are never a source.
pub const MAX_RANGES: usize = 512;

/// Addresses from the first to the last, both included. An IPv4 address counts as its 32 bits.
pub type AddressRange = (u128, u128);

/// Sorted, disjoint ranges that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRanges(heapless::Vec<AddressRange, MAX_RANGES>);

/// The set has [`MAX_RANGES`] ranges already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRanges;

impl AddressRanges {
    /// No addresses.
    pub const fn new() -> Self {
        Self(heapless::Vec::new())
    }

    /// Removes every address.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The ranges, lowest first.
    pub fn as_slice(&self) -> &[AddressRange] {
        &self.0
    }

    /// Whether `address` is in the set.
    pub fn contains(&self, address: u128) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).is_some_and(|at| address <= self.0[at].1)
    }

    /// Adds the addresses of a range.
    ///
    /// # Errors
    /// The set is full; it has fewer of these addresses than asked for.
    pub fn add(&mut self, (mut first, mut last): AddressRange) -> Result<(), TooManyRanges> {
        // Those that overlap it or touch it become a part of it.
        let from = self.0.partition_point(|(_, high)| high.checked_add(1).is_some_and(|next| next < first));
        while let Some((low, high)) = self.0.get(from).copied()
            && last.checked_add(1).is_none_or(|next| low <= next)
        {
            (first, last) = (first.min(low), last.max(high));
            self.0.remove(from);
        }
        self.0.insert(from, (first, last)).map_err(|_| TooManyRanges)
    }

    /// Removes the addresses of a range.
    ///
    /// # Errors
    /// The set is full, and a range of it would have become two; it has more addresses than asked for.
    pub fn remove(&mut self, (first, last): AddressRange) -> Result<(), TooManyRanges> {
        let mut at = self.0.partition_point(|(_, high)| *high < first);
        while let Some((low, high)) = self.0.get(at).copied()
            && low <= last
        {
            match (low < first, last < high) {
                (true, true) => {
                    self.0.insert(at + 1, (last + 1, high)).map_err(|_| TooManyRanges)?;
                    self.0[at].1 = first - 1;
                    return Ok(());
                }
                (true, false) => {
                    self.0[at].1 = first - 1;
                    at += 1;
                }
                (false, true) => {
                    self.0[at].0 = last + 1;
                    return Ok(());
                }
                (false, false) => {
                    self.0.remove(at);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_space() {
        let mut ranges = AddressRanges::new();
        ranges.add((u128::MAX, u128::MAX)).unwrap();
        ranges.add((0, u128::MAX - 1)).unwrap();
        assert_eq!(ranges.as_slice(), [(0, u128::MAX)]);
        ranges.remove((0, 0)).unwrap();
        ranges.remove((u128::MAX, u128::MAX)).unwrap();
        assert_eq!(ranges.as_slice(), [(1, u128::MAX - 1)]);
    }

    #[test]
    fn a_full_set_says_so() {
        let mut ranges = AddressRanges::new();
        for n in 0..MAX_RANGES as u128 {
            ranges.add((n * 10, n * 10 + 2)).unwrap();
        }
        assert_eq!(ranges.add((5, 5)), Err(TooManyRanges));
        assert_eq!(ranges.remove((11, 11)), Err(TooManyRanges));
        assert_eq!(ranges.remove((10, 12)), Ok(()));
    }

    proptest! {
        /// Against a list of flags, one for each address.
        #[test]
        fn holds_what_was_added_and_not_removed(changes in prop::collection::vec((any::<bool>(), 0..40_u128, 0..10_u128), 0..40)) {
            let (mut ranges, mut model) = (AddressRanges::new(), [false; 50]);
            for (add, first, more) in changes {
                let range = (first, first + more);
                if add { ranges.add(range).unwrap() } else { ranges.remove(range).unwrap() }
                (first..=first + more).for_each(|address| model[usize::try_from(address).unwrap()] = add);
                for (address, held) in (0..).zip(model) {
                    prop_assert_eq!(ranges.contains(address), held, "{}", address);
                }
                let neighbours = ranges.as_slice().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
                prop_assert!(neighbours, "{:?}", ranges);
            }
        }
    }
}
