//! Reads packets from a capture file: pcap, which `tcpdump -w` writes, or pcapng, which Wireshark writes.

mod pcap;
mod pcapng;

/// Link types (draft-ietf-opsawg-pcaplinktype).
mod link {
    pub(super) const NULL: u32 = 0;
    pub(super) const ETHERNET: u32 = 1;
    pub(super) const PPP: u32 = 9;
    /// Raw IP in files from a BSD.
    pub(super) const RAW_BSD: u32 = 12;
    pub(super) const RAW: u32 = 101;
    pub(super) const LOOP: u32 = 108;
    pub(super) const LINUX_SLL: u32 = 113;
    pub(super) const IPV4: u32 = 228;
    pub(super) const IPV6: u32 = 229;
    pub(super) const LINUX_SLL2: u32 = 276;
}

/// Ethertypes (IEEE 802.3, 802.1Q, RFC 2516).
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const PPPOE_SESSION: u16 = 0x8864;

/// A capture file with its header read.
#[derive(Clone, Debug)]
pub(super) enum CaptureFile<'f> {
    Pcap(pcap::Records<'f>),
    Pcapng(pcapng::Blocks<'f>),
}

/// A packet from its IP header on, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CapturedPacket<'f> {
    /// The time in milliseconds since 1970.
    pub(super) at_ms: u64,
    pub(super) bytes: &'f [u8],
}

/// A captured frame, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame<'f> {
    /// The link type, which determines the header of the frame.
    link: u32,
    /// The time in milliseconds since 1970.
    at_ms: u64,
    bytes: &'f [u8],
}

impl<'f> CaptureFile<'f> {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// The file is neither pcap nor pcapng, or all of it was captured on unknown types of links.
    pub(super) fn new(file: &'f [u8]) -> Result<Self, &'static str> {
        let capture = match pcapng::Blocks::new(file) {
            Some(blocks) => Self::Pcapng(blocks),
            None => Self::Pcap(pcap::Records::new(file)?),
        };
        let mut frames = capture.clone();
        let mut are_known = true;
        while let Some(frame) = frames.frame() {
            are_known = is_known(frame.link);
            if are_known {
                break;
            }
        }
        if !are_known {
            return Err("the capture is of a link that ketukd does not know: capture with 'tcpdump -i any'");
        }
        Ok(capture)
    }

    /// The IP packets, in the file's order. They end at the first frame that is cut off or damaged.
    pub(super) fn packets(&self) -> impl Iterator<Item = CapturedPacket<'f>> {
        let mut frames = self.clone();
        std::iter::from_fn(move || frames.frame())
            .filter_map(|frame| Some(CapturedPacket { at_ms: frame.at_ms, bytes: network(frame)? }))
    }

    fn frame(&mut self) -> Option<Frame<'f>> {
        match self {
            Self::Pcap(records) => records.next(),
            Self::Pcapng(blocks) => blocks.next(),
        }
    }
}

fn is_known(link: u32) -> bool {
    use link::{ETHERNET, IPV4, IPV6, LINUX_SLL, LINUX_SLL2, LOOP, NULL, PPP, RAW, RAW_BSD};
    [NULL, ETHERNET, PPP, RAW_BSD, RAW, LOOP, LINUX_SLL, IPV4, IPV6, LINUX_SLL2].contains(&link)
}

/// The IP packet in a frame, from its header on.
fn network(frame: Frame<'_>) -> Option<&[u8]> {
    let bytes = frame.bytes;
    match frame.link {
        link::ETHERNET => ethernet(bytes.get(12..)?),
        link::LINUX_SLL => ethernet(bytes.get(14..)?),
        link::LINUX_SLL2 => is_ip(be16(bytes, 0)?).then(|| bytes.get(20..)).flatten(),
        link::PPP => ppp(bytes.strip_prefix(&[0xff, 3]).unwrap_or(bytes)),
        link::NULL | link::LOOP => bytes.get(4..),
        link::RAW | link::RAW_BSD | link::IPV4 | link::IPV6 => Some(bytes),
        _ => None,
    }
}

/// The byte order of the host that wrote the file.
#[derive(Clone, Copy, Debug)]
struct ByteOrder {
    is_big_endian: bool,
}

impl ByteOrder {
    /// The upper and lower half of the word at an offset.
    fn halves(self, bytes: &[u8], at: usize) -> (u32, u32) {
        let word = self.u32(bytes, at);
        let (high, low) = (word >> 16, word & 0xffff);
        if self.is_big_endian { (high, low) } else { (low, high) }
    }

    /// The word at an offset, or 0 if the bytes end before. Every length that is read is checked later.
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let word = bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        if self.is_big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    }

    /// A length in bytes.
    fn length(self, bytes: &[u8], at: usize) -> usize {
        usize::try_from(self.u32(bytes, at)).unwrap_or(usize::MAX)
    }
}

/// The bytes after an ethertype. VLAN tags and PPPoE are skipped.
fn ethernet(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (kind, rest) = (be16(bytes, 0)?, bytes.get(2..)?);
        match kind {
            kind if is_ip(kind) => return Some(rest),
            kind if TAGS.contains(&kind) => bytes = rest.get(2..)?,
            PPPOE_SESSION => return ppp(rest.get(6..)?),
            _ => return None,
        }
    }
}

/// The bytes after a PPP protocol number (RFC 1661).
fn ppp(bytes: &[u8]) -> Option<&[u8]> {
    matches!(be16(bytes, 0)?, 0x0021 | 0x0057).then(|| bytes.get(2..)).flatten()
}

fn is_ip(ethertype: u16) -> bool {
    matches!(ethertype, IPV4 | IPV6)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}
