//! A connection as connection tracking knows it.

use core::net::IpAddr;

use super::sequence::Protocol;

/// The states of a TCP connection (`enum tcp_conntrack`, `linux/netfilter/nf_conntrack_tcp.h`) that are one.
mod state {
    /// Both have spoken.
    pub(super) const SYN_RECV: u8 = 2;
    /// One side has yet to confirm the end.
    pub(super) const LAST_ACK: u8 = 6;
}

/// A connection, seen from who began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its protocol.
    pub protocol: Protocol,
    /// Who began it.
    pub source: IpAddr,
    /// His port.
    pub source_port: u16,
    /// The address that he speaks to.
    pub destination: IpAddr,
    /// The port that he speaks to.
    pub destination_port: u16,
    /// Who answers: `destination`, or the host that it is translated to.
    pub answers: IpAddr,
    /// How far a TCP connection is (`enum tcp_conntrack`); none for UDP.
    pub tcp_state: Option<u8>,
}

impl Flow {
    /// Whether it goes on. Of TCP neither an attempt that nobody has answered nor what waits in
    /// `TIME_WAIT` or `CLOSE` does; of UDP whatever connection tracking has not forgotten.
    pub const fn is_live(&self) -> bool {
        match self.tcp_state {
            Some(state) => state >= state::SYN_RECV && state <= state::LAST_ACK,
            None => true,
        }
    }
}
