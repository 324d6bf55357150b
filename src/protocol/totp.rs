//! Changing sequences: four ports that change every 30 seconds.
//!
//! They follow RFC 6238 with HMAC-SHA-256, with ports from the MAC in the place of digits.

use super::PortRange;
use super::mac::hmac_sha256;

/// Ports in a sequence.
pub const STEPS: usize = 4;

/// Length of a window, in seconds (RFC 6238: X).
pub const WINDOW_S: u64 = 30;

/// Fewest ports in the range: 2^12, so that a guess at a sequence is right once in 2^48 times.
pub const MIN_PORTS: u16 = 4096;

/// Shortest secret, in bytes (RFC 4226, R6: 128 bits).
pub const MIN_SECRET: usize = 16;

/// Longest secret, in bytes: one block of SHA-256.
pub const MAX_SECRET: usize = 64;

/// The ports that sequences are drawn from: a range of at least [`MIN_PORTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TotpPorts(PortRange);

impl TotpPorts {
    /// The ports from `first` to `last`; `None` if they are no range, or fewer than [`MIN_PORTS`].
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        match PortRange::new(first, last) {
            Some(range) if last - first >= MIN_PORTS - 1 => Some(Self(range)),
            _ => None,
        }
    }

    /// The range.
    pub const fn range(self) -> PortRange {
        self.0
    }
}

impl Default for TotpPorts {
    /// 20000 to 29999: above the ports of services, and below those that systems use for outgoing connections.
    fn default() -> Self {
        Self::new(20_000, 29_999).expect("10,000 ports")
    }
}

/// The window that a moment lies in, given in seconds since 1970 (RFC 6238: T).
pub const fn window(unix_s: u64) -> u64 {
    unix_s / WINDOW_S
}

/// The ports to knock at, in order, for a door in a window. All four differ, so a second packet to the same port is a
/// retransmission, however late it comes.
///
/// Block n = HMAC-SHA-256(secret, window as 8 bytes | n as 1 byte | door's name). The blocks are read as
/// 16-bit numbers, high byte first. A number at or above the largest multiple of the range's size, or
/// one that leads to a port that is taken already, is passed over: so each port is as likely as any other.
pub fn sequence(secret: &[u8], door: &str, window: u64, from: TotpPorts) -> [u16; STEPS] {
    let (first, last) = (from.0.first(), from.0.last());
    let size = u32::from(last - first) + 1;
    let fair = 0x1_0000 - 0x1_0000 % size;
    let mut ports = [0; STEPS];
    let mut taken = 0;
    // About half of the numbers can be used at worst, so a few blocks are enough.
    for n in 0..=u8::MAX {
        let block = hmac_sha256(secret, &[&window.to_be_bytes(), &[n], door.as_bytes()]);
        for number in block.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))) {
            let port = first + u16::try_from(number % size).expect("less than the range");
            if number >= fair || ports[..taken].contains(&port) {
                continue;
            }
            ports[taken] = port;
            taken += 1;
            if taken == STEPS {
                return ports;
            }
        }
    }
    unreachable!("4,096 numbers of which half are passed over")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows() {
        // RFC 6238, appendix B.
        assert_eq!([59, 1_111_111_109, 20_000_000_000].map(window), [1, 0x0235_23EC, 0x27BC_86AA]);
    }

    #[test]
    fn ranges() {
        assert_eq!(TotpPorts::new(0, 65_535), None);
        assert_eq!(TotpPorts::new(1000, 1000 + 4094), None);
        assert_eq!(TotpPorts::new(9000, 1000), None);
        assert!(TotpPorts::new(1000, 1000 + 4095).is_some() && TotpPorts::new(1, 65_535).is_some());
    }

    /// Every port comes about as often as any other, at every step.
    #[test]
    fn without_bias() {
        // The worst range for a mapping by remainder alone: 2^16 is 1.67 times its size.
        let range = TotpPorts::new(1, 39_321).unwrap();
        let mut low = [0_u32; STEPS];
        for window in 0..4000 {
            for (step, port) in sequence(b"a secret of 16 b", "ssh", window, range).into_iter().enumerate() {
                low[step] += u32::from(port <= 39_321 / 2);
            }
        }
        // Both ends of a range are among 16,000 ports, each of which is one of them once in 2,048 times.
        let least = TotpPorts::new(1, MIN_PORTS).unwrap();
        let mut seen = (0..4000).flat_map(|window| sequence(b"a secret of 16 b", "ssh", window, least));
        assert!(seen.any(|port| port == 1) && seen.any(|port| port == MIN_PORTS));
        // Five sigma of a binomial. With the bias a lower half would come 3 times in 5.
        assert!(low.iter().all(|low| (1842..=2158).contains(low)), "{low:?}");
    }

    proptest! {
        #[test]
        fn all_differ_and_lie_in_the_range(
            secret in any::<[u8; 20]>(), window: u64, first in 1..61_000_u16, more in 4095..4600_u16
        ) {
            let range = TotpPorts::new(first, first.saturating_add(more)).unwrap();
            let ports = sequence(&secret, "ssh", window, range);
            prop_assert!(ports.iter().all(|port| range.range().contains(*port)));
            prop_assert!((1..STEPS).all(|step| !ports[..step].contains(&ports[step])), "{ports:?}");
            prop_assert_ne!(ports, sequence(&secret, "nas", window, range));
        }
    }
}
