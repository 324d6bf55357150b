//! A range of ports.

use core::fmt;

/// Ports from a lowest to a highest, both included. Port 0 is in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports from `first` to `last`; `None` if `first` is 0 or above `last`.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first == 0 || last < first { None } else { Some(Self { first, last }) }
    }

    /// One port.
    pub const fn one(port: core::num::NonZeroU16) -> Self {
        Self { first: port.get(), last: port.get() }
    }

    /// Lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// Highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether it is one port only.
    pub const fn is_one(self) -> bool {
        self.first == self.last
    }

    /// Whether `port` lies in it.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether both have a port in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Both and all ports between them.
    #[must_use]
    pub const fn hull(self, other: Self) -> Self {
        Self {
            first: if other.first < self.first { other.first } else { self.first },
            last: if other.last > self.last { other.last } else { self.last },
        }
    }

    /// Both as one range, if no port lies between them. `other` begins no lower.
    pub const fn joined(self, other: Self) -> Option<Self> {
        if other.first > self.last.saturating_add(1) { None } else { Some(self.hull(other)) }
    }
}

/// `22`, or `6000-6010`, as UCI and nft write it.
impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one() { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    fn range(first: u16, last: u16) -> PortRange {
        PortRange::new(first, last).unwrap()
    }

    #[test]
    fn there_is_no_port_0_and_no_empty_range() {
        assert_eq!([PortRange::new(0, 1), PortRange::new(2, 1)], [None, None]);
        assert!(range(1, 65_535).contains(65_535) && !range(2, 3).contains(1) && !range(2, 3).contains(4));
    }

    #[test]
    fn neighbours_join_and_do_not_overlap() {
        assert_eq!(range(1, 2).joined(range(3, 4)), Some(range(1, 4)));
        assert_eq!(range(1, 9).joined(range(3, 4)), Some(range(1, 9)));
        assert_eq!(range(1, 2).joined(range(4, 4)), None);
        assert_eq!(range(1, 65_535).joined(range(65_535, 65_535)), Some(range(1, 65_535)));
        assert!(!range(1, 2).overlaps(range(3, 4)) && range(1, 3).overlaps(range(3, 4)));
    }

    #[test]
    fn a_hull_has_the_ports_between_whichever_comes_first() {
        for (one, other) in
            [(range(1, 2), range(5, 6)), (range(1, 6), range(3, 4)), (range(1, 4), range(3, 6))]
        {
            assert_eq!([one.hull(other), other.hull(one)], [range(1, 6); 2]);
        }
    }

    #[test]
    fn one_port_is_written_alone() {
        assert_eq!([range(22, 22).to_string(), range(22, 23).to_string()], ["22", "22-23"]);
    }
}
