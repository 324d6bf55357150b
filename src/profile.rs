//! Profiles: everything that a client must know about a router, in one line (docs/protocol.md, "Profiles").
//!
//! `ketukd invite` writes profiles, `ketuk add` reads them, and a client stores them unchanged.
#![forbid(unsafe_code)]

pub mod fwknop;

use std::fmt;
use std::str::FromStr;

use zeroize::{Zeroize as _, Zeroizing};

use self::fwknop::FwknopProfile;
use crate::protocol::secret::Secret;
use crate::protocol::{Protocol, SPA_PORT, base32, base64, is_door, packet, totp};

const SCHEME: &str = "ketuk://";

/// Most steps of a plain sequence, the same as for a door. So a profile from a stranger cannot make the client scan.
const MAX_STEPS: usize = 32;

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The user's name, for people to read.
    pub user: Option<String>,
    /// The host's name or address. An IPv6 address is in brackets.
    pub host: String,
    /// The doors, at least one.
    pub doors: Vec<ProfileDoor>,
    /// The key of ketuk's packet.
    pub key: Option<Secret<{ packet::KEY }>>,
    /// The UDP port for the packet, ketuk's or fwknop's.
    pub port: u16,
    /// The settings of fwknop's packet.
    pub fwknop: Option<FwknopProfile>,
    /// The secret of changing sequences.
    pub totp: Option<Secret<{ totp::MAX_SECRET }>>,
    /// The ports of changing sequences.
    pub range: totp::TotpPorts,
    /// The steps of a plain sequence, each `PORT[:tcp|:udp]`.
    pub sequence: Vec<String>,
}

/// The methods of knocking, the preferred one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileKind {
    /// ketuk's packet.
    Packet,
    /// fwknop's packet.
    Fwknop,
    /// A changing sequence.
    ChangingSequence,
    /// A plain sequence.
    Sequence,
}

/// A door of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileDoor {
    /// The door's name.
    pub(crate) name: String,
    /// A TCP port that answers while the door is open.
    pub port: Option<u16>,
}

/// Why a text is not a profile. The error quotes nothing of the text, which may contain secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileError {
    /// It does not begin with `ketuk://`.
    Scheme,
    /// It has more than one line.
    Lines,
    /// The user's name has impossible characters.
    User,
    /// The host is missing or has impossible characters.
    Host,
    /// A door is missing, or its name is impossible.
    Door,
    /// A key is not 32 bytes in base 64, or not a key of fwknop.
    Key,
    /// The secret is not 16 to 64 bytes in base 32.
    Totp,
    /// A port or a range of ports is wrong.
    Port,
    /// A time that fwknop's packet cannot carry.
    Seconds,
    /// More steps than a sequence may have.
    Steps,
    /// The profile has no secret and no sequence.
    Nothing,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a profile begins with ketuk://",
            Self::Lines => {
                "there is a line break in the profile, which must be one line: paste it without the break"
            }
            Self::User => "the profile's user is not a name",
            Self::Host => {
                "the profile names no host: is the line whole? It begins with ketuk://USER@HOST/DOOR?"
            }
            Self::Door => {
                "the profile names no door: is the line whole? It begins with ketuk://USER@HOST/DOOR?"
            }
            Self::Key => "the profile's key is wrong: is the line whole?",
            Self::Totp => "the profile's totp secret is wrong: is the line whole?",
            Self::Port => "one of the profile's ports is not a port (1 to 65535)",
            Self::Seconds => "the profile's seconds are not a number that fwknop's packet can carry",
            Self::Steps => "the profile's sequence has more than 32 steps",
            Self::Nothing => {
                "the profile has neither a key nor a totp secret nor a sequence: is the line whole?"
            }
        })
    }
}

impl std::error::Error for ProfileError {}

impl Profile {
    /// A profile that has no secrets and no sequence yet.
    pub fn new(user: Option<String>, host: String, doors: Vec<ProfileDoor>) -> Self {
        Self {
            user,
            host,
            doors,
            key: None,
            port: SPA_PORT,
            fwknop: None,
            totp: None,
            range: totp::TotpPorts::default(),
            sequence: Vec::new(),
        }
    }

    /// The strongest method that the profile has.
    pub fn kind(&self) -> ProfileKind {
        if self.key.is_some() {
            ProfileKind::Packet
        } else if self.fwknop.is_some() {
            ProfileKind::Fwknop
        } else if self.totp.is_some() {
            ProfileKind::ChangingSequence
        } else {
            ProfileKind::Sequence
        }
    }

    /// The profile as a line.
    pub fn to_line(&self) -> Zeroizing<String> {
        // The capacity is reserved, because growing would leave copies of the secrets in memory.
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
            line.extend([parameter("key").as_str(), &base64url(key.bytes())]);
        }
        for (name, value) in self.fwknop.iter().flat_map(FwknopProfile::parameters) {
            line.extend([parameter(name).as_str(), &value]);
        }
        if self.port != SPA_PORT && (self.key.is_some() || self.fwknop.is_some()) {
            line.extend([parameter("port"), self.port.to_string()]);
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
        if rest.contains(['\n', '\r']) {
            return Err(ProfileError::Lines);
        }
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = address.split_once('/').ok_or(ProfileError::Door)?;
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, authority),
        };
        // A name is shown in lists, and a profile is one line of a file.
        if user.as_ref().is_some_and(|user| !is_user(user)) {
            return Err(ProfileError::User);
        }
        if !is_host(host) {
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
        profile.fwknop = FwknopProfile::from_query(query)?;
        let has_secret = profile.key.is_some() || profile.fwknop.is_some() || profile.totp.is_some();
        if !has_secret && profile.sequence.is_empty() {
            return Err(ProfileError::Nothing);
        }
        Ok(profile)
    }
}

/// Longest name of a user, in bytes (fwknop: `MAX_SPA_USERNAME_SIZE`).
const MAX_USER: usize = 64;

/// Whether a text can be a user's name.
pub fn is_user(text: &str) -> bool {
    let of_a_user = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    (1..=MAX_USER).contains(&text.len()) && text.bytes().all(of_a_user)
}

/// Whether a text can be a host: a name, an IPv4 address, or an IPv6 address in brackets.
pub fn is_host(text: &str) -> bool {
    let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(of_a_host)
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
    let whole = |key: &Secret<{ packet::KEY }>| key.bytes().len() == packet::KEY;
    from_base64url(text).filter(whole).ok_or(ProfileError::Key)
}

/// Base 64 in the form for URLs (RFC 4648, section 5), without `=`.
fn base64url(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new([0; 2 * crate::protocol::fwknop::MAX_HMAC_KEY]);
    let text = base64::encode(bytes, &mut text[..]).expect("room for twice as much");
    let mut url = Zeroizing::new(String::with_capacity(text.len()));
    url.extend(text.trim_end_matches('=').chars().map(|c| match c {
        '+' => '-',
        '/' => '_',
        c => c,
    }));
    url
}

fn from_base64url<const N: usize>(text: &str) -> Option<Secret<N>> {
    let standard: Zeroizing<String> = Zeroizing::new(text.replace('-', "+").replace('_', "/"));
    let mut bytes = Zeroizing::new([0; N]);
    base64::decode(&standard, &mut bytes[..]).and_then(Secret::new)
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
mod tests;
