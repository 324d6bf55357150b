//! Packets of every shape, by hand and at random.

use proptest::prelude::*;

use super::*;
use crate::sequence::flag;

/// A TCP header: ports, sequence number, flags.
fn tcp(source_port: u16, port: u16, sequence_number: u32, flags: u8) -> Vec<u8> {
    let mut bytes = vec![0; 20];
    bytes[..2].copy_from_slice(&source_port.to_be_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[4..8].copy_from_slice(&sequence_number.to_be_bytes());
    bytes[12] = 5 << 4;
    bytes[13] = flags;
    bytes
}

fn udp(source_port: u16, port: u16, payload: usize) -> Vec<u8> {
    let mut bytes = vec![0; 8 + payload];
    bytes[..2].copy_from_slice(&source_port.to_be_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    let len = u16::try_from(8 + payload).unwrap();
    bytes[4..6].copy_from_slice(&len.to_be_bytes());
    bytes
}

fn ipv4(protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut bytes = vec![0; 20];
    bytes[0] = 0x40 | u8::try_from(header / 4).unwrap();
    bytes[2..4].copy_from_slice(&u16::try_from(header + payload.len()).unwrap().to_be_bytes());
    bytes[9] = protocol;
    bytes[12..16].copy_from_slice(&[198, 51, 100, 7]);
    bytes[16..20].copy_from_slice(&[203, 0, 113, 1]);
    [&bytes, options, payload].concat()
}

/// `chain`: each extension header's number and bytes, whose first byte is set to the next number.
fn ipv6(chain: &[(u8, Vec<u8>)], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    for (at, (_, header)) in chain.iter().enumerate() {
        let next = chain.get(at + 1).map_or(protocol, |(number, _)| *number);
        rest.push(next);
        rest.extend_from_slice(&header[1..]);
    }
    rest.extend_from_slice(payload);
    let mut bytes = vec![0; 40];
    bytes[0] = 0x60;
    bytes[4..6].copy_from_slice(&u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes[6] = chain.first().map_or(protocol, |(number, _)| *number);
    bytes[8..24].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
    bytes[24..40].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    [bytes, rest].concat()
}

/// An extension header of `8 * (1 + units)` bytes.
fn extension(number: u8, units: u8) -> (u8, Vec<u8>) {
    let mut bytes = vec![0; 8 * (1 + usize::from(units))];
    bytes[1] = units;
    (number, bytes)
}

const SYN: Transport =
    Transport::Tcp { source_port: 1024, port: 7000, sequence_number: 0xdead_beef, flags: flag::SYN };

fn syn() -> Vec<u8> {
    tcp(1024, 7000, 0xdead_beef, flag::SYN)
}

fn transport_of(bytes: &[u8]) -> Result<Transport, Malformed> {
    parse(bytes).map(|probe| probe.transport)
}

#[test]
fn reads_ipv4() {
    let probe = parse(&ipv4(6, &[], &syn())).unwrap();
    assert_eq!(probe.source, "198.51.100.7".parse::<IpAddr>().unwrap());
    assert_eq!(probe.destination, "203.0.113.1".parse::<IpAddr>().unwrap());
    assert_eq!(probe.transport, SYN);
    assert_eq!(transport_of(&ipv4(6, &[1; 40], &syn())), Ok(SYN), "with every option");
    let datagram = Transport::Udp { source_port: 5, port: 8000, frame: 0 };
    assert_eq!(transport_of(&ipv4(17, &[], &udp(5, 8000, 1))), Ok(datagram));
}

#[test]
fn a_datagram_with_an_identification_has_a_frame_of_its_own() {
    let mut datagram = udp(5, 8000, 0);
    datagram[6..8].copy_from_slice(&[0x12, 0x34]);
    let mut bytes = ipv4(17, &[], &datagram);
    let frame = |bytes: &[u8]| match transport_of(bytes) {
        Ok(Transport::Udp { frame, .. }) => frame,
        other => panic!("{other:?}"),
    };
    assert_eq!(frame(&bytes), 0);
    bytes[4..6].copy_from_slice(&[0xab, 0xcd]);
    assert_eq!(frame(&bytes), 0xabcd_1234);
}

#[test]
fn the_payload_ends_where_the_datagram_says() {
    let mut datagram = udp(5, 8000, 3);
    datagram[8..].copy_from_slice(b"abc");
    let padded = [&datagram[..], b"padding"].concat();
    for bytes in [ipv4(17, &[1; 8], &padded), ipv6(&[extension(0, 0)], 17, &padded)] {
        assert_eq!(udp_payload(&bytes), b"abc");
        assert_eq!(udp_payload(&bytes[..bytes.len() - 8]), b"", "cut short");
    }
    assert_eq!(udp_payload(&ipv4(6, &[], &syn())), b"");
    assert_eq!(udp_payload(&ipv4(17, &[], &udp(5, 8000, 0))), b"");
    assert_eq!(udp_payload(&[]), b"");
}

#[test]
fn each_reason_has_a_sentence_of_its_own() {
    let sentences: std::collections::BTreeSet<_> = Malformed::ALL.map(|reason| reason.to_string()).into();
    assert_eq!(sentences.len(), Malformed::ALL.len());
    assert!(sentences.iter().all(|sentence| sentence.contains(' ')));
}

#[test]
fn reads_ipv6_through_extension_headers() {
    let probe = parse(&ipv6(&[], 6, &syn())).unwrap();
    assert_eq!(probe.source, "2001:db8::7".parse::<IpAddr>().unwrap());
    assert_eq!(probe.destination, "2001:db8::1".parse::<IpAddr>().unwrap());
    let chain = [extension(0, 0), extension(60, 1), extension(43, 2), extension(44, 0), extension(60, 0)];
    assert_eq!(transport_of(&ipv6(&chain, 6, &syn())), Ok(SYN));
    // An authentication header counts in words: 24 bytes are length 4.
    let mut authentication = vec![0; 24];
    authentication[1] = 4;
    assert_eq!(transport_of(&ipv6(&[(51, authentication)], 6, &syn())), Ok(SYN));
}

#[test]
fn refuses_fragments() {
    for (byte, value) in [(6, 0x20), (6, 0x1f), (7, 0x01)] {
        let mut bytes = ipv4(6, &[], &syn());
        bytes[byte] = value;
        assert_eq!(parse(&bytes), Err(Malformed::Fragment));
    }
    let mut dont_fragment = ipv4(6, &[], &syn());
    dont_fragment[6] = 0x40;
    assert!(parse(&dont_fragment).is_ok());
    for (byte, value, expected) in
        [(2, 0x01, Err(Malformed::Fragment)), (3, 0x01, Err(Malformed::Fragment)), (3, 0x06, Ok(SYN))]
    {
        let mut fragment = extension(44, 0);
        fragment.1[byte] = value;
        assert_eq!(transport_of(&ipv6(&[fragment], 6, &syn())), expected);
    }
}

#[test]
fn refuses_what_is_cut_off_anywhere() {
    let chain = [extension(0, 0), extension(60, 1)];
    for whole in [ipv4(6, &[], &syn()), ipv4(17, &[1; 8], &udp(1, 2, 0)), ipv6(&chain, 6, &syn())] {
        assert!(parse(&whole).is_ok());
        for len in 0..whole.len() {
            assert_eq!(parse(&whole[..len]), Err(Malformed::Truncated), "{len} of {whole:?}");
        }
    }
}

#[test]
fn believes_the_length_field_and_not_the_padding() {
    let mut v4 = ipv4(6, &[], &syn());
    v4[2..4].copy_from_slice(&39_u16.to_be_bytes());
    assert_eq!(parse(&v4), Err(Malformed::Truncated));
    let mut v6 = ipv6(&[], 6, &syn());
    v6[4..6].copy_from_slice(&19_u16.to_be_bytes());
    assert_eq!(parse(&v6), Err(Malformed::Truncated));
    let padded = [ipv4(6, &[], &syn()), vec![0; 6]].concat();
    assert!(parse(&padded).is_ok());
}

#[test]
fn refuses_headers_that_contradict_themselves() {
    let mut short_header = ipv4(6, &[], &syn());
    short_header[0] = 0x44;
    assert_eq!(parse(&short_header), Err(Malformed::Header));
    let mut offset = syn();
    offset[12] = 4 << 4;
    assert_eq!(parse(&ipv4(6, &[], &offset)), Err(Malformed::Header));
    let mut length = udp(1, 2, 0);
    length[5] = 7;
    assert_eq!(parse(&ipv4(17, &[], &length)), Err(Malformed::Header));
}

#[test]
fn refuses_other_versions_and_protocols() {
    assert_eq!(parse(&[0x50; 60]), Err(Malformed::Version));
    assert_eq!(parse(&ipv4(1, &[], &syn())), Err(Malformed::Protocol));
    assert_eq!(parse(&ipv6(&[extension(0, 0)], 58, &syn())), Err(Malformed::Protocol));
    assert_eq!(parse(&ipv6(&[], 59, &[])), Err(Malformed::Protocol), "no next header");
}

#[test]
fn refuses_chains_that_are_too_long() {
    let chain = |n| vec![extension(60, 0); n];
    assert!(parse(&ipv6(&chain(MAX_EXTENSIONS), 6, &syn())).is_ok());
    assert_eq!(parse(&ipv6(&chain(MAX_EXTENSIONS + 1), 6, &syn())), Err(Malformed::Extensions));
    // 40 + 8 * 24 + 20 bytes fit, eight more do not.
    assert!(parse(&ipv6(&[extension(60, 23)], 6, &syn())).is_ok());
    assert_eq!(parse(&ipv6(&[extension(60, 24)], 6, &syn())), Err(Malformed::Extensions));
    // 40 + 8 * 26 + 8 bytes are just as many as there may be.
    assert!(parse(&ipv6(&[extension(60, 25)], 17, &udp(1, 2, 0))).is_ok());
    assert_eq!(parse(&ipv6(&[extension(60, 26)], 17, &udp(1, 2, 0))), Err(Malformed::Extensions));
}

proptest! {
    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    /// Nearly right packets reach further than random ones.
    #[test]
    fn never_panics_on_what_is_nearly_right(
        at in 0..100_usize, value in any::<u8>(), cut in 0..200_usize, v6 in any::<bool>(),
    ) {
        let chain = [extension(0, 0), extension(44, 0), extension(51, 1)];
        let mut bytes = if v6 { ipv6(&chain, 6, &syn()) } else { ipv4(17, &[0; 12], &udp(1, 2, 30)) };
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(cut);
        let _ = parse(&bytes);
    }
}
