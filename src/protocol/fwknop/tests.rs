//! Packets of the real client, unchanged and changed.

use super::*;

const KEY: &[u8] = b"spa-test-key-0123456789abcdef";
const HMAC_KEY: &[u8] = b"spa-test-hmac-key-0123456789abcdef0123456789";

/// `fwknop -A tcp/22 -a 1.2.3.4`
const ACCESS: &str = "/UhgJZmOxhW3xQyTdrN1DOeDBGwHB8jgj1bRf+wKmtTuzVatclib0zyrlOs7XeX9w+pzok1VjstrRlfsA6wL3majLGMyt66ao2V4mnj++AfSM2cwNQaxCdYuCiDpi4/fLRJfcBcOoopyJ0PRVfk6aK985DXlU42bw3IUaRKQBA1jF8U3N7GOZPPWpwZpkLRmczU9iFVzMHGs";
/// `fwknop -A tcp/22,udp/51820 -s -f 600`
const TIMED: &str = "97sd+LRRUq9+LQzKPB6+vHzLHTBiiIrgajWmZWrX/luyRG3KIZuXXSuNaBJAk4WVZlHv54YEhWtypxfN2qhtTuEFMZZHiJRwCahrpiz1OaNKgagWMyhyBrT1P5oz9YG283BPEvn+J/46We77v+T6MxcxHiGACRYB7z5VTOmAH6042qQzZvGgKIuVFASu1JVF6LrmUKFmYOV7qyhzulPHhfSXm8IUWJz5E";
/// `fwknop -A tcp/22 -a 1.2.3.4 -N 192.168.1.10:22 -f 60`
const NAT: &str = "8eqF07NyHWKcKJxmx3DOJfd6ml1hJS2unlVc0f+jgzbEniWO5Ib+59A7D34Sq+uLoXl8o3mH+MnNZC9fz9/59tHqASUlHoq6tPcuqobLQ35pKDns2rn88WWwu4q9Hyp1v/Kf1S3pYmUBo7brhULnhNGHHzTvrbdqKtvhKTNYkC16j/OqKkShwN0+QsTUcERB633KchCumFoAwN9Ix9ehRkmddYyovnEaeL8HluSxRVe24CK4dy49TFM";

fn keys(key: &[u8]) -> FwknopKeys {
    let (key, hmac_key) = (Secret::new(key).unwrap(), Secret::new(HMAC_KEY).unwrap());
    FwknopKeys { key, hmac_key, hmac: HmacType::Sha256 }
}

fn opened(packet: &str) -> Result<FwknopRequest, FwknopError> {
    assert!(is_plausible(packet.as_bytes()));
    assert!(authenticate(HmacType::Sha256, HMAC_KEY, packet.as_bytes()).is_some());
    open(&keys(KEY), Some("alice"), packet.as_bytes())
}

fn port(udp: bool, port: u16) -> Port {
    Port { udp, port }
}

#[test]
fn access() {
    let request = opened(ACCESS).unwrap();
    assert_eq!((request.time, request.seconds, request.nat), (1_795_340_357, 0, None));
    assert_eq!(request.address, Some(Ipv4Addr::new(1, 2, 3, 4)));
    assert_eq!(request.ports(), [port(false, 22)]);
}

#[test]
fn own_source_two_ports_and_a_time() {
    let request = opened(TIMED).unwrap();
    assert_eq!((request.address, request.seconds), (None, 600));
    assert_eq!(request.ports(), [port(false, 22), port(true, 51_820)]);
}

#[test]
fn nat() {
    let request = opened(NAT).unwrap();
    let host = Ipv4Addr::new(192, 168, 1, 10);
    assert_eq!(request.nat, Some(Nat { host: Some(host), port: 22, local: false }));
    assert_eq!((request.ports(), request.seconds), (&[port(false, 22)][..], 60));
}

/// The same packets to the byte as the real client made of the same digits and the same salt.
#[test]
fn a_packet_is_written_as_the_real_client_writes_it() {
    let mut wish = Wish {
        user: "alice",
        time: 1_795_340_357,
        address: Some(Ipv4Addr::new(1, 2, 3, 4)),
        access: "tcp/22",
        nat: None,
        seconds: 0,
    };
    let check = |wish: &Wish<'_>, number: u64, salt: u64, expected: &str| {
        let mut buffer = empty_buffer();
        let randomness = Randomness { number, salt: salt.to_be_bytes() };
        let packet = seal(&keys(KEY), wish, randomness, &mut buffer).unwrap();
        assert_eq!(core::str::from_utf8(packet), Ok(expected));
    };
    check(&wish, 7_200_277_731_836_318, 0xd486_0259_98ec_615b, ACCESS);
    wish = Wish { nat: Some("192.168.1.10,22"), seconds: 60, ..wish };
    check(&wish, 1_306_469_224_149_785, 0x1ea8_5d3b_3721_d629, NAT);
    wish = Wish { address: None, access: "tcp/22,udp/51820", nat: None, seconds: 600, ..wish };
    check(&wish, 9_723_343_353_214_416, 0x7bb1_df8b_4515_2af7, TIMED);
}

/// With every HMAC, and with each length of the last block.
#[test]
fn what_is_written_is_read() {
    let access = "tcp/1,udp/2,tcp/65535,tcp/4,tcp/5,tcp/6,tcp/7,tcp/8";
    let users =
        ["a", "ab", "abc", "abcd", "abcde", "abcdefgh", "abcdefghijk", "a_user_with_the_longest_name_the"];
    for (number, (hmac, user)) in
        (0..).zip(HmacType::ALL.into_iter().flat_map(|hmac| users.map(|user| (hmac, user))))
    {
        let wish = Wish { user, time: 1_795_340_357, address: None, access, nat: Some("nas,22"), seconds: 7 };
        let keys = FwknopKeys { hmac, ..keys(KEY) };
        let mut buffer = empty_buffer();
        let packet = seal(&keys, &wish, Randomness { number, salt: [7; 8] }, &mut buffer).unwrap();
        assert!(is_plausible(packet));
        assert!(authenticate(hmac, HMAC_KEY, packet).is_some(), "{hmac:?}");
        let request = open(&keys, Some(user), packet).unwrap();
        assert_eq!((request.ports().len(), request.seconds, request.address), (8, 7, None));
    }
}

#[test]
fn the_longest_target_fits() {
    let nat = ["n".repeat(125), ",22".to_owned()].concat();
    assert!(is_nat(&nat));
    let wish = Wish { user: "alice", time: 0, address: None, access: "tcp/22", nat: Some(&nat), seconds: 0 };
    let mut buffer = empty_buffer();
    let packet = seal(&keys(KEY), &wish, Randomness { number: 0, salt: [7; 8] }, &mut buffer).unwrap();
    let nat = open(&keys(KEY), None, packet).unwrap().nat;
    assert_eq!(nat, Some(Nat { host: None, port: 22, local: false }));
}

#[test]
fn ports_and_targets() {
    assert!(is_access("tcp/22") && is_access("tcp/22,udp/51820"));
    for wrong in ["", "tcp/22,", "22", "icmp/1", "tcp/0", "tcp/65536", "TCP/22", &"tcp/1,".repeat(9)[..53]] {
        assert!(!is_access(wrong), "{wrong}");
    }
    assert!(is_nat("192.168.1.10,22") && is_nat("nas.lan,22"));
    for wrong in ["", "192.168.1.10", ",22", "nas,0", "n:s,1", &["n".repeat(127), ",22".to_owned()].concat()]
    {
        assert!(!is_nat(wrong), "{wrong}");
    }
}

#[test]
fn no_bit_can_be_changed_and_nothing_cut_or_added() {
    let packet = ACCESS.as_bytes();
    for bit in 0..packet.len() * 8 {
        let mut changed = packet.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(
            !is_plausible(&changed) || authenticate(HmacType::Sha256, HMAC_KEY, &changed).is_none(),
            "bit {bit}"
        );
    }
    for len in 0..packet.len() {
        let cut = &packet[..len];
        assert!(!is_plausible(cut) || authenticate(HmacType::Sha256, HMAC_KEY, cut).is_none(), "{len} bytes");
        assert!(authenticate(HmacType::Sha256, HMAC_KEY, cut).is_none(), "{len} bytes");
    }
    for longer in [[packet, b"="].concat(), [packet, b"A"].concat(), [sealed::PREFIX, packet].concat()] {
        assert!(!is_plausible(&longer) || authenticate(HmacType::Sha256, HMAC_KEY, &longer).is_none());
    }
}

#[test]
fn another_key() {
    assert_eq!(authenticate(HmacType::Sha256, b"another", ACCESS.as_bytes()), None);
    assert_eq!(open(&keys(b"another"), None, ACCESS.as_bytes()), Err(FwknopError::Key));
}

/// `fwknop -A tcp/22 -a 1.2.3.4 -M ECB`
const ECB: &str = "+hJgYnHNvummPe4UXx98MtaYpA1wMP9XDIbgMfsvrR9C7qwcUXQf2V7DayKpCT6jjSZKirtl7ivr/OiX4P7gU2gK+IdFjmMkSyCNufBGXKF7hYXY53h53nmbc6TsMLIrPfMNALgK7n+44Hja2eBAeED9IZhCla7OUiyjDHd/keWwOZOrg6QxpP6Z91+RcdupqL84r0gvbMsA";
/// `fwknop -A tcp/22 -a 1.2.3.4 -M CFB`
const CFB: &str = "+AWHklMgHXuCawLA2a1jZcd5IkBfcgVWXDqV9VRnIdezwgb6RX4Fa9Hab5ksweUaUmsktHoZxxupY8+z5MWWJvtpBqvMtNE1zH4PE2d73Qza+08oliFGSsJkdC2u2DdmthyE88NERZhtQgtnjzBxuAR0vyBLoHK4YOUjUpblYbRVhfhaUnBpu8jPUY4ywZY3FWnxMdFQvZ9s";

#[test]
fn other_modes_than_cbc_are_named() {
    assert_eq!([ECB, CFB].map(opened), [Err(FwknopError::Mode); 2]);
    // PCBC begins as CBC does, and nothing behind its first block can be read.
    let mut packet = empty_buffer();
    let packet =
        sealed::seal(&keys(KEY), [7; 8], &[&[b'1'; 16][..], &[0; 80]].concat(), &mut packet).unwrap();
    assert_eq!(open(&keys(KEY), None, packet), Err(FwknopError::Mode));
    assert_eq!(open(&keys(b"another"), None, packet), Err(FwknopError::Key));
}

#[test]
fn each_type_of_hmac_has_its_name_and_each_error_its_sentence() {
    use FwknopError::{Command, Key, Mode, Ports, Rules, User, Version};
    assert_eq!(HmacType::ALL.map(HmacType::name), ["md5", "sha1", "sha256", "sha384", "sha512"]);
    let errors = [Key, Mode, Version, User, Rules, Command, Ports];
    let sentences: std::collections::BTreeSet<_> = errors.map(|error| error.to_string()).into();
    assert!(sentences.len() == errors.len() && sentences.iter().all(|sentence| sentence.contains(' ')));
}

/// Packets that only an owner of both keys can send.
#[test]
fn who_has_the_keys_must_follow_the_rules_too() {
    // Of any length that a digest of fwknop's has: what it says does not matter.
    let reads = |fields: &str| read(Some("alice"), &format!("{fields}:{}", "A".repeat(43)));
    // "1.2.3.4,tcp/22" and "192.168.1.10,22" in base 64.
    let (access, nat) = ("MS4yLjMuNCx0Y3AvMjI", "MTkyLjE2OC4xLjEwLDIy");
    let good = format!("7200277731836318:YWxpY2U:1795340357:3.0.0:1:{access}");
    assert!(reads(&good).is_ok());
    for (len, fine) in [(21, false), (22, true), (27, true), (43, true), (64, true), (86, true), (87, false)]
    {
        assert_eq!(read(None, &format!("{good}:{}", "A".repeat(len))).is_ok(), fine, "{len}");
    }
    let like = |from: &str, to: &str| reads(&good.replacen(from, to, 1));
    assert_eq!(like(":1:", ":0:"), Err(FwknopError::Command));
    assert_eq!(like("3.0.0", "2.0.2"), Err(FwknopError::Version));
    assert_eq!(like("YWxpY2U", "Ym9i"), Err(FwknopError::User));
    assert!(like("3.0.0", "3.0.1").is_ok());
    for (from, to) in [
        ("7200", "720"),
        ("7200", "720x"),
        (":1795340357", ":-795340357"),
        (":1795340357", ":"),
        (":1:", ":7:"),
        (":1:", ":2:"),
        (":1:", ":3:"),
        (access, "MS4yLjMuNCx0Y3AvMjI="),
        (access, "MS4yLjMuNA"),
        (access, "MS4yLjMuNCx0Y3AvMA"),
        (access, "MS4yLjMuNCx0Y3AvKzIy"),
    ] {
        assert_eq!(like(from, to), Err(FwknopError::Rules), "{to}");
    }
    // "1.2.3.4,icmp/8", and nine ports.
    assert_eq!(like(access, "MS4yLjMuNCxpY21wLzg"), Err(FwknopError::Ports));
    let mut nine = [0; 256];
    let nine = base64::encode(format!("1.2.3.4{}", ",tcp/1".repeat(9)).as_bytes(), &mut nine).unwrap();
    assert_eq!(like(access, nine.trim_end_matches('=')), Err(FwknopError::Ports));
    for (kind, rest, fine) in [
        (2, nat, true),
        (4, &format!("{nat}:60"), true),
        (5, nat, true),
        // "home.example.org,22"
        (5, "aG9tZS5leGFtcGxlLm9yZywyMg", true),
        (2, "aG9tZS5leGFtcGxlLm9yZywyMg", true),
        (2, "LDIy", false),
        // "n s,22"
        (2, "biBzLDIy", false),
        // A server_auth field, which is passed over.
        (1, "c2VydmVy", true),
        (1, "c2VydmVy:c2VydmVy", false),
        (2, &format!("{nat}:c2VydmVy"), true),
        (3, "c2VydmVy:60", true),
        (3, "60:c2VydmVy", false),
        (4, &format!("{nat}:c2VydmVy:60"), true),
        (6, &format!("{nat}:60"), true),
        (3, "65537", false),
        (3, "6x", false),
        (4, nat, false),
        (2, "MTkyLjE2OC4xLjEw", false),
    ] {
        assert_eq!(
            reads(&good.replace(":1:", &format!(":{kind}:")).add_field(rest)).is_ok(),
            fine,
            "{kind} {rest}"
        );
    }
}

/// Packets of GnuPG's recipients with RSA and Elgamal keys, without their first two characters; nobody reads them.
#[test]
fn gnupg_is_recognised() {
    let packet = |head: &str| [head, &"A".repeat(400)].concat();
    for head in ["EMA3Cm", "IMA3Cm", "IOA3Cm", "4DBuOp"] {
        assert!(is_gnupg(packet(head).as_bytes()) && !is_plausible(packet(head).as_bytes()), "{head}");
    }
    for other in [
        packet("97sd+L"),
        packet("zzzzzz"),
        packet("4EBuOp"),
        packet("8DBuOp"),
        "EMA3Cm".to_owned(),
        packet("EMA3="),
    ] {
        assert!(!is_gnupg(other.as_bytes()), "{other}");
    }
}

trait AddField {
    fn add_field(self, field: &str) -> String;
}

impl AddField for String {
    fn add_field(self, field: &str) -> String {
        self + ":" + field
    }
}
