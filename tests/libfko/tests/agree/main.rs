//! ketuk and libfko read the same packets in the same way, or the reason is in [`excuse`].

mod texts;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ketuk_libfko::{Keys, Message, Wish, read, sealing, write};
use ketuk_protocol::fwknop::{self, FwknopError, FwknopRequest, HmacType, Randomness};
use ketuk_protocol::secret::Secret;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use texts::fields;

const KEYS: Keys<'_> =
    Keys { key: b"spa-test-key-0123456789abcdef", hmac_key: b"spa-test-hmac-key-0123456789abcdef0123456789" };

/// libfko's number of an HMAC: its place in ketuk's list, from 1.
fn number(hmac: HmacType) -> i16 {
    let place = HmacType::ALL.iter().position(|other| *other == hmac).expect("one of all");
    i16::try_from(place).expect("few") + 1
}

fn ketuks(hmac: HmacType) -> fwknop::FwknopKeys {
    let (key, hmac_key) = (Secret::new(KEYS.key), Secret::new(KEYS.hmac_key));
    fwknop::FwknopKeys { key: key.expect("short"), hmac_key: hmac_key.expect("short"), hmac }
}

/// The request that ketuk reads; `None` if the packet is not authentic.
fn ours(packet: &[u8], hmac: HmacType) -> Option<Result<FwknopRequest, FwknopError>> {
    let keys = ketuks(hmac);
    let is_authentic =
        fwknop::is_plausible(packet) && fwknop::authenticate(hmac, keys.hmac_key.bytes(), packet).is_some();
    is_authentic.then(|| fwknop::open(&keys, None, packet))
}

/// The address and the ports that a packet opens.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    address: Option<Ipv4Addr>,
    /// Whether it is UDP, and the port's number.
    ports: Vec<(bool, u16)>,
}

/// The ports that ketuk would open for the message that libfko has read.
fn meaning(theirs: &Message) -> Option<Meaning> {
    let (address, ports) = theirs.message.split_once(',')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let port = |text: &str| {
        let (protocol, port) = text.split_once('/')?;
        Some((protocol == "udp", port.parse().ok()?))
    };
    let ports = ports.split(',').map(port).collect::<Option<_>>()?;
    Some(Meaning { address: Some(address).filter(|address| !address.is_unspecified()), ports })
}

/// Both read the same.
fn assert_same(ours: &FwknopRequest, theirs: &Message) {
    // libfko keeps 32 bits of a time.
    assert_eq!(i64::try_from(ours.time & u64::from(u32::MAX)), Ok(theirs.time));
    assert_eq!(i32::try_from(ours.seconds), Ok(theirs.seconds));
    let ports = ours.ports().iter().map(|port| (port.udp, port.port)).collect();
    assert_eq!(Some(Meaning { address: ours.address, ports }), meaning(theirs), "{theirs:?}");
    assert_eq!(ours.nat.is_some(), theirs.nat.is_some(), "{theirs:?}");
    if let (Some(nat), Some(text)) = (ours.nat, &theirs.nat) {
        let (host, port) = text.split_once(',').expect("libfko has looked");
        assert_eq!((nat.host, Ok(nat.port)), (host.parse().ok(), port.parse()));
        assert_eq!(nat.local, matches!(theirs.kind, 5 | 6));
    }
}

/// libfko takes a packet without its HMAC that has at least this length for a packet of GnuPG (fwknop: `MIN_GNUPG_MSG_SIZE`).
const GNUPG: usize = 400;

/// The number of the excuses below that the texts of [`fields`] need. Long packets need another one.
const EXCUSES_OF_TEXTS: usize = 12;

/// The reason why one of them opens a packet that the other refuses; `None` if that is a fault. `text` is the packet without the digest.
fn excuse(
    packet: &[u8],
    text: &str,
    ours: Option<Result<FwknopRequest, FwknopError>>,
    theirs: &Result<Message, String>,
) -> Option<&'static str> {
    match (ours?, theirs) {
        (Err(_), Ok(message)) if message.kind == 0 => Some("ketuk runs no commands of clients"),
        (Err(FwknopError::Version), Ok(message)) if !message.version.starts_with("3.") => {
            Some("libfko does not ask which version of the protocol it is")
        }
        (Err(FwknopError::Ports), Ok(message))
            if message.message.split(',').count() > 1 + fwknop::MAX_PORTS =>
        {
            Some("ketuk opens at most 8 ports at once")
        }
        (Err(FwknopError::Rules | FwknopError::Mode), Ok(message)) => why_not_written(text, message),
        (Ok(request), Err(error)) => match error.rsplit_once("INVALID_DATA_")?.1 {
            "ENCRYPT_TYPE_UNKNOWN" if packet.len() + 10 >= GNUPG => {
                Some("libfko takes a long packet for one of GnuPG's, also its own")
            }
            "DECODE_TIMESTAMP_DECODEFAIL" if request.time > 0x7fff_ffff => {
                Some("libfko knows no times after 2038")
            }
            "DECODE_USERNAME_VALIDFAIL" | "DECODE_USERNAME_TOOBIG" | "DECODE_USERNAME_DECODEFAIL" => {
                Some("ketuk looks at the user's name only where the configuration asks for one")
            }
            "DECODE_VERSION_TOOBIG" => Some("ketuk looks at the first number of the version alone"),
            "DECODE_SRVAUTH_DECODEFAIL" | "DECODE_EXTRA_DECODEFAIL" => {
                Some("ketuk does not look at server_auth")
            }
            _ => None,
        },
        _ => None,
    }
}

/// The reason if no client writes such a packet, and libfko reads it nevertheless.
fn why_not_written(text: &str, message: &Message) -> Option<&'static str> {
    let fields: Vec<&str> = text.split(':').collect();
    let (address, _) = message.message.split_once(',')?;
    let port = |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0) && !port.starts_with('+');
    if fields.get(2).is_none_or(|time| *time != message.time.to_string()) {
        Some("libfko reads a time as strtol does: with signs, spaces and what follows a number")
    } else if fields.get(4).is_none_or(|kind| *kind != message.kind.to_string()) {
        Some("libfko reads a kind of request in the same way")
    } else if text.contains('=')
        || fields.get(5).is_none_or(|field| *field != sealing::encode(message.message.as_bytes()))
    {
        Some("libfko reads base 64 that is written in another way")
    } else if address.parse::<Ipv4Addr>().is_err() {
        Some("libfko takes addresses that are none, and numbers that begin with zero")
    } else if message
        .nat
        .as_ref()
        .is_some_and(|nat| nat.split_once(',').is_none_or(|(host, number)| host.is_empty() || !port(number)))
    {
        Some("libfko takes a target without a host or a port")
    } else {
        None
    }
}

/// Compares how both read a packet. Returns the excuse, if one is needed.
fn compare(packet: &[u8], hmac: HmacType, text: &str) -> Option<&'static str> {
    let (ours, theirs) = (ours(packet, hmac), read(packet, KEYS, number(hmac)));
    match (&ours, &theirs) {
        (Some(Ok(ours)), Ok(theirs)) => assert_same(ours, theirs),
        (None | Some(Err(_)), Err(_)) => {}
        _ => {
            let excuse = excuse(packet, text, ours, &theirs);
            assert!(excuse.is_some(), "{text}\nketuk: {ours:?}\nlibfko: {theirs:?}");
            return excuse;
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// ketuk reads each packet of libfko as libfko does.
    #[test]
    fn libfkos_packets(
        user in "[a-zA-Z0-9_]{1,40}", ports in prop::collection::vec((any::<bool>(), 1..=u16::MAX), 1..8),
        address: [u8; 4], nat in prop::option::of(("[a-z]{1,20}", 1..=u16::MAX)), local: bool,
        seconds in prop::option::of(0..=65_536), auth: bool, digest in 1..=5_i16, hmac in select(&HmacType::ALL[..])
    ) {
        let address = Ipv4Addr::from(address);
        let ports = ports.iter().map(|(udp, port)| format!(",{}/{port}", if *udp { "udp" } else { "tcp" }));
        let wish = Wish {
            user,
            message: format!("{address}{}", ports.collect::<String>()),
            nat: nat.map(|(host, port)| format!("{host},{port}")),
            local,
            seconds,
            server_auth: auth.then(|| "crypt,secret".to_owned()),
            digest,
            hmac: number(hmac),
        };
        let packet = write(&wish, KEYS).expect("right fields");
        compare(&packet, hmac, &format!("{wish:?}"));
        let opened = ours(&packet, hmac).expect("authentic");
        prop_assert!(opened.is_ok(), "{opened:?}");
    }

    /// libfko reads each packet of ketuk as ketuk does.
    #[test]
    fn ketuks_packets(
        user in "[a-zA-Z0-9_]{1,30}", time in 0..1_u64 << 31, address in prop::option::of(any::<[u8; 4]>()),
        access in select(vec!["tcp/22", "udp/53", "tcp/1,tcp/2,tcp/3,tcp/4,tcp/5,tcp/6,tcp/7,udp/65535"]),
        nat in prop::option::of(select(vec!["192.168.1.10,22", "nas.lan,443"])), seconds in 0..=65_536_u32,
        hmac in select(&HmacType::ALL[..]), number in 0..10_000_000_000_000_000_u64, salt: [u8; 8]
    ) {
        let wish = fwknop::Wish { user: &user, time, address: address.map(Ipv4Addr::from), access, nat, seconds };
        let mut buffer = fwknop::empty_buffer();
        let packet = fwknop::seal(&ketuks(hmac), &wish, Randomness { number, salt }, &mut buffer).expect("room for it");
        let theirs = read(packet, KEYS, self::number(hmac));
        prop_assert!(theirs.is_ok(), "{theirs:?}");
        compare(packet, hmac, &format!("{wish:?}"));
    }

    /// A changed packet opens nothing with either of them.
    #[test]
    fn changed_packets(at: prop::sample::Index, change in 1..=255_u8, cut in 0..300_usize, what in 0..3) {
        let packet = sealing::seal("7200277731836318:YWxpY2U:1795340357:3.0.0:1:MS4yLjMuNCx0Y3AvMjI", KEYS, [7; 8]);
        let mut changed = packet.clone();
        match what {
            0 => changed[at.index(packet.len())] ^= change,
            1 => changed.truncate(cut),
            _ => changed.insert(at.index(packet.len()), change),
        }
        if changed != packet {
            compare(&changed, HmacType::Sha256, "changed");
            let opened = ours(&changed, HmacType::Sha256);
            prop_assert!(opened.is_none_or(|opened| opened.is_err()), "{opened:?}");
        }
    }
}

/// Texts that no client writes, with the right encryption and HMAC.
#[test]
fn texts() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(50_000) };
    let excuses = RefCell::new(BTreeSet::new());
    let agree = |fields: Vec<String>| {
        let text = fields.join(":");
        let excuse = compare(&sealing::seal(&text, KEYS, [7; 8]), HmacType::Sha256, &text);
        excuses.borrow_mut().extend(excuse);
        Ok(())
    };
    // Random texts have too few of these.
    for auth in ["!!!!", "A", "="] {
        let message = sealing::encode(b"1.2.3.4,tcp/22");
        let fields = ["7200277731836318", "YWxpY2U", "1795340357", "3.0.0", "1", &message, auth];
        agree(fields.map(str::to_owned).to_vec()).expect("they agree");
    }
    TestRunner::new(config).run(&fields(), agree).expect("they agree");
    let met = excuses.into_inner();
    assert!(met.len() >= EXCUSES_OF_TEXTS, "an excuse that nothing needs any more is one too many: {met:#?}");
}
