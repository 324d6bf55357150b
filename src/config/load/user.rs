//! `config user`, and the rules for all users in the globals. No message contains the value of a secret.

use zeroize::Zeroizing;

use super::options::{SectionOptions, Text, nearest};
#[cfg(feature = "fwknop")]
use super::value::choice;
use super::value::{blanks, boolean, number, port, port_range, seconds};
use crate::config::error::{Fault, quoted};
use crate::config::{AuthOptions, Door, MAX_NAME, User};
use crate::core::tags::MAX_SPA_AGE_S;
use crate::core::totp_knocks::MAX_PAIRS;
use crate::core::user::MAX_SECRETS;
#[cfg(feature = "fwknop")]
use crate::core::user::UserName;
#[cfg(feature = "fwknop")]
use crate::protocol::fwknop;
use crate::protocol::secret::Secret;
use crate::protocol::{base32, base64, packet, totp};

/// Reads a user. `users` are the users above in the file.
pub(super) fn read(options: &SectionOptions<'_>, doors: &[Door], users: &[User]) -> Result<User, Fault> {
    let user = User {
        name: name(options)?,
        enabled: options.one("enabled")?.map_or(Ok(true), boolean)?,
        keys: secrets(options, "key", "a key", key)?,
        totp: secrets(options, "totp", "a secret", totp_secret)?,
        #[cfg(feature = "fwknop")]
        fwknop: fwknop_keys(options)?,
        doors: door_names(options, doors)?,
        src: super::rules::src(options)?,
        other_address: options.one("other_address")?.map_or(Ok(false), boolean)?,
        require_address: options.one("require_address")?.map_or(Ok(false), boolean)?,
        #[cfg(feature = "fwknop")]
        fwknop_name: options.one("fwknop_user")?.map(fwknop_user).transpose()?,
        expires: options.one("expires")?.map(date).transpose()?,
    };
    #[cfg(not(feature = "fwknop"))]
    if !options.many("fwknop_key", blanks)?.is_empty() {
        return Err(Fault::new(options.place("fwknop_key"), "this ketukd was built without fwknop"));
    }
    for other in users {
        if let Some(option) = shared_secret(&user, other) {
            let problem = format!("this {option} is user '{}'s already", other.name);
            return Err(Fault::new(options.place(option), problem)
                .help("the two users could not be told apart: make another one with 'ketukd keygen'"));
        }
    }
    let pairs = |user: &User| user.totp.len() * user.doors.len();
    if users.iter().map(pairs).sum::<usize>() + pairs(&user) > MAX_PAIRS {
        let problem = format!("more than {MAX_PAIRS} doors with changing sequences, counted for each secret");
        return Err(Fault::new(options.place("totp"), problem).help("give this user a key instead"));
    }
    Ok(user)
}

/// Reads the options for all users from the globals.
pub(super) fn rules(options: &SectionOptions<'_>) -> Result<AuthOptions, Fault> {
    let mut auth = AuthOptions::default();
    if let Some(value) = options.one("spa_port")? {
        auth.spa_port = port(value)?;
    }
    if let Some(value) = options.one("spa_max_age")? {
        auth.max_age = seconds(value, 5, u32::try_from(MAX_SPA_AGE_S).expect("a few minutes"))?;
    }
    if let Some(value) = options.one("totp_ports")? {
        let ports = port_range(value)?;
        auth.totp_ports = totp::TotpPorts::new(ports.first(), ports.last()).ok_or_else(|| {
            let problem = format!("{} has fewer than {} ports", value.quoted(), totp::MIN_PORTS);
            value.fault(problem).help("the more ports, the harder to guess: for example 20000-29999")
        })?;
    }
    if let Some(value) = options.one("trust_clock")? {
        auth.trust_clock = boolean(value)?;
    }
    Ok(auth)
}

fn name(options: &SectionOptions<'_>) -> Result<String, Fault> {
    let name = options.name();
    if options.anonymous() {
        let fault = Fault::new(name.span, "a user needs a name");
        return Err(fault.help("name him, for example: config user 'alice'"));
    }
    if name.bytes.len() > MAX_NAME {
        let problem = format!("the name {} is longer than {MAX_NAME} characters", quoted(&name.bytes));
        return Err(Fault::new(name.span, problem));
    }
    // The parser accepts only letters, digits and _.
    Ok(String::from_utf8_lossy(&name.bytes).into_owned())
}

/// `door`, without duplicates.
fn door_names(options: &SectionOptions<'_>, doors: &[Door]) -> Result<Vec<String>, Fault> {
    let mut names: Vec<String> = Vec::new();
    for value in options.many("door", blanks)? {
        if !doors.iter().any(|door| door.name == value.text) {
            let known: Vec<_> = doors.iter().map(|door| door.name.as_str()).collect();
            let fault = value.fault(format!("there is no door {}", value.quoted()));
            return Err(match nearest(value.text.as_bytes(), &known) {
                Some(name) => fault.help(format!("did you mean '{name}'?")),
                None => fault,
            });
        }
        if !names.iter().any(|name| name == value.text) {
            names.push(value.text.to_owned());
        }
    }
    Ok(names)
}

/// The secrets of one kind.
fn secrets<T>(
    options: &SectionOptions<'_>,
    name: &str,
    what: &str,
    read: fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<T>, Fault> {
    let mut secrets = Vec::with_capacity(MAX_SECRETS);
    for value in options.many(name, blanks)? {
        if secrets.len() == MAX_SECRETS {
            return Err(value.fault(format!("more than {MAX_SECRETS} in list '{name}'")));
        }
        let secret = read(value.text);
        secrets.push(secret.map_err(|problem| value.fault(format!("this is not {what}: {problem}")))?);
    }
    Ok(secrets)
}

fn key(text: &str) -> Result<Secret<{ packet::KEY }>, &'static str> {
    let mut bytes = Zeroizing::new([0; packet::KEY]);
    let whole = base64::decode(text, &mut bytes[..]).is_some_and(|bytes| bytes.len() == packet::KEY);
    Secret::new(&bytes[..]).filter(|_| whole).ok_or("write 32 bytes in base 64, as 'ketukd keygen' does")
}

fn totp_secret(text: &str) -> Result<Secret<{ totp::MAX_SECRET }>, &'static str> {
    let mut bytes = Zeroizing::new([0; totp::MAX_SECRET]);
    let len = base32::decode(text, &mut bytes[..]).map_err(|_| "write at most 64 bytes in base 32")?;
    Secret::new(&bytes[..len])
        .filter(|_| len >= totp::MIN_SECRET)
        .ok_or("it has fewer than 16 bytes, which are 26 characters")
}

#[cfg(feature = "fwknop")]
fn fwknop_keys(options: &SectionOptions<'_>) -> Result<Vec<fwknop::FwknopKeys>, Fault> {
    const PROBLEM: &str = "write fwknop's KEY_BASE64, at most 32 bytes in base 64";
    const HMAC_PROBLEM: &str = "write fwknop's HMAC_KEY_BASE64, at most 128 bytes in base 64";
    fn read<const N: usize>(text: &str, problem: &'static str) -> Result<Secret<N>, &'static str> {
        let mut bytes = Zeroizing::new([0; N]);
        let len = base64::decode(text, &mut bytes[..]).map(<[u8]>::len);
        len.and_then(|len| Secret::new(&bytes[..len])).ok_or(problem)
    }
    let keys = secrets(options, "fwknop_key", "a key", |text| read(text, PROBLEM))?;
    let hmac_keys = secrets(options, "fwknop_hmac_key", "a key", |text| read(text, HMAC_PROBLEM))?;
    if keys.len() != hmac_keys.len() {
        let place = if keys.len() > hmac_keys.len() { "fwknop_key" } else { "fwknop_hmac_key" };
        return Err(Fault::new(options.place(place), "each fwknop_key needs its fwknop_hmac_key")
            .help("packets without an HMAC are never taken; 'fwknop --key-gen --use-hmac' makes both"));
    }
    let hmac = options.one("fwknop_hmac_type")?.map_or(Ok(fwknop::HmacType::Sha256), |value| {
        choice(value, &fwknop::HmacType::ALL.map(|hmac| (hmac.name(), hmac)))
    })?;
    Ok(keys
        .into_iter()
        .zip(hmac_keys)
        .map(|(key, hmac_key)| fwknop::FwknopKeys { key, hmac_key, hmac })
        .collect())
}

/// `fwknop_user`.
#[cfg(feature = "fwknop")]
fn fwknop_user(value: Text<'_>) -> Result<UserName, Fault> {
    UserName::try_from(value.text).map_err(|_| {
        value.fault(format!(
            "{} is longer than the {} bytes of a user name",
            value.quoted(),
            UserName::new().capacity()
        ))
    })
}

/// The option in which both users have the same secret, if there is one.
fn shared_secret(user: &User, other: &User) -> Option<&'static str> {
    #[cfg(feature = "fwknop")]
    if user.fwknop.iter().any(|keys| other.fwknop.iter().any(|theirs| theirs.hmac_key == keys.hmac_key)) {
        return Some("fwknop_hmac_key");
    }
    if user.keys.iter().any(|key| other.keys.contains(key)) {
        return Some("key");
    }
    user.totp.iter().any(|secret| other.totp.contains(secret)).then_some("totp")
}

/// Reads `YYYY-MM-DD`, the user's last day, or `YYYY-MM-DD hh:mm:ss`, the moment at which the user expires, both in
/// UTC. Returns the moment in seconds since 1970.
fn date(value: Text<'_>) -> Result<u64, Fault> {
    let fault = || {
        value.fault(format!("{} is not a date", value.quoted())).help(
            "write the last day as year-month-day, for example 2027-01-31, or a moment: 2027-01-31 18:00:00",
        )
    };
    let (day, moment) = match value.text.split_once(' ') {
        Some((day, time)) => {
            (day, Some(super::rules::time(Text { text: time, ..value }).map_err(|_| fault())?))
        }
        None => (value.text, None),
    };
    let parts: Vec<_> = day.split('-').collect();
    let [year, month, day] = parts[..] else { return Err(fault()) };
    if (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return Err(fault());
    }
    let number = |text| number(text).map(u64::from).ok_or_else(fault);
    let (year, month, day) = (number(year)?, number(month)?, number(day)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before: u64 = days_in.iter().take(usize::try_from(month).unwrap_or(0).saturating_sub(1)).sum();
    let last = usize::try_from(month).ok().and_then(|month| days_in.get(month.checked_sub(1)?));
    if year < 1970 || last.is_none_or(|last| !(1..=*last).contains(&day)) {
        return Err(fault());
    }
    let leaps_before = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let days_before = (year - 1970) * 365 + leaps_before(year) - leaps_before(1970) + before + day - 1;
    // The user may knock until the end of the last day.
    Ok(days_before * 86_400 + moment.map_or(86_400, u64::from))
}
