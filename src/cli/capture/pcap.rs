//! The pcap format (draft-ietf-opsawg-pcap).

use super::{ByteOrder, Frame};

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// The records that have not been read yet.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Records<'f> {
    order: ByteOrder,
    /// The units of the second word of a time, per second.
    fraction: u64,
    link: u32,
    rest: &'f [u8],
}

impl<'f> Records<'f> {
    /// Reads the header of a file.
    pub(super) fn new(file: &'f [u8]) -> Result<Self, &'static str> {
        let (is_big_endian, fraction) = match file.get(..4) {
            Some([0xd4, 0xc3, 0xb2, 0xa1]) => (false, 1_000_000),
            Some([0xa1, 0xb2, 0xc3, 0xd4]) => (true, 1_000_000),
            Some([0x4d, 0x3c, 0xb2, 0xa1]) => (false, 1_000_000_000),
            Some([0xa1, 0xb2, 0x3c, 0x4d]) => (true, 1_000_000_000),
            _ => return Err("this is no pcap or pcapng file, such as 'tcpdump -w' writes"),
        };
        let order = ByteOrder { is_big_endian };
        let rest = file.get(FILE_HEADER..).ok_or("the pcap file ends within its header")?;
        // The upper bits hold the length of a frame check sequence.
        let link = order.u32(file, 20) & 0xffff;
        Ok(Self { order, fraction, link, rest })
    }

    /// The next frame; `None` if the file ends or is cut off.
    pub(super) fn next(&mut self) -> Option<Frame<'f>> {
        let (header, rest) = self.rest.split_at_checked(RECORD_HEADER)?;
        let (bytes, rest) = rest.split_at_checked(self.order.length(header, 8))?;
        self.rest = rest;
        let (seconds, part) = (u64::from(self.order.u32(header, 0)), u64::from(self.order.u32(header, 4)));
        Some(Frame { link: self.link, at_ms: seconds * 1000 + part * 1000 / self.fraction, bytes })
    }
}
