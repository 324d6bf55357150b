//! A connection as connection tracking knows it.

use core::net::IpAddr;

use super::sequence::Protocol;

/// The states of a TCP connection (`enum tcp_conntrack`, `linux/netfilter/nf_conntrack_tcp.h`) in which both sides
/// have spoken and the connection is not over.
mod state {
    /// The handshake is done. A forger cannot get so far, because the answers go to the forged address.
    pub(super) const ESTABLISHED: u8 = 3;
    /// One side has still to confirm the end.
    pub(super) const LAST_ACK: u8 = 6;
}

/// A connection, in the direction of its first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its protocol.
    pub protocol: Protocol,
    /// The address that began it.
    pub source: IpAddr,
    /// The port of that address.
    pub source_port: u16,
    /// The address that it was sent to.
    pub destination: IpAddr,
    /// The port that it was sent to.
    pub destination_port: u16,
    /// The address that answers: `destination`, or the host that it is translated to.
    pub answers: IpAddr,
    /// The port that the answers come from.
    pub answers_port: u16,
    /// Whether there was an answer.
    pub replied: bool,
    /// How far a TCP connection is (`enum tcp_conntrack`); none for UDP.
    pub tcp_state: Option<u8>,
}

impl Flow {
    /// Whether both sides have spoken and it goes on. A forger cannot make such a connection. A TCP connection counts from
    /// `ESTABLISHED` to `LAST_ACK`. A UDP flow counts once it was answered, as long as connection tracking keeps it.
    pub const fn is_live(&self) -> bool {
        match self.tcp_state {
            Some(state) => state >= state::ESTABLISHED && state <= state::LAST_ACK,
            None => self.replied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_live_while_both_sides_speak() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let flow = |tcp_state, replied| Flow {
            protocol: Protocol::Tcp,
            source: address,
            source_port: 1,
            destination: address,
            destination_port: 2,
            answers: address,
            answers_port: 2,
            replied,
            tcp_state,
        };
        // SYN_SENT and SYN_RECV come before, TIME_WAIT and CLOSE behind; a forger's SYN is answered too.
        let live: Vec<u8> = (0..=9).filter(|state| flow(Some(*state), true).is_live()).collect();
        assert_eq!(live, [3, 4, 5, 6]);
        assert_eq!([false, true].map(|replied| flow(None, replied).is_live()), [false, true]);
    }
}
