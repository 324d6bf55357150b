//! Lists of port ranges, sorted and disjoint.

use crate::core::ports::PortRange;

/// Sorts ranges, and joins those that touch or overlap.
pub(super) fn merge(mut ports: Vec<PortRange>) -> Vec<PortRange> {
    ports.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::new();
    for range in ports {
        let joined = merged.last().and_then(|last| last.joined(range));
        match (merged.last_mut(), joined) {
            (Some(last), Some(joined)) => *last = joined,
            _ => merged.push(range),
        }
    }
    merged
}

/// The ports of `all` that are in none of `others`; both are sorted and disjoint.
pub(super) fn less(all: &[PortRange], others: &[PortRange]) -> Vec<PortRange> {
    let mut left = Vec::new();
    for range in all {
        let mut first = range.first();
        for other in others.iter().filter(|other| other.overlaps(*range)) {
            left.extend(other.first().checked_sub(1).and_then(|last| PortRange::new(first, last)));
            first = other.last().saturating_add(1);
            if other.last() >= range.last() {
                break;
            }
        }
        let covered = others.iter().any(|other| other.contains(range.last()));
        left.extend(PortRange::new(first, range.last()).filter(|_| !covered));
    }
    left
}

/// Joins the ranges with the narrowest gaps between them until there are at most `most`.
pub(super) fn join(mut ports: Vec<PortRange>, most: usize) -> Vec<PortRange> {
    let Some(gone) = ports.len().checked_sub(most).filter(|gone| *gone > 0) else { return ports };
    let mut gaps: Vec<(u16, usize)> =
        (1..ports.len()).map(|at| (ports[at].first() - ports[at - 1].last(), at)).collect();
    gaps.sort_unstable();
    let mut joined: Vec<usize> = gaps.into_iter().take(gone).map(|(_, at)| at).collect();
    joined.sort_unstable();
    for at in joined.into_iter().rev() {
        let next = ports.remove(at);
        ports[at - 1] = ports[at - 1].hull(next);
    }
    ports
}
