//! Searches for a number of a packet among intervals. The search is a tree of comparisons: each interval costs an
//! instruction or two, and a packet passes few of them.

use libc::{BPF_ABS, BPF_LD, BPF_MEM, BPF_W};

use super::super::bpf::{
    Label,
    Operand::K,
    Program,
    Test::{AtLeast, Equal},
};

/// With this many single values, a tree is shorter than comparing them one after the other.
const TREE: usize = 5;

/// The place of 32 bits of the number.
#[derive(Clone, Copy, Debug)]
pub(super) enum WordPlace {
    /// At this offset in the packet, in bytes.
    Packet(u32),
    /// In this place of the scratch memory.
    Memory(u32),
}

/// The numbers from `first` to `last`, both included, and the label that they lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) first: u128,
    pub(super) last: u128,
    pub(super) to: Label,
}

/// A range of values of one word, and the next step for them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    first: u32,
    to: To,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    Label(Label),
    /// The following words decide.
    Rest(Vec<Interval>),
}

/// Jumps to the label of the interval that holds the number in `words`, or to `none`. The most significant word comes
/// first. `intervals` are sorted and disjoint.
pub(super) fn search(p: &mut Program, words: &[WordPlace], intervals: &[Interval], none: Label) {
    let Some((word, rest)) = words.split_first() else { return p.jump(none) };
    let segments = segments(intervals, rest.len(), none);
    if let [Segment { to: To::Label(label), .. }] = segments[..] {
        return p.jump(label);
    }
    match *word {
        WordPlace::Packet(at) => p.op(BPF_LD | BPF_W | BPF_ABS, at),
        WordPlace::Memory(at) => p.op(BPF_LD | BPF_MEM, at),
    }
    tree(p, rest, &segments, none);
}

/// Splits the whole range of a word into segments with the same next step. `more` words follow.
fn segments(intervals: &[Interval], more: usize, none: Label) -> Vec<Segment> {
    let shift = 32 * u32::try_from(more).expect("an address has four words");
    let mask = (1_u128 << shift) - 1;
    let word = |number: u128| u32::try_from(number >> shift & 0xffff_ffff).expect("32 bits");
    let mut parts: Vec<(u32, u32, To)> = Vec::new();
    let mut add = |first: u32, last: u32, low: u128, high: u128, to: Label| {
        let whole = low == 0 && high == mask;
        match parts.last_mut() {
            Some((at, _, To::Rest(rest))) if *at == first && !whole => {
                rest.push(Interval { first: low, last: high, to });
            }
            _ if whole => parts.push((first, last, To::Label(to))),
            _ => parts.push((first, last, To::Rest(vec![Interval { first: low, last: high, to }]))),
        }
    };
    for Interval { first, last, to } in intervals {
        let (mut low, mut high) = (word(*first), word(*last));
        if low == high {
            add(low, low, first & mask, last & mask, *to);
            continue;
        }
        if first & mask != 0 {
            add(low, low, first & mask, mask, *to);
            low += 1;
        }
        let tail = last & mask != mask;
        if tail {
            high -= 1;
        }
        if low <= high {
            add(low, high, 0, mask, *to);
        }
        if tail {
            add(word(*last), word(*last), 0, last & mask, *to);
        }
    }
    let mut segments: Vec<Segment> = Vec::new();
    let mut next = Some(0_u32);
    let mut push = |first, to| {
        if segments.last().is_none_or(|last| last.to != to) {
            segments.push(Segment { first, to });
        }
    };
    for (first, last, to) in parts {
        if let Some(gap) = next.filter(|next| *next < first) {
            push(gap, To::Label(none));
        }
        push(first, to);
        next = last.checked_add(1);
    }
    if let Some(gap) = next {
        push(gap, To::Label(none));
    }
    segments
}

/// Searches for the word in A among segments.
fn tree(p: &mut Program, rest: &[WordPlace], segments: &[Segment], none: Label) {
    match segments {
        [Segment { to: To::Label(label), .. }] => p.jump(*label),
        [Segment { to: To::Rest(intervals), .. }] => search(p, rest, intervals, none),
        _ if singles(segments).is_some_and(|singles| singles.len() < TREE) => {
            one_by_one(p, rest, segments, none);
        }
        _ => {
            let (lower, upper) = segments.split_at(segments.len() / 2);
            let (below, above) = (target(p, lower), target(p, upper));
            p.branch(AtLeast, K(upper[0].first), above.label(), below.label());
            for (side, half) in [(below, lower), (above, upper)] {
                if let JumpTarget::New(label) = side {
                    p.place(label);
                    tree(p, rest, half, none);
                }
            }
        }
    }
}

/// The single values whose next step differs from that of all other values; `None` if ranges differ too.
fn singles(segments: &[Segment]) -> Option<Vec<(u32, &To)>> {
    let others = segments.first()?;
    segments
        .iter()
        .enumerate()
        .filter(|(_, segment)| segment.to != others.to)
        .map(|(at, segment)| {
            let after = segments.get(at + 1)?;
            (after.to == others.to && after.first - segment.first == 1)
                .then_some((segment.first, &segment.to))
        })
        .collect()
}

/// Compares A with one value after the other.
fn one_by_one(p: &mut Program, rest: &[WordPlace], segments: &[Segment], none: Label) {
    let singles = singles(segments).expect("the caller has seen that they are");
    let otherwise = target(p, &segments[..1]);
    let mut later = Vec::new();
    for (at, (value, to)) in singles.iter().enumerate() {
        let label = match to {
            To::Label(label) => *label,
            To::Rest(intervals) => {
                let label = p.label();
                later.push((label, intervals));
                label
            }
        };
        if at + 1 == singles.len() {
            p.branch(Equal, K(*value), label, otherwise.label());
        } else {
            p.when(Equal, K(*value), label);
        }
    }
    if let JumpTarget::New(label) = otherwise {
        p.place(label);
        tree(p, rest, &segments[..1], none);
    }
    for (label, intervals) in later {
        p.place(label);
        search(p, rest, intervals, none);
    }
}

/// The jump target for some segments.
#[derive(Clone, Copy)]
enum JumpTarget {
    /// A label that exists already.
    Known(Label),
    /// A new label, at which the search continues.
    New(Label),
}

impl JumpTarget {
    const fn label(self) -> Label {
        match self {
            Self::Known(label) | Self::New(label) => label,
        }
    }
}

fn target(p: &mut Program, segments: &[Segment]) -> JumpTarget {
    match segments {
        [Segment { to: To::Label(label), .. }] => JumpTarget::Known(*label),
        _ => JumpTarget::New(p.label()),
    }
}
