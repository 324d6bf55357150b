//! Lines, and texts that are not profiles.

use super::*;

#[test]
fn a_line_is_read_as_it_was_written() {
    let mut profile = Profile::new(
        Some("alice".to_owned()),
        "[2001:db8::1]".to_owned(),
        vec![
            ProfileDoor { name: "ssh".to_owned(), port: Some(22) },
            ProfileDoor { name: "nas".to_owned(), port: None },
        ],
    );
    profile.key = Secret::new(&[0xfb; 32]);
    profile.port = 1000;
    profile.totp = Secret::new(b"0123456789abcdef");
    profile.range = totp::TotpPorts::new(1, 65_535).unwrap();
    profile.sequence = vec!["7000".to_owned(), "8000:udp".to_owned()];
    let line = profile.to_line();
    assert_eq!(
        line.as_str(),
        "ketuk://alice@[2001:db8::1]/ssh:22,nas?key=-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s&port=1000\
         &totp=GAYTEMZUGU3DOOBZMFRGGZDFMY&ports=1-65535&sequence=7000,8000:udp"
    );
    assert_eq!(line.parse(), Ok(profile));
}

#[test]
fn what_is_no_profile() {
    let key = "A".repeat(43);
    for (line, expected) in [
        ("http://h/d?sequence=1".to_owned(), Err(ProfileError::Scheme)),
        (format!("ketuk:///d?key={key}"), Err(ProfileError::Host)),
        (format!("ketuk://-h/d?key={key}"), Err(ProfileError::Host)),
        (format!("ketuk://h;ls/d?key={key}"), Err(ProfileError::Host)),
        (format!("ketuk://h?key={key}"), Err(ProfileError::Door)),
        (format!("ketuk://h/?key={key}"), Err(ProfileError::Door)),
        (format!("ketuk://h/d:0?key={key}"), Err(ProfileError::Port)),
        (format!("ketuk://h/d?key={}", &key[1..]), Err(ProfileError::Key)),
        (format!("ketuk://h/d?key={key}&port=x"), Err(ProfileError::Port)),
        ("ketuk://h/d?totp=JBSWY3DPEHPK3PXP".to_owned(), Err(ProfileError::Totp)),
        ("ketuk://h/d?totp=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&ports=1-9".to_owned(), Err(ProfileError::Port)),
        ("ketuk://h/d".to_owned(), Err(ProfileError::Nothing)),
        (format!("ketuk://eve\nketuk:@h/d?key={key}"), Err(ProfileError::Lines)),
        (format!("ketuk://h/d\n?key={key}"), Err(ProfileError::Lines)),
        (format!("ketuk://h/d?key={}\r\n{}", &key[..9], &key[9..]), Err(ProfileError::Lines)),
        (format!("ketuk://\u{1b}[2J@h/d?key={key}"), Err(ProfileError::User)),
        (format!("ketuk://@h/d?key={key}"), Err(ProfileError::User)),
        (format!("ketuk://eve@home@h/d?key={key}"), Ok(())),
        ("ketuk://h/d?sequence=7000,8000:UDP,9000:tcp".to_owned(), Ok(())),
        ("ketuk://h/d?sequence=7000,".to_owned(), Err(ProfileError::Port)),
        (format!("ketuk://h/d?sequence={}", vec!["1"; 32].join(",")), Ok(())),
        (format!("ketuk://h/d?sequence={}", vec!["1"; 33].join(",")), Err(ProfileError::Steps)),
        ("ketuk://h/d?sequence=7000,8000:udp\n9000".to_owned(), Err(ProfileError::Lines)),
        ("ketuk://h/d?sequence=7000:sctp".to_owned(), Err(ProfileError::Port)),
        (format!(" ketuk://h/d?later=1&key={key}\n"), Ok(())),
    ] {
        assert_eq!(line.parse::<Profile>().map(|_| ()), expected, "{line}");
    }
}

#[test]
fn new_secrets_are_a_users_options_and_new() {
    let (one, two) = (new_secrets().unwrap(), new_secrets().unwrap());
    assert_ne!(one, two);
    let words: Vec<_> = one.split(['\'', ' ', '\t', '\n']).filter(|word| !word.is_empty()).collect();
    let [_, "key", k, _, "totp", t] = words[..] else { panic!("{words:?}") };
    assert!(key(k).is_ok() && totp_secret(t).is_ok());
}
