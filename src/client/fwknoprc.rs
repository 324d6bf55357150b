//! Reads `.fwknoprc`, the file of fwknop's client. Its stanzas become profiles.
//!
//! A stanza is a `[NAME]` and the lines after it, each `KEY VALUE`. Stanza `[default]` applies to all others. A stanza
//! that asks for something that this client does not do is refused. Each reason is given with its line.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::profile::fwknop::{FwknopProfile, MAX_SECONDS};
use crate::profile::{Profile, ProfileDoor, is_host, is_user};
use crate::protocol::fwknop::{FwknopKeys, HmacType, MAX_HMAC_KEY, MAX_KEY, is_access, is_nat};
use crate::protocol::secret::Secret;
use crate::protocol::{SPA_PORT, base64};
use zeroize::Zeroizing;

/// The stanza that applies to all others.
const DEFAULT: &str = "default";
/// Keys that are ignored, because they do not change the request. `DIGEST_TYPE` is the digest inside the packet, which
/// adds nothing to the HMAC.
const WITHOUT_EFFECT: &[&str] = &[
    "DIGEST_TYPE",
    "GPG_EXE",
    "GPG_HOMEDIR",
    "GPG_NO_SIGNING_PW",
    "GPG_RECIPIENT",
    "GPG_SIGNER",
    "GPG_SIGNING_PW",
    "GPG_SIGNING_PW_BASE64",
    "HTTP_USER_AGENT",
    "NO_SAVE_ARGS",
    "RESOLVE_HTTP_ONLY",
    "RESOLVE_URL",
    "SERVER_RESOLVE_IPV4",
    "USE_HMAC",
    "USE_WGET_USER_AGENT",
    "VERBOSE",
    "WGET_CMD",
];
/// Keys that [`RcStanza::profile`] reads.
const READ: &[&str] = &[
    "ACCESS",
    "ALLOW_IP",
    "ENCRYPTION_MODE",
    "FW_TIMEOUT",
    "HMAC_DIGEST_TYPE",
    "HMAC_KEY",
    "HMAC_KEY_BASE64",
    "KEY",
    "KEY_BASE64",
    "NAT_ACCESS",
    "SPA_SERVER",
    "SPA_SERVER_PORT",
    "SPA_SERVER_PROTO",
    "SPOOF_USER",
];
/// Keys that ask for something that this client does not do, if their value means yes.
const SWITCHES: &[(&str, &str)] = &[
    (
        "NAT_LOCAL",
        "ketuk asks for ports of the router without NAT_LOCAL: leave the line out if the router's access.conf allows that",
    ),
    ("NAT_RAND_PORT", "ketuk asks for the ports that the stanza names"),
    ("RAND_PORT", "ketuk sends to one port"),
    ("RESOLVE_IP_HTTP", RESOLVE),
    ("RESOLVE_IP_HTTPS", RESOLVE),
    ("USE_GPG", "ketuk encrypts with KEY only"),
    ("USE_GPG_AGENT", "ketuk encrypts with KEY only"),
];
/// Keys that ask for something that this client does not do, unless their value is 0.
const VALUES: &[(&str, &str)] = &[
    ("HMAC_KEY_FILE", "write the key into the stanza, as HMAC_KEY_BASE64"),
    ("KEY_FILE", "write the key into the stanza, as KEY_BASE64"),
    ("NAT_PORT", "ketuk asks for ports of the router without NAT_PORT"),
    ("SPA_SOURCE_PORT", "ketuk sends from any port"),
    ("SPOOF_SOURCE_IP", "ketuk sends from addresses of this machine"),
    ("TIME_OFFSET", "set this machine's clock"),
];
const RESOLVE: &str = "ketuk does not ask a web page for its address: write ALLOW_IP source, or an address";

/// A profile, and the name of its stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name as written.
    pub(crate) name: String,
    /// The profile.
    pub profile: Profile,
}

/// Whether the text may be a `.fwknoprc`: whether it has a stanza.
pub fn has_stanza(text: &str) -> bool {
    text.lines().any(|line| stanza_name(line).is_some())
}

/// Reads the stanza `wanted`, or all stanzas. If the file has only one stanza, it is read whatever its name. `login` is
/// the user name for packets if the stanza has no `SPOOF_USER`.
///
/// # Errors
/// The settings that cannot be carried over, each with its line. No error shows a key.
pub fn read(file: &str, text: &str, wanted: Option<&str>, login: Option<&str>) -> Result<Vec<Named>, String> {
    let stanzas = stanzas(text).map_err(|refusal| refusal.at(file))?;
    let (default, mut named): (Vec<_>, Vec<_>) = stanzas.into_iter().partition(|stanza| stanza.is(DEFAULT));
    let default: Vec<_> = default.into_iter().flat_map(|stanza| stanza.settings).collect();
    if let Some(wanted) = wanted.filter(|_| named.len() != 1) {
        let there: Vec<_> = named.iter().map(|stanza| stanza.name.clone()).collect();
        named.retain(|stanza| stanza.is(wanted));
        if named.is_empty() {
            return Err(format!("{file} has no stanza '{wanted}'; it has: {}", there.join(", ")));
        }
    }
    if named.is_empty() {
        return Err(format!("{file} has no stanza but [{DEFAULT}], and [{DEFAULT}] names no host"));
    }
    let (mut read, mut refused) = (Vec::new(), String::new());
    for stanza in &named {
        let mut refusals = Vec::new();
        match stanza.profile(&default, login, &mut refusals) {
            Some(profile) if refusals.is_empty() => read.push(Named { name: stanza.name.clone(), profile }),
            _ => {}
        }
        for refusal in refusals {
            let _ = writeln!(refused, "{}", refusal.at(file));
        }
    }
    if refused.is_empty() {
        return Ok(read);
    }
    let hint =
        if named.len() > 1 { format!("; 'ketuk add {file} NAME' takes one stanza") } else { String::new() };
    Err(format!("{refused}nothing was added{hint}"))
}

/// Why a stanza cannot be carried over.
struct StanzaRefusal {
    line: usize,
    why: String,
}

impl StanzaRefusal {
    fn at(&self, file: &str) -> String {
        format!("{file}:{}: {}", self.line, self.why)
    }
}

struct RcSetting<'t> {
    line: usize,
    key: &'t str,
    value: &'t str,
}

struct RcStanza<'t> {
    line: usize,
    name: String,
    settings: Vec<RcSetting<'t>>,
}

/// The name in `[NAME]`.
fn stanza_name(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.split_once(']').map(|(name, _)| name.trim())
}

/// The stanzas of the file. As in fwknop's client, lines before the first stanza are ignored.
fn stanzas(text: &str) -> Result<Vec<RcStanza<'_>>, StanzaRefusal> {
    let mut stanzas = Vec::<RcStanza<'_>>::new();
    for (line, content) in (1..).zip(text.lines()) {
        let trimmed = content.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = stanza_name(trimmed) {
            stanzas.push(RcStanza { line, name: name.to_owned(), settings: Vec::new() });
            continue;
        }
        let Some(stanza) = stanzas.last_mut() else { continue };
        let refused = |why: String| StanzaRefusal { line, why };
        let (key, rest) = trimmed
            .split_once(char::is_whitespace)
            .ok_or_else(|| refused("the key has no value".to_owned()))?;
        let key = key.trim_end_matches(':');
        let rest = rest.trim_start();
        let (value, behind) = rest.split_at(rest.find([' ', '\t', ';', '#']).unwrap_or(rest.len()));
        let behind = behind.trim_start();
        if value.is_empty() || !(behind.is_empty() || behind.starts_with([';', '#'])) {
            return Err(refused(format!("the value of {key} is one word, without spaces")));
        }
        stanza.settings.push(RcSetting { line, key, value });
    }
    Ok(stanzas)
}

impl<'t> RcStanza<'t> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The stanza as a profile. If a key is written twice, the last one counts.
    fn profile(
        &self,
        default: &[RcSetting<'t>],
        login: Option<&str>,
        refusals: &mut Vec<StanzaRefusal>,
    ) -> Option<Profile> {
        let all = || default.iter().chain(&self.settings);
        all().filter_map(unknown).for_each(|refusal| refusals.push(refusal));
        let last = |key: &str| all().rfind(|setting| setting.key == key);
        // Notes why a value cannot be read.
        let mut refuse = |setting: &RcSetting<'_>, why: &str| {
            refusals.push(StanzaRefusal { line: setting.line, why: format!("{}: {why}", setting.key) });
        };
        let mut checked = |key: &str, fits: &dyn Fn(&str) -> bool, why: &str| -> Option<&'t str> {
            let setting = last(key)?;
            if fits(setting.value) {
                return Some(setting.value);
            }
            refuse(setting, why);
            None
        };
        let is_udp = |value: &str| value.eq_ignore_ascii_case("udp");
        checked("SPA_SERVER_PROTO", &is_udp, "ketuk sends fwknop's packet over UDP only");
        let is_cbc = |value: &str| value.eq_ignore_ascii_case("cbc");
        checked("ENCRYPTION_MODE", &is_cbc, "ketuk encrypts in CBC mode only");
        let host = checked("SPA_SERVER", &is_host, "that is no host");
        let is_port = |value: &str| value.parse::<u16>().is_ok_and(|port| port > 0);
        let port = checked("SPA_SERVER_PORT", &is_port, "that is no port");
        let access = checked("ACCESS", &is_access, "1 to 8 ports, as in tcp/22,udp/51820");
        let nat = checked(
            "NAT_ACCESS",
            &|value| is_nat(&packet_nat(value)),
            "a host and a port, as in 192.168.1.10,22",
        );
        let is_time = |value: &str| value.parse::<u32>().is_ok_and(|seconds| seconds <= MAX_SECONDS);
        let seconds = checked("FW_TIMEOUT", &is_time, "that is no number of seconds up to 65536");
        let is_source = |value: &str| value.eq_ignore_ascii_case("source");
        let is_address = |value: &str| is_source(value) || value.parse::<Ipv4Addr>().is_ok();
        let why = match last("ALLOW_IP") {
            Some(setting) if setting.value.eq_ignore_ascii_case("resolve") => RESOLVE,
            _ => "that is no IPv4 address",
        };
        let address = checked("ALLOW_IP", &is_address, why);
        let user = checked("SPOOF_USER", &is_user, "that is no name");
        let hmac_of =
            |value: &str| HmacType::ALL.into_iter().find(|hmac| hmac.name().eq_ignore_ascii_case(value));
        let is_hmac = |value: &str| hmac_of(value).is_some();
        let hmac = checked("HMAC_DIGEST_TYPE", &is_hmac, "md5, sha1, sha256, sha384 or sha512");
        let key = secret::<MAX_KEY>(last("KEY_BASE64"), last("KEY"), refusals);
        let hmac_key = secret::<MAX_HMAC_KEY>(last("HMAC_KEY_BASE64"), last("HMAC_KEY"), refusals);
        for (is_there, what) in [
            (last("SPA_SERVER").is_some(), "SPA_SERVER, the host to send to"),
            (last("ACCESS").is_some(), "ACCESS, the ports to ask for"),
            (last("KEY").or(last("KEY_BASE64")).is_some(), "KEY_BASE64, the key that encrypts the packet"),
            (
                last("HMAC_KEY").or(last("HMAC_KEY_BASE64")).is_some(),
                "HMAC_KEY_BASE64: no packet is accepted without an HMAC",
            ),
        ] {
            if !is_there {
                refusals.push(StanzaRefusal {
                    line: self.line,
                    why: format!("stanza [{}] lacks {what}", self.name),
                });
            }
        }
        let access = access?.to_owned();
        let mut profile =
            Profile::new(user.or(login).map(str::to_owned), host?.to_owned(), vec![door(&access)]);
        profile.port = port.and_then(|port| port.parse().ok()).unwrap_or(SPA_PORT);
        profile.fwknop = Some(FwknopProfile {
            keys: FwknopKeys {
                key: key?,
                hmac_key: hmac_key?,
                hmac: hmac.and_then(hmac_of).unwrap_or_default(),
            },
            access,
            nat: nat.map(packet_nat),
            address: address.and_then(|address| address.parse().ok()),
            seconds: seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(0),
        });
        Some(profile)
    }
}

/// Why a setting cannot be carried over.
fn unknown(setting: &RcSetting<'_>) -> Option<StanzaRefusal> {
    let RcSetting { line, key, value } = setting;
    let refused = |why: &str| Some(StanzaRefusal { line: *line, why: format!("{key}: {why}") });
    let find = |list: &[(&str, &'static str)]| list.iter().find(|(name, _)| name == key).map(|(_, why)| *why);
    if let Some(why) = find(SWITCHES) {
        return if value.starts_with(['y', 'Y']) { refused(why) } else { None };
    }
    if let Some(why) = find(VALUES) {
        return if *value == "0" { None } else { refused(why) };
    }
    if READ.contains(key) || WITHOUT_EFFECT.contains(key) {
        None
    } else {
        refused("ketuk does not know this")
    }
}

/// The door that a packet opens. It is named after its first port, as `ketukd import` does.
fn door(access: &str) -> ProfileDoor {
    let first = access.split(',').next().unwrap_or_default();
    let tcp = access.split(',').find_map(|item| item.strip_prefix("tcp/"));
    ProfileDoor { name: first.replace('/', "_"), port: tcp.and_then(|port| port.parse().ok()) }
}

/// `NAT_ACCESS` in the packet's form. fwknop's client also takes and saves `192.168.1.10:22`.
fn packet_nat(value: &str) -> String {
    value.replacen(':', ",", 1)
}

/// Reads a key. If both forms are given, the one in base 64 counts, as in fwknop's client.
fn secret<const N: usize>(
    encoded: Option<&RcSetting<'_>>,
    plain: Option<&RcSetting<'_>>,
    refusals: &mut Vec<StanzaRefusal>,
) -> Option<Secret<N>> {
    let setting = encoded.or(plain)?;
    let mut bytes = Zeroizing::new([0; N]);
    let bytes = if encoded.is_some() {
        base64::decode(setting.value, &mut bytes[..])
    } else {
        Some(setting.value.as_bytes())
    };
    let secret = bytes.and_then(Secret::new);
    if secret.is_none() {
        let notation = if encoded.is_some() { " in base 64" } else { "" };
        let why = format!("{}: a key has 1 to {N} bytes{notation}", setting.key);
        refusals.push(StanzaRefusal { line: setting.line, why });
    }
    secret
}

#[cfg(test)]
mod tests;
