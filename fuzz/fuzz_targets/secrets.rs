//! What users bring: packets of fwknop clients and profiles. A profile that is read is one line, and means the same.
#![no_main]

use ketuk::profile::Profile;
use ketuk::protocol::fwknop;
use ketuk::protocol::secret::Secret;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if fwknop::is_plausible(data) {
        let _ = fwknop::authenticate(fwknop::HmacType::Sha512, b"key", data);
        let keys = fwknop::Keys { key: Secret::new(b"key").expect("short"), hmac_key: Secret::new(b"key").expect("short"), hmac: fwknop::HmacType::Sha256 };
        let _ = fwknop::open(&keys, Some("alice"), data);
    }
    let Ok(text) = core::str::from_utf8(data) else { return };
    let Ok(profile) = text.parse::<Profile>() else { return };
    // A range of ports without the secret that it is for is not written.
    let line = profile.to_line();
    assert!(line.bytes().all(|byte| byte.is_ascii_graphic()), "{:?}", line.as_str());
    assert_eq!(line.parse::<Profile>().expect("it was written").to_line(), line);
});
