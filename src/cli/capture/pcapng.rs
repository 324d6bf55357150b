//! The pcapng format (draft-ietf-opsawg-pcapng). A file is a list of blocks, each with its type in front and its
//! length in front and at the end.

use super::{ByteOrder, Frame};

/// Types of blocks.
mod block {
    /// The bytes of this type are the same in either byte order.
    pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE_DESCRIPTION: u32 = 1;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const ENHANCED_PACKET: u32 = 6;
}

/// Options of an interface.
mod option {
    /// `if_tsresol`: a power of ten, or of two if the highest bit is set.
    pub(super) const RESOLUTION: u32 = 9;
    /// `if_tsoffset`, in seconds.
    pub(super) const OFFSET: u32 = 14;
}

/// Type and length in front of a block's body, in bytes.
const BLOCK_HEADER: usize = 8;
/// The length after the body, in bytes.
const BLOCK_END: usize = 4;

/// The blocks that have not been read yet.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Blocks<'f> {
    order: ByteOrder,
    /// The interfaces that the section has described so far.
    interfaces: Vec<Interface>,
    /// The time of the last packet, in milliseconds since 1970.
    last_ms: u64,
    rest: &'f [u8],
}

/// A device that packets were captured on.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u32,
    /// Units of time per second.
    resolution: u64,
    /// The offset that is added to times, in seconds.
    offset_s: i64,
}

impl<'f> Blocks<'f> {
    /// The blocks of a file; `None` if it is not pcapng.
    pub(super) fn new(file: &'f [u8]) -> Option<Self> {
        let order = ByteOrder { is_big_endian: false };
        let is_pcapng = file.starts_with(&block::SECTION_HEADER.to_be_bytes());
        is_pcapng.then_some(Self { order, interfaces: Vec::new(), last_ms: 0, rest: file })
    }

    /// The next frame; `None` if the file ends or is damaged.
    pub(super) fn next(&mut self) -> Option<Frame<'f>> {
        loop {
            let (kind, body) = self.block()?;
            let (number, header, len) = match kind {
                block::SECTION_HEADER => {
                    self.interfaces.clear();
                    continue;
                }
                block::INTERFACE_DESCRIPTION => {
                    self.interfaces.push(self.interface(body)?);
                    continue;
                }
                block::ENHANCED_PACKET => (self.order.length(body, 0), 20, self.order.length(body, 12)),
                // A simple packet has no time, and belongs to the first interface. Its length field is that on the
                // wire.
                block::SIMPLE_PACKET => (0, 4, self.order.length(body, 0).min(body.len().saturating_sub(4))),
                _ => continue,
            };
            let bytes = body.get(header..)?.get(..len)?;
            let interface = *self.interfaces.get(number)?;
            if kind == block::ENHANCED_PACKET {
                let (high, low) = (self.order.u32(body, 4), self.order.u32(body, 8));
                self.last_ms = interface.milliseconds(u64::from(high) << 32 | u64::from(low));
            }
            return Some(Frame { link: interface.link, at_ms: self.last_ms, bytes });
        }
    }

    /// The type of the next block, and its body.
    fn block(&mut self) -> Option<(u32, &'f [u8])> {
        let kind = self.order.u32(self.rest, 0);
        if kind == block::SECTION_HEADER {
            self.order.is_big_endian = self.rest.get(BLOCK_HEADER) == Some(&0x1a);
        }
        let len = self.order.length(self.rest, 4);
        let body = self.rest.get(BLOCK_HEADER..len.checked_sub(BLOCK_END)?)?;
        self.rest = self.rest.get(len..)?;
        Some((kind, body))
    }

    fn interface(&self, body: &[u8]) -> Option<Interface> {
        let order = self.order;
        let mut interface = Interface { link: order.halves(body, 0).0, resolution: 1_000_000, offset_s: 0 };
        let mut options = body.get(8..)?;
        while !options.is_empty() {
            let (code, len) = order.halves(options, 0);
            let len = usize::try_from(len).ok()?;
            let (_, rest) = options.split_at_checked(4)?;
            // Values are padded to 32 bits.
            options = rest.get(len.next_multiple_of(4)..)?;
            match code {
                option::RESOLUTION => {
                    let power = u32::from(*rest.first()?);
                    let (base, power) = if power & 0x80 == 0 { (10_u64, power) } else { (2, power & 0x7f) };
                    interface.resolution = base.checked_pow(power)?;
                }
                // The low half is enough until the year 2106.
                option::OFFSET => {
                    let low = order.u32(rest, if order.is_big_endian { 4 } else { 0 });
                    interface.offset_s = i64::from(low.cast_signed());
                }
                _ => {}
            }
        }
        Some(interface)
    }
}

impl Interface {
    /// A time of this interface in milliseconds since 1970.
    fn milliseconds(self, time: u64) -> u64 {
        let (seconds, part) = (time / self.resolution, time % self.resolution);
        let seconds = seconds.saturating_add_signed(self.offset_s);
        seconds.saturating_mul(1000).saturating_add(part.saturating_mul(1000) / self.resolution)
    }
}
