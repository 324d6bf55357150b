//! `ketukd keygen`: new random secrets and a new sequence.

use std::fmt::Write as _;

use super::{CommandResult, Failure, print};
use crate::profile;

/// The steps of the proposed sequence, which is one of 2^47.
const STEPS: usize = 3;

/// The lowest port of the proposed sequence. Browsers refuse to connect to some lower ports, the highest of which is
/// 10,080.
const FIRST_PORT: u16 = 10_081;

/// Prints secrets as options of a user, and a sequence as a comment, so that the whole text fits into a user's
/// section.
pub(super) fn print_new() -> CommandResult {
    let failed = |error: getrandom::Error| Failure::Failed(error.to_string());
    print(&profile::new_secrets().map_err(failed)?)?;
    print(&format!("\t# for a door: option sequence '{}'\n", sequence().map_err(failed)?))
}

/// A random sequence, as `option sequence` takes it.
pub(super) fn sequence() -> Result<String, getrandom::Error> {
    let mut ports: Vec<u16> = Vec::new();
    while ports.len() < STEPS {
        let mut random = [0; 2];
        getrandom::fill(&mut random)?;
        let port = u16::from_le_bytes(random);
        if port >= FIRST_PORT && !ports.contains(&port) {
            ports.push(port);
        }
    }
    let mut text = String::new();
    for port in ports {
        let _ = write!(text, "{}{port}", if text.is_empty() { "" } else { " " });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_has_different_ports_that_browsers_take() {
        for _ in 0..100 {
            let text = sequence().unwrap();
            let mut ports: Vec<u16> = text.split(' ').map(|port| port.parse().unwrap()).collect();
            assert!(ports.iter().all(|port| *port > 10_080), "{text}");
            ports.sort_unstable();
            ports.dedup();
            assert_eq!(ports.len(), STEPS, "{text}");
        }
        assert_ne!(sequence().unwrap(), sequence().unwrap());
    }
}
