//! A connection as connection tracking knows it.

use core::net::IpAddr;

use super::sequence::Protocol;

/// The states of a TCP connection (`enum tcp_conntrack`, `linux/netfilter/nf_conntrack_tcp.h`) in which both sides have
/// spoken and neither has said the last word.
mod state {
    /// The handshake is done. Before that a forger can get: nobody has answered from the address.
    pub(super) const ESTABLISHED: u8 = 3;
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
    /// The port that he answers from.
    pub answers_port: u16,
    /// Whether he has answered.
    pub replied: bool,
    /// How far a TCP connection is (`enum tcp_conntrack`); none for UDP.
    pub tcp_state: Option<u8>,
}

impl Flow {
    /// Whether both sides have spoken and it goes on. Nobody makes such a connection from an address that is not his:
    /// of TCP neither an attempt counts nor a handshake that is not done, nor what waits in `TIME_WAIT` or `CLOSE`; of
    /// UDP whatever was answered and connection tracking has not forgotten.
    pub const fn is_live(&self) -> bool {
        match self.tcp_state {
            Some(state) => state >= state::ESTABLISHED && state <= state::LAST_ACK,
            None => self.replied,
        }
    }
}
