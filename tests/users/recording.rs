//! The recording of a listener in front of the router.

use std::sync::Mutex;

use ketuk::core::network::AddressFamily;
use ketuk::core::packet::{self, Transport};
use ketuk::core::sequence::flag;
use ketuk::linux::capture::{Capture, PacketBuffers};

use super::SPA;
use super::support::host::Host;

/// The listener's record: datagrams to the port for packets, and the ports of SYNs.
pub(crate) struct Recording {
    capture: Capture,
}

#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) datagrams: Vec<Vec<u8>>,
    pub(crate) ports: Vec<u16>,
}

impl Recording {
    pub(crate) fn start(router: &Host) -> Self {
        let capture = router.enter(|| {
            let capture = Capture::open(AddressFamily::V4).expect("a packet socket");
            // ret 0x40000
            capture.filter(&[libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0x40000 }]).expect("a filter");
            capture.bind(0).expect("all devices");
            capture
        });
        Self { capture }
    }

    pub(crate) fn end(self) -> Recorded {
        let recorded = Mutex::new(Recorded::default());
        let mut batch = PacketBuffers::new();
        for _ in 0..100 {
            let each = |bytes: &[u8]| {
                let mut recorded = recorded.lock().expect("one thread");
                match packet::parse(bytes).map(|probe| probe.transport) {
                    Ok(Transport::Udp { port: SPA, .. }) => {
                        recorded.datagrams.push(packet::udp_payload(bytes).to_vec());
                    }
                    Ok(Transport::Tcp { port, flags: flag::SYN, .. }) if port >= 20_000 => {
                        recorded.ports.push(port);
                    }
                    _ => {}
                }
            };
            self.capture.receive(&mut batch, each).expect("packets");
        }
        recorded.into_inner().expect("one thread")
    }
}
