//! Packets from a capture file (draft-ietf-opsawg-pcap), as `tcpdump -w` writes them.

/// Link types (draft-ietf-opsawg-pcaplinktype).
mod link {
    pub(super) const NULL: u32 = 0;
    pub(super) const ETHERNET: u32 = 1;
    pub(super) const PPP: u32 = 9;
    /// Of a file that a BSD wrote.
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

/// What pcapng begins with, which is another format.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// A capture file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capture<'f> {
    big_endian: bool,
    /// Parts of a second in a time's second word.
    fraction: u64,
    link: u32,
    records: &'f [u8],
}

/// A packet from its IP header on, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'f> {
    /// Milliseconds since 1970.
    pub(super) at_ms: u64,
    pub(super) bytes: &'f [u8],
}

impl<'f> Capture<'f> {
    /// Reads the file's header; why it cannot be read.
    pub(super) fn new(file: &'f [u8]) -> Result<Self, &'static str> {
        if file.starts_with(&PCAPNG) {
            return Err("this is pcapng: 'editcap -F pcap' or 'tcpdump -r ... -w ...' makes pcap of it");
        }
        let (big_endian, fraction) = match file.get(..4) {
            Some([0xd4, 0xc3, 0xb2, 0xa1]) => (false, 1_000_000),
            Some([0xa1, 0xb2, 0xc3, 0xd4]) => (true, 1_000_000),
            Some([0x4d, 0x3c, 0xb2, 0xa1]) => (false, 1_000_000_000),
            Some([0xa1, 0xb2, 0x3c, 0x4d]) => (true, 1_000_000_000),
            _ => return Err("this is no pcap file, such as 'tcpdump -w' writes"),
        };
        let records = file.get(FILE_HEADER..).ok_or("the pcap file ends within its header")?;
        let mut capture = Self { big_endian, fraction, link: 0, records };
        // The upper bits say how long a frame check sequence is.
        capture.link = capture.word(file, 20).unwrap_or_default() & 0xffff;
        if !capture.is_known() {
            return Err("the capture is of a link that ketukd does not know: capture with 'tcpdump -i any'");
        }
        Ok(capture)
    }

    /// The packets that are IP, in the file's order. A record that is cut off ends them.
    pub(super) fn packets(self) -> impl Iterator<Item = Packet<'f>> {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            let (seconds, part) = (self.word(rest, 0)?, self.word(rest, 4)?);
            let len = usize::try_from(self.word(rest, 8)?).ok()?;
            let end = RECORD_HEADER.checked_add(len)?;
            let frame = rest.get(RECORD_HEADER..end)?;
            rest = rest.get(end..)?;
            let at_ms = u64::from(seconds) * 1000 + u64::from(part) * 1000 / self.fraction;
            Some((at_ms, frame))
        })
        .filter_map(move |(at_ms, frame)| Some(Packet { at_ms, bytes: self.network(frame)? }))
    }

    fn is_known(self) -> bool {
        use link::{ETHERNET, IPV4, IPV6, LINUX_SLL, LINUX_SLL2, LOOP, NULL, PPP, RAW, RAW_BSD};
        [NULL, ETHERNET, PPP, RAW_BSD, RAW, LOOP, LINUX_SLL, IPV4, IPV6, LINUX_SLL2].contains(&self.link)
    }

    /// The packet in a frame from its IP header on, if there is one.
    fn network(self, frame: &'f [u8]) -> Option<&'f [u8]> {
        match self.link {
            link::ETHERNET => ethernet(frame.get(12..)?),
            link::LINUX_SLL => ethernet(frame.get(14..)?),
            link::LINUX_SLL2 => is_ip(be16(frame, 0)?).then(|| frame.get(20..)).flatten(),
            link::PPP => ppp(frame.strip_prefix(&[0xff, 3]).unwrap_or(frame)),
            link::NULL | link::LOOP => frame.get(4..),
            link::RAW | link::RAW_BSD | link::IPV4 | link::IPV6 => Some(frame),
            _ => None,
        }
    }

    fn word(self, bytes: &[u8], at: usize) -> Option<u32> {
        let word = bytes.get(at..)?.first_chunk().copied()?;
        Some(if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
    }
}

/// What follows an ethertype, VLAN tags and PPPoE passed over.
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

/// What follows a PPP protocol number (RFC 1661).
fn ppp(bytes: &[u8]) -> Option<&[u8]> {
    matches!(be16(bytes, 0)?, 0x0021 | 0x0057).then(|| bytes.get(2..)).flatten()
}

fn is_ip(ethertype: u16) -> bool {
    matches!(ethertype, IPV4 | IPV6)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}
