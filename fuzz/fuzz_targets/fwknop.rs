//! fwknop's packets with the right keys, so that the fuzzer reaches the encrypted fields. A packet with fields that a client may
//! write is read as it was meant. A packet with a changed byte is not authentic.
#![no_main]

mod coverage;

use ketuk::protocol::fwknop::{self, FwknopKeys, HmacType, Randomness, Wish};
use ketuk::protocol::secret::Secret;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [kind, byte, by, rest @ ..] = data else { return };
    let text = String::from_utf8_lossy(rest);
    let mut fields = text.split('\n');
    let mut field = || fields.next().unwrap_or_default();
    let hmac = HmacType::ALL[usize::from(*kind) % HmacType::ALL.len()];
    let keys = FwknopKeys {
        key: Secret::new(b"key").expect("short"),
        hmac_key: Secret::new(b"another key").expect("short"),
        hmac,
    };
    let (user, access, nat) = (field(), field(), field());
    let wish = Wish {
        user,
        time: u64::from(*byte) << 24,
        address: None,
        access,
        nat: (kind & 0x80 != 0).then_some(nat),
        seconds: u32::from(kind & 0x40 != 0) * 90,
    };
    let mut buffer = fwknop::empty_buffer();
    let randomness = Randomness { number: 7, salt: [*byte; 8] };
    let Some(packet) = fwknop::seal(&keys, &wish, randomness, &mut buffer) else { return };
    assert!(fwknop::authenticate(hmac, keys.hmac_key.bytes(), packet).is_some(), "the HMAC is right");
    let opened = fwknop::open(&keys, None, packet);
    let is_written_right = fwknop::is_access(access)
        && wish.nat.is_none_or(fwknop::is_nat)
        && !user.is_empty()
        && user.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_written_right {
        let opened = opened.expect("a client's packet");
        assert_eq!(opened.ports().len(), access.split(',').count());
        assert_eq!(
            (opened.time, opened.seconds, opened.nat.is_some()),
            (wish.time, wish.seconds, wish.nat.is_some())
        );
    }
    let mut changed = packet.to_vec();
    let at = usize::from(*byte) % changed.len();
    changed[at] ^= by;
    if changed != packet {
        assert!(
            fwknop::authenticate(hmac, keys.hmac_key.bytes(), &changed).is_none(),
            "a changed packet is authentic"
        );
    }
});
