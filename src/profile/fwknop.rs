//! fwknop's packet in a profile: the settings of a stanza of `.fwknoprc`.

use std::net::Ipv4Addr;

use zeroize::Zeroizing;

use super::{ProfileError, base64url, from_base64url};
use crate::protocol::fwknop::{FwknopKeys, HmacType, MAX_HMAC_KEY, MAX_KEY, is_access, is_nat};

/// Longest time that fwknop's client asks for, in seconds.
pub const MAX_SECONDS: u32 = 65_536;

/// How fwknop's packet is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FwknopProfile {
    /// Both keys, and the kind of HMAC.
    pub(crate) keys: FwknopKeys,
    /// The ports that the packet asks for, as in `tcp/22,udp/51820`.
    pub(crate) access: String,
    /// The host and port behind the router, as in `192.168.1.10,22`.
    pub(crate) nat: Option<String>,
    /// The address to open for; `None`: the one that the packet comes from.
    pub(crate) address: Option<Ipv4Addr>,
    /// Seconds to open for; 0: as long as the door does.
    pub(crate) seconds: u32,
}

impl FwknopProfile {
    /// The parameters of the profile's line.
    pub(super) fn parameters(&self) -> Vec<(&'static str, Zeroizing<String>)> {
        let text = |text: &str| Zeroizing::new(text.to_owned());
        let mut parameters = vec![
            ("fwknop_key", base64url(self.keys.key.bytes())),
            ("fwknop_hmac_key", base64url(self.keys.hmac_key.bytes())),
        ];
        if self.keys.hmac != HmacType::default() {
            parameters.push(("fwknop_hmac_type", text(self.keys.hmac.name())));
        }
        parameters.push(("access", text(&self.access)));
        if let Some(nat) = &self.nat {
            parameters.push(("nat", text(nat)));
        }
        if let Some(address) = self.address {
            parameters.push(("address", text(&address.to_string())));
        }
        if self.seconds > 0 {
            parameters.push(("seconds", text(&self.seconds.to_string())));
        }
        parameters
    }

    /// Reads the parameters of a profile's line; `None` if it has no fwknop key.
    pub(super) fn from_query(query: &str) -> Result<Option<Self>, ProfileError> {
        let pairs = || query.split('&').filter_map(|parameter| parameter.split_once('='));
        let value = |name| pairs().find(|(found, _)| *found == name).map(|(_, value)| value);
        let Some(key) = value("fwknop_key") else { return Ok(None) };
        let hmac_key = value("fwknop_hmac_key").and_then(from_base64url::<MAX_HMAC_KEY>);
        let hmac = match value("fwknop_hmac_type") {
            None => Some(HmacType::default()),
            Some(name) => HmacType::ALL.into_iter().find(|hmac| hmac.name() == name),
        };
        let (Some(key), Some(hmac_key), Some(hmac)) = (from_base64url::<MAX_KEY>(key), hmac_key, hmac) else {
            return Err(ProfileError::Key);
        };
        let access = value("access").filter(|text| is_access(text)).ok_or(ProfileError::Port)?;
        let nat = value("nat");
        if nat.is_some_and(|text| !is_nat(text)) {
            return Err(ProfileError::Host);
        }
        let address =
            value("address").map(|text| text.parse().map_err(|_| ProfileError::Host)).transpose()?;
        let seconds = match value("seconds") {
            None => Some(0),
            Some(text) => text.parse().ok().filter(|seconds| *seconds <= MAX_SECONDS),
        };
        Ok(Some(Self {
            keys: FwknopKeys { key, hmac_key, hmac },
            access: access.to_owned(),
            nat: nat.map(str::to_owned),
            address,
            seconds: seconds.ok_or(ProfileError::Seconds)?,
        }))
    }
}
