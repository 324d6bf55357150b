//! Profiles: everything that a client must know about a router, in one line (docs/protocol.md, "Profiles").
//!
//! `ketukd invite` writes profiles, `ketuk add` reads them, and a client stores them unchanged.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use zeroize::{Zeroize as _, Zeroizing};

use crate::protocol::secret::Secret;
use crate::protocol::{Protocol, SPA_PORT, base32, base64, is_door, packet, totp};

const SCHEME: &str = "ketuk://";

/// Most steps of a plain sequence, as a door may have: a profile is no list of ports to scan.
const MAX_STEPS: usize = 32;

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The user's name, for people to read.
    pub user: Option<String>,
    /// Name or address; an IPv6 address in brackets.
    pub host: String,
    /// At least one.
    pub doors: Vec<ProfileDoor>,
    /// Key of ketuk's packet.
    pub key: Option<Secret<{ packet::KEY }>>,
    /// The UDP port for the packet.
    pub port: u16,
    /// Secret of changing sequences.
    pub totp: Option<Secret<{ totp::MAX_SECRET }>>,
    /// The ports of changing sequences.
    pub range: totp::TotpPorts,
    /// A plain sequence: `PORT[:tcp|:udp]` each.
    pub sequence: Vec<String>,
}

/// A door of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileDoor {
    /// Its name.
    pub name: String,
    /// A TCP port that answers when it is open.
    pub port: Option<u16>,
}

/// Why a text is no profile. The error quotes nothing of the text, which may contain secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileError {
    /// It does not begin with `ketuk://`.
    Scheme,
    /// A user's name with other characters than names have.
    User,
    /// No host, or one with other characters than names and addresses have.
    Host,
    /// No door, or an impossible name of a door.
    Door,
    /// The key is no 32 bytes in base 64.
    Key,
    /// The secret is no 16 to 64 bytes in base 32.
    Totp,
    /// A wrong port or range of ports.
    Port,
    /// More steps than a sequence may have.
    Steps,
    /// There is no secret and no sequence.
    Nothing,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a profile begins with ketuk://",
            Self::User => "its user is no name",
            Self::Host => "it names no host",
            Self::Door => "it names no door",
            Self::Key => "its key is none: is the line whole?",
            Self::Totp => "its totp secret is none: is the line whole?",
            Self::Port => "one of its ports is none",
            Self::Steps => "its sequence has more than 32 steps",
            Self::Nothing => "it has neither a key nor a totp secret nor a sequence: is the line whole?",
        })
    }
}

impl std::error::Error for ProfileError {}

impl Profile {
    /// A profile without secrets and sequence.
    pub fn new(user: Option<String>, host: String, doors: Vec<ProfileDoor>) -> Self {
        Self {
            user,
            host,
            doors,
            key: None,
            port: SPA_PORT,
            totp: None,
            range: totp::TotpPorts::default(),
            sequence: Vec::new(),
        }
    }

    /// The profile as a line.
    pub fn to_line(&self) -> Zeroizing<String> {
        // Growing would leave copies of the secrets behind.
        let mut line = Zeroizing::new(String::with_capacity(4096));
        line.push_str(SCHEME);
        if let Some(user) = &self.user {
            line.extend([user, "@"]);
        }
        line.extend([&self.host, "/"]);
        for (at, door) in self.doors.iter().enumerate() {
            line.extend([if at == 0 { "" } else { "," }, &door.name]);
            if let Some(port) = door.port {
                line.extend([":", &port.to_string()]);
            }
        }
        let mut separator = "?";
        let mut parameter = |name: &str| {
            let begins = [separator, name, "="].concat();
            separator = "&";
            begins
        };
        if let Some(key) = &self.key {
            line.push_str(&parameter("key"));
            let mut text = [0; 2 * packet::KEY];
            let text = base64::encode(key.bytes(), &mut text).expect("room for twice as much");
            line.extend(text.trim_end_matches('=').chars().map(|c| match c {
                '+' => '-',
                '/' => '_',
                c => c,
            }));
            if self.port != SPA_PORT {
                line.extend([parameter("port"), self.port.to_string()]);
            }
        }
        if let Some(totp) = &self.totp {
            line.push_str(&parameter("totp"));
            line.extend(base32::encode(totp.bytes()));
            if self.range != totp::TotpPorts::default() {
                line.extend([parameter("ports"), self.range.range().to_string()]);
            }
        }
        if !self.sequence.is_empty() {
            line.extend([parameter("sequence"), self.sequence.join(",")]);
        }
        line
    }
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(line: &str) -> Result<Self, ProfileError> {
        let rest = line.trim().strip_prefix(SCHEME).ok_or(ProfileError::Scheme)?;
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = address.split_once('/').ok_or(ProfileError::Door)?;
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, authority),
        };
        // The name is shown in lists, and the profile is a line of a file.
        let of_a_user = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
        if user.as_ref().is_some_and(|user| user.is_empty() || !user.bytes().all(of_a_user)) {
            return Err(ProfileError::User);
        }
        let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte);
        if host.is_empty() || host.starts_with('-') || !host.bytes().all(of_a_host) {
            return Err(ProfileError::Host);
        }
        let doors = path.split(',').map(door).collect::<Result<_, _>>()?;
        let mut profile = Self::new(user, host.to_owned(), doors);
        for (name, value) in query.split('&').filter_map(|parameter| parameter.split_once('=')) {
            match name {
                "key" => profile.key = Some(key(value)?),
                "totp" => profile.totp = Some(totp_secret(value)?),
                "port" => profile.port = port(value)?,
                "ports" => {
                    let (first, last) = value.split_once('-').ok_or(ProfileError::Port)?;
                    let range = totp::TotpPorts::new(port(first)?, port(last)?);
                    profile.range = range.ok_or(ProfileError::Port)?;
                }
                "sequence" => {
                    if value.split(',').count() > MAX_STEPS {
                        return Err(ProfileError::Steps);
                    }
                    profile.sequence = value.split(',').map(step).collect::<Result<_, _>>()?;
                }
                _ => {}
            }
        }
        if profile.key.is_none() && profile.totp.is_none() && profile.sequence.is_empty() {
            return Err(ProfileError::Nothing);
        }
        Ok(profile)
    }
}

fn door(text: &str) -> Result<ProfileDoor, ProfileError> {
    let (name, answers) = match text.split_once(':') {
        Some((name, answers)) => (name, Some(port(answers)?)),
        None => (text, None),
    };
    if !is_door(name.as_bytes()) {
        return Err(ProfileError::Door);
    }
    Ok(ProfileDoor { name: name.to_owned(), port: answers })
}

fn step(text: &str) -> Result<String, ProfileError> {
    let (number, protocol) = text.split_once(':').unwrap_or((text, "tcp"));
    port(number)?;
    Protocol::named(protocol).map(|_| text.to_owned()).ok_or(ProfileError::Port)
}

fn port(text: &str) -> Result<u16, ProfileError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0).ok_or(ProfileError::Port)
}

fn key(text: &str) -> Result<Secret<{ packet::KEY }>, ProfileError> {
    let standard: Zeroizing<String> = Zeroizing::new(text.replace('-', "+").replace('_', "/"));
    let mut bytes = Zeroizing::new([0; packet::KEY]);
    let whole = base64::decode(&standard, &mut bytes[..]).is_some_and(|bytes| bytes.len() == packet::KEY);
    Secret::new(&bytes[..]).filter(|_| whole).ok_or(ProfileError::Key)
}

fn totp_secret(text: &str) -> Result<Secret<{ totp::MAX_SECRET }>, ProfileError> {
    let mut bytes = Zeroizing::new([0; totp::MAX_SECRET]);
    let len = base32::decode(text, &mut bytes[..]).map_err(|_| ProfileError::Totp)?;
    Secret::new(&bytes[..len]).filter(|_| len >= totp::MIN_SECRET).ok_or(ProfileError::Totp)
}

/// New secrets as the options of a user, as `keygen` prints them.
///
/// # Errors
/// The system has no random numbers.
pub fn new_secrets() -> Result<Zeroizing<String>, getrandom::Error> {
    let [key, totp] = new_secret_pair()?;
    let mut options = Zeroizing::new(String::with_capacity(256));
    options.extend(["\toption key '", &key, "'\n\toption totp '", &totp, "'\n"]);
    Ok(options)
}

/// A new `key`, and a new `totp`.
///
/// # Errors
/// The system has no random numbers.
pub fn new_secret_pair() -> Result<[Zeroizing<String>; 2], getrandom::Error> {
    let mut random = Zeroizing::new([0; packet::KEY + 20]);
    getrandom::fill(&mut random[..])?;
    let (key, totp) = random.split_at(packet::KEY);
    let mut text = [0; 2 * packet::KEY];
    let key = Zeroizing::new(base64::encode(key, &mut text).expect("room for twice as much").to_owned());
    text.zeroize();
    let mut secret = Zeroizing::new(String::with_capacity(2 * totp.len()));
    secret.extend(base32::encode(totp));
    Ok([key, secret])
}

#[cfg(test)]
mod tests {
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
            (
                "ketuk://h/d?totp=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&ports=1-9".to_owned(),
                Err(ProfileError::Port),
            ),
            ("ketuk://h/d".to_owned(), Err(ProfileError::Nothing)),
            (format!("ketuk://eve\nketuk:@h/d?key={key}"), Err(ProfileError::User)),
            (format!("ketuk://\u{1b}[2J@h/d?key={key}"), Err(ProfileError::User)),
            (format!("ketuk://@h/d?key={key}"), Err(ProfileError::User)),
            (format!("ketuk://eve@home@h/d?key={key}"), Ok(())),
            ("ketuk://h/d?sequence=7000,8000:UDP,9000:tcp".to_owned(), Ok(())),
            ("ketuk://h/d?sequence=7000,".to_owned(), Err(ProfileError::Port)),
            (format!("ketuk://h/d?sequence={}", vec!["1"; 32].join(",")), Ok(())),
            (format!("ketuk://h/d?sequence={}", vec!["1"; 33].join(",")), Err(ProfileError::Steps)),
            ("ketuk://h/d?sequence=7000,8000:udp\n9000".to_owned(), Err(ProfileError::Port)),
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
}
