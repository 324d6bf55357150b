//! What users bring: packets of fwknop clients and profiles. A profile that is read is one line, and means the same.
#![no_main]

use ketuk::profile::Profile;
use ketuk::protocol::fwknop;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if fwknop::is_plausible(data) {
        let _ = fwknop::authenticate(b"key", data);
        let _ = fwknop::open(b"key", data);
    }
    let Ok(text) = core::str::from_utf8(data) else { return };
    let Ok(profile) = text.parse::<Profile>() else { return };
    // A range of ports without the secret that it is for is not written.
    let line = profile.to_line();
    assert!(line.bytes().all(|byte| byte.is_ascii_graphic()), "{:?}", line.as_str());
    assert_eq!(line.parse::<Profile>().expect("it was written").to_line(), line);
});
