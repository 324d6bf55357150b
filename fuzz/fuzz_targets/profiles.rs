//! Profiles that people give to the client, as lines and as stanzas of .fwknoprc. A profile that was read can be written as one
//! line, and means the same when that line is read.
#![no_main]

mod coverage;

use ketuk::client::fwknoprc;
use ketuk::profile::Profile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let Ok(text) = core::str::from_utf8(rest) else { return };
    let read = match kind % 3 {
        0 => format!("ketuk://{text}").parse::<Profile>().into_iter().collect(),
        1 => format!("https://host/knock.html#{text}").parse::<Profile>().into_iter().collect(),
        _ => {
            let named = fwknoprc::read("file", text, None, Some("alice")).unwrap_or_default();
            named.into_iter().map(|named| named.profile).collect::<Vec<_>>()
        }
    };
    for profile in read {
        let line = profile.to_line();
        assert!(line.bytes().all(|byte| byte.is_ascii_graphic()), "{:?}", line.as_str());
        assert_eq!(line.parse::<Profile>().expect("it was written").to_line(), line);
    }
});
