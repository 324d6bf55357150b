//! Sequences that are no secret, or that a scan opens by its order alone.

use core::fmt;

use super::sequence::Step;

/// A weakness of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// It has fewer than [`MIN_STEPS`] steps.
    Short,
    /// Guides print it, or this project's examples do.
    WellKnown,
    /// The distance from each step to the next is the same.
    EqualDistances,
    /// Every port is a multiple of [`ROUND`].
    Round,
}

/// Fewest steps that a scan does not hit by chance.
pub const MIN_STEPS: usize = 3;

/// A scan of every 50th or 100th port meets all multiples of this, and few traps.
pub const ROUND: u16 = 50;

/// Irregular sequences that guides print. The others that they print have even distances.
const WELL_KNOWN: [&[u16]; 3] = [&[8881, 7777, 9991], &[571, 290, 911], &[12345, 54321, 24680, 13579]];

/// The ports of the sequences in this project's documents and examples. An attacker who tries the ports of guides tries these too,
/// in any order.
const OF_EXAMPLES: [u16; 12] =
    [24_817, 51_203, 38_466, 19_544, 62_738, 30_221, 16_333, 11_019, 52_008, 35_658, 33_667, 46_022];

/// The gravest weakness of a sequence, if it has one. An empty sequence opens nothing and has none.
pub fn weakness(sequence: &[Step]) -> Option<Weakness> {
    let port = |step: &Step| step.port.get();
    let first = sequence.first()?;
    let is = |known: &&[u16]| known.iter().copied().eq(sequence.iter().map(port));
    if sequence.len() < MIN_STEPS {
        return Some(Weakness::Short);
    }
    if WELL_KNOWN.iter().any(is) || sequence.iter().all(|step| OF_EXAMPLES.contains(&port(step))) {
        return Some(Weakness::WellKnown);
    }
    let distance = |pair: &[Step]| i32::from(port(&pair[1])) - i32::from(port(&pair[0]));
    let mut distances = sequence.windows(2).map(distance);
    let even = distances.next().is_some_and(|first| distances.all(|distance| distance == first));
    if even {
        return Some(Weakness::EqualDistances);
    }
    let round = port(first) % ROUND == 0 && sequence.iter().all(|step| port(step) % ROUND == 0);
    round.then_some(Weakness::Round)
}

/// A predicate; the message puts the name of the door before it.
impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "has fewer than three steps, which a scan may hit",
            Self::WellKnown => "has a sequence that guides or examples print",
            Self::EqualDistances => {
                "has the same distance between its ports: a scan with this stride opens it"
            }
            Self::Round => "has only multiples of 50: a scan with this stride opens it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::door;

    #[test]
    fn weak_sequences_are_seen_and_others_are_not() {
        use Weakness::{EqualDistances, Round, Short, WellKnown};
        for (sequence, expected) in [
            (&["17311", "28122", "39433"][..], None),
            (&["17311", "28122", "17311"], None),
            (&["7000", "8000", "9001"], None),
            (&[], None),
            (&["17311"], Some(Short)),
            (&["17311", "28122:udp"], Some(Short)),
            (&["7000", "8000", "9000"], Some(EqualDistances)),
            (&["9000", "8000:udp", "7000"], Some(EqualDistances)),
            (&["1111", "2222", "3333"], Some(EqualDistances)),
            (&["2222:udp", "3333", "4444:udp"], Some(EqualDistances)),
            (&["7001", "7001", "7001"], Some(EqualDistances)),
            (&["7000", "9000", "8000"], Some(Round)),
            (&["1150", "50", "60000", "7350"], Some(Round)),
            (&["12345", "54321", "24680", "13579"], Some(WellKnown)),
            (&["8881", "7777", "9991"], Some(WellKnown)),
            (&["24817", "51203:udp", "38466"], Some(WellKnown)),
            (&["38466", "51203", "24817", "38466"], Some(WellKnown)),
            (&["24817", "51203", "38467"], None),
        ] {
            assert_eq!(weakness(&door(sequence).sequence), expected, "{sequence:?}");
        }
        let said = [Short, WellKnown, EqualDistances, Round].map(|weakness| weakness.to_string());
        assert!(said.iter().all(|text| text.starts_with("has ")), "{said:?}");
    }
}
