//! Texts of packets that no client writes.

use ketuk_libfko::sealing;
use proptest::prelude::*;
use proptest::sample::select;

/// Addresses and ports, right and wrong.
const MESSAGES: [&str; 29] = [
    "1.2.3.4,tcp/22",
    "0.0.0.0,tcp/22,udp/51820",
    "1.2.3.4,udp/53",
    "1.2.3.4,icmp/0",
    "1.2.3.4,none/0",
    "1.2.3.4,tcp/0",
    "1.2.3.4,tcp/65535",
    "1.2.3.4,tcp/65536",
    "1.2.3.4,tcp/-1",
    "1.2.3.4,tcp/+22",
    "1.2.3.4,tcp/ 22",
    "1.2.3.4,tcp/022",
    "1.2.3.4,tcp/22x",
    "1.2.3.4,tcp/22,",
    "1.2.3.4,,tcp/22",
    "1.2.3.4,TCP/22",
    "1.2.3.4,tcp",
    "1.2.3.4,tcp/",
    "1.2.3.4",
    "1.2.3.4,",
    "1.2.3,tcp/22",
    "01.2.3.4,tcp/22",
    "1.2.3.256,tcp/22",
    "::1,tcp/22",
    "255.255.255.255,tcp/22",
    "127.0.0.1,tcp/22",
    "1.2.3.4,tcp/1,tcp/2,tcp/3,tcp/4,tcp/5,tcp/6,tcp/7,tcp/8",
    "1.2.3.4,tcp/1,tcp/2,tcp/3,tcp/4,tcp/5,tcp/6,tcp/7,tcp/8,tcp/9",
    "1.2.3.4,reboot",
];

/// Targets, right and wrong.
const NATS: [&str; 14] = [
    "192.168.1.10,22",
    "127.0.0.1,22",
    "nas,22",
    "nas.lan,22",
    "192.168.1.10",
    "192.168.1.10,",
    ",22",
    "192.168.1.10,0",
    "192.168.1.10,65536",
    "192.168.1.10,+22",
    "192.168.1.10,22,23",
    "192.168.1.10,tcp/22",
    "-nas,22",
    "n s,22",
];

/// Names of users, right and wrong.
const USERS: [&str; 9] = [
    "alice",
    "a",
    "a b",
    "a:b",
    "al%ice",
    "-a",
    "\u{e9}",
    "",
    "a_user_with_a_name_of_sixty_five_characters_which_is_more_than_64",
];

/// Fields of a packet, right and wrong.
pub fn fields() -> impl Strategy<Value = Vec<String>> {
    let encoded = |texts: &'static [&'static str]| {
        prop_oneof![
            9 => select(texts).prop_map(|text| sealing::encode(text.as_bytes())),
            1 => select(vec!["", "=", "A", "MS4yLjMuNCx0Y3AvMjI=", "!!!!"]).prop_map(str::to_owned),
        ]
    };
    let random = prop_oneof![
        9 => "[0-9]{16}",
        1 => select(vec!["", "123456789012345", "12345678901234567", "123456789012345x"]).prop_map(str::to_owned),
    ];
    let user = encoded(&USERS);
    let time = prop_oneof![
        9 => (0..5_000_000_000_u64).prop_map(|time| time.to_string()),
        1 => select(vec!["", "-1", "+1", " 1", "1x", "99999999999", "999999999999", "9999999999999999999999"]).prop_map(str::to_owned),
    ];
    let version = prop_oneof![
        9 => Just("3.0.0".to_owned()),
        1 => select(vec!["", "3", "2.0.2", "3.0.1", "4.0.0", "3.0.0.0.0.0.0.0", "x"]).prop_map(str::to_owned),
    ];
    let kind = select(vec!["0", "1", "1", "1", "2", "3", "3", "4", "5", "6", "7", "", "x", "01", "1x", "+1"]);
    let message = encoded(&MESSAGES);
    let nat = encoded(&NATS);
    let server_auth = encoded(&["crypt,secret"]);
    let seconds = prop_oneof![
        9 => (0..70_000_u32).prop_map(|seconds| seconds.to_string()),
        1 => select(vec!["", "0", "-1", "+1", "1x", "65536", "65537", "9999999999"]).prop_map(str::to_owned),
    ];
    let more = (any::<bool>(), any::<bool>(), any::<bool>());
    ((random, user, time, version, kind), (message, nat, server_auth, seconds), more, 0..40_u8).prop_map(
        |(
            (random, user, time, version, kind),
            (message, nat, auth, seconds),
            (fits, with_auth, timed),
            spoil,
        )| {
            let (mut has_nat, mut has_time) =
                (matches!(kind, "2" | "4" | "5" | "6"), matches!(kind, "3" | "4" | "6"));
            // Sometimes the fields are not those of the kind.
            if !fits && spoil < 8 {
                (has_nat, has_time) = (!has_nat, timed);
            }
            let mut fields = vec![random, user, time, version, kind.to_owned(), message];
            fields.extend(has_nat.then_some(nat));
            fields.extend((with_auth && spoil % 3 == 0).then_some(auth));
            fields.extend(has_time.then_some(seconds));
            if spoil == 39 {
                fields.remove(usize::from(spoil) % 5);
            }
            fields
        },
    )
}
