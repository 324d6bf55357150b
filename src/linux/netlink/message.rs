//! Writes netlink messages into a request, and reads them from a received datagram.
//!
//! A message is a 16-byte header (length, type, flags, sequence number, port), a body and padding to four bytes. An
//! attribute is a 4-byte header (length, type), a payload and the same padding. Both headers are in the host's byte
//! order (linux/netlink.h).

/// Room that a request has from the start, in bytes, so that no packet of a stranger makes the daemon allocate memory. It
/// holds a begin (20 bytes), a delete and an add (at most 472 each), and an end (20). The delete and the add name a table of
/// 256 bytes and a set of 41, and carry both ends of an IPv6 network and a comment.
pub(crate) const USUAL_REQUEST: usize = 1024;

/// Length of a message's header, in bytes.
pub const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// `NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`: flags in an attribute's type field.
const NESTED: u16 = 1 << 15;
const TYPE_MASK: u16 = 0x3fff;

/// A request under construction: one datagram, of one or more messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    bytes: Vec<u8>,
}

impl Default for Datagram {
    fn default() -> Self {
        Self::new()
    }
}

impl Datagram {
    /// An empty datagram.
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(USUAL_REQUEST) }
    }

    /// The bytes to send.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties the datagram.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends a message whose body `body` writes.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Self)) {
        let start = self.begin_message(kind, flags, sequence);
        body(self);
        self.end_message(start);
    }

    /// Adds flags to the message that begins at byte `start`.
    pub fn add_flags(&mut self, start: usize, flags: u16) {
        for (byte, flag) in self.bytes[start + 6..].iter_mut().zip(flags.to_ne_bytes()) {
            *byte |= flag;
        }
    }

    /// Appends an attribute.
    pub fn attribute(&mut self, kind: u16, payload: &[u8]) {
        self.container(kind, |request| request.raw(payload));
    }

    /// Appends an attribute with a number, big-endian as in `nf_tables`.
    pub fn number(&mut self, kind: u16, number: u32) {
        self.attribute(kind, &number.to_be_bytes());
    }

    /// Appends a string attribute, which ends with a zero byte.
    pub fn string(&mut self, kind: u16, text: &str) {
        self.container(kind, |request| {
            request.raw(text.as_bytes());
            request.raw(&[0]);
        });
    }

    /// Appends an attribute that contains the attributes that `body` writes.
    pub fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.container(kind | NESTED, body);
    }

    /// Appends bytes as they are.
    #[inline(never)]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn container(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.begin_container(kind);
        body(self);
        self.end_container(start);
    }

    // The beginnings and ends are functions of their own, so that they are compiled once and not once for each body.

    #[inline(never)]
    fn begin_message(&mut self, kind: u16, flags: u16, sequence: u32) -> usize {
        let start = self.bytes.len();
        self.raw(&[0; 4]);
        self.raw(&kind.to_ne_bytes());
        self.raw(&flags.to_ne_bytes());
        self.raw(&sequence.to_ne_bytes());
        self.raw(&[0; 4]); // the port: the kernel knows ours
        start
    }

    #[inline(never)]
    fn end_message(&mut self, start: usize) {
        let len = u32::try_from(self.bytes.len() - start).expect("a message is far below 4 GB");
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    }

    #[inline(never)]
    fn begin_container(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.raw(&[0; 2]);
        self.raw(&kind.to_ne_bytes());
        start
    }

    #[inline(never)]
    fn end_container(&mut self, start: usize) {
        let len = u16::try_from(self.bytes.len() - start).expect("an attribute is below 64 kB");
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        while !self.bytes.len().is_multiple_of(4) {
            self.raw(&[0]);
        }
    }
}

/// A received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// `nlmsg_flags`.
    pub(crate) flags: u16,
    /// `nlmsg_seq`: the sequence number of the request that this answers, or 0.
    pub(crate) sequence: u32,
    /// The bytes after the header.
    pub(crate) body: &'a [u8],
}

/// `NLMSG_ERROR`: an outcome.
pub(crate) const NLMSG_ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a listing, with an outcome.
pub(crate) const NLMSG_DONE: u16 = 3;

impl Message<'_> {
    /// The result in the message: 0 if a request was accepted or a listing has ended, otherwise an errno. `None` for
    /// other messages.
    pub fn outcome(&self) -> Option<i32> {
        if !matches!(self.kind, NLMSG_ERROR | NLMSG_DONE) {
            return None;
        }
        let negated = self.body.first_chunk().map_or(0, |negated| i32::from_ne_bytes(*negated));
        Some(negated.saturating_neg())
    }
}

/// The messages of a datagram. They end at an impossible length.
#[derive(Clone, Debug)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// The messages in `datagram`.
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.get(..HEADER)?;
        let len = usize::try_from(u32_at(header, 0)).ok()?;
        let message = Message {
            kind: u16_at(header, 4),
            flags: u16_at(header, 6),
            sequence: u32_at(header, 8),
            body: self.0.get(HEADER..len)?,
        };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    }
}

/// The attributes of a message or of a nested attribute: type and payload. They end at an impossible length.
#[derive(Clone, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes in `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The payload of the first attribute of this type.
    pub fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find_map(|(found, payload)| (found == kind).then_some(payload))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.get(..ATTRIBUTE_HEADER)?;
        let len = usize::from(u16_at(header, 0));
        let payload = self.0.get(ATTRIBUTE_HEADER..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((u16_at(header, 2) & TYPE_MASK, payload))
    }
}

/// 16 bits in the host's order; the caller has checked the length.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

/// 32 bits in the host's order; the caller has checked the length.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Datagram {
        let mut request = Datagram::new();
        request.message(7, 1, 42, |r| {
            r.raw(&[0xaa; 4]);
            r.string(1, "fw4");
            r.nested(2, |r| r.attribute(3, &[9; 5]));
        });
        request.message(8, 0, 43, |_| {});
        request
    }

    #[test]
    fn what_is_written_can_be_read() {
        let request = request();
        let mut messages = Messages::new(request.bytes());
        let first = messages.next().expect("first");
        assert_eq!((first.kind, first.flags, first.sequence), (7, 1, 42));
        let (fixed, attributes) = first.body.split_at(4);
        assert_eq!(fixed, [0xaa; 4]);
        let attributes = Attributes::new(attributes);
        assert_eq!(attributes.clone().find(1), Some(&b"fw4\0"[..]));
        let nested = attributes.find(2).expect("nested");
        assert_eq!(Attributes::new(nested).find(3), Some(&[9; 5][..]));
        assert_eq!(messages.next().map(|m| (m.kind, m.body)), Some((8, &[][..])));
        assert_eq!(messages.next(), None);
    }

    #[test]
    fn lengths_that_cannot_be_end_the_reading() {
        let whole = request();
        for cut in 0..whole.bytes().len() {
            for message in Messages::new(&whole.bytes()[..cut]) {
                Attributes::new(message.body).for_each(drop);
            }
        }
        assert_eq!(Messages::new(&[0; 64]).next(), None, "a length below the header's own");
        assert_eq!(Attributes::new(&[0; 64]).next(), None, "likewise");
        let mut long = [0; 16];
        long[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(Messages::new(&long).next(), None);
    }
}
