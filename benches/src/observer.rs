//! Sees doors open: the kernel tells that an address is in a set.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::socket::{self, now};

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_NEWSETELEM` of linux/netfilter/.
const NEW_ELEMENT: u16 = 10 << 8 | 0x0c;

/// `struct nlmsghdr`.
const HEADER: usize = 16;

/// Receives the changes of one network namespace's nftables.
pub struct Observer {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Observer {
    /// Observes the thread's network namespace.
    pub fn open() -> io::Result<Self> {
        Ok(Self { fd: socket::nftables_events()?, buffer: vec![0; 1 << 16] })
    }

    /// Waits up to `time` for messages. Calls `opened` with each address among `candidates` that came into a set, and the time.
    pub fn wait(
        &mut self,
        time: Duration,
        first: Ipv4Addr,
        count: u32,
        mut opened: impl FnMut(u32, u64),
    ) -> io::Result<()> {
        socket::wait(&self.fd, time)?;
        while let Some(mut news) = socket::receive(&self.fd, &mut self.buffer)? {
            let when = now();
            while news.len() >= HEADER {
                let len = u32::from_ne_bytes([news[0], news[1], news[2], news[3]]) as usize;
                let message = &news[..len.clamp(HEADER, news.len())];
                if u16::from_ne_bytes([message[4], message[5]]) == NEW_ELEMENT {
                    // The key of an element is the address itself, at a multiple of four bytes.
                    for word in message[HEADER..].chunks_exact(4) {
                        let address = u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
                        let index = address.wrapping_sub(first.to_bits());
                        if index < count {
                            opened(index, when);
                        }
                    }
                }
                news = &news[len.next_multiple_of(4).clamp(HEADER, news.len())..];
            }
        }
        Ok(())
    }
}
