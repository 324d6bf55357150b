//! The address and the port that a grant lets through.

use core::fmt;
use core::net::IpAddr;

use super::sequence::Step;

/// The address that is let in, and the port that it may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The address, or the first one of its network.
    pub address: IpAddr,
    /// The port, at a door with `any_port`. At all other doors `None`: the door says which ports open.
    pub port: Option<Step>,
}

impl From<IpAddr> for Passage {
    /// To the ports of the door.
    fn from(address: IpAddr) -> Self {
        Self { address, port: None }
    }
}

/// `198.51.100.10`, or `198.51.100.10 port 22:tcp`.
impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        self.port.map_or(Ok(()), |port| write!(f, " port {port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::step;

    #[test]
    fn the_port_is_written_behind_the_address() {
        let mut passage = Passage::from(IpAddr::from([198, 51, 100, 10]));
        assert_eq!(passage.to_string(), "198.51.100.10");
        passage.port = Some(step("22"));
        assert_eq!(passage.to_string(), "198.51.100.10 port 22:tcp");
    }
}
