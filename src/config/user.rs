//! Users: each has secrets of their own, and doors that they may open.

use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use super::{Config, FirewallFile};
use crate::core::network::Network;
use crate::core::ports::DoorSet;
use crate::core::sequence::flag;
use crate::core::user;
#[cfg(feature = "fwknop")]
use crate::core::user::UserName;
use crate::core::weakness::weakness;
#[cfg(feature = "fwknop")]
use crate::protocol::fwknop;
use crate::protocol::mac::hmac_sha256;
use crate::protocol::secret::Secret;
use crate::protocol::{SPA_PORT, packet, totp};

/// `config user 'NAME'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The section's name, with the same rules as a door's.
    pub(crate) name: String,
    /// `enabled`, on by default.
    pub(crate) enabled: bool,
    /// `key`: keys of ketuk's packet. At most [`user::MAX_SECRETS`] of each kind of secret.
    pub(crate) keys: Vec<Secret<{ packet::KEY }>>,
    /// `totp`: secrets of changing sequences.
    pub(crate) totp: Vec<Secret<{ totp::MAX_SECRET }>>,
    /// `fwknop_key` and `fwknop_hmac_key`, in pairs.
    #[cfg(feature = "fwknop")]
    pub(crate) fwknop: Vec<fwknop::FwknopKeys>,
    /// `list door`: names of doors that exist.
    pub(crate) doors: Vec<String>,
    /// `other_address`: whether the user may open a door for another address than the sender's.
    pub(crate) other_address: bool,
    /// `list src`: the networks that the user may knock from; empty means all.
    pub(crate) src: Vec<Network>,
    /// `expires`: from this moment on the user may open nothing, in seconds since 1970.
    pub(crate) expires: Option<u64>,
    /// `require_address`: whether a packet must name the address to open for.
    pub(crate) require_address: bool,
    /// `fwknop_user`: the user name that the fwknop client must send.
    #[cfg(feature = "fwknop")]
    pub(crate) fwknop_name: Option<UserName>,
}

/// The rules for all users, from `config globals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthOptions {
    /// `spa_port`: the UDP port for packets.
    pub spa_port: NonZeroU16,
    /// `spa_max_age`: the largest difference between the time in a packet and the daemon's clock.
    pub max_age: Duration,
    /// `totp_ports`: the range of changing sequences.
    pub totp_ports: totp::TotpPorts,
    /// `trust_clock`: trust the clock from the start, even if the kernel does not.
    pub trust_clock: bool,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            spa_port: NonZeroU16::new(SPA_PORT).expect("not 0"),
            max_age: Duration::from_secs(120),
            totp_ports: totp::TotpPorts::default(),
            trust_clock: false,
        }
    }
}

impl User {
    /// Whether the user has a secret.
    pub fn has_secrets(&self) -> bool {
        self.sends_packets() || !self.totp.is_empty()
    }

    /// Whether the user sends packets.
    pub fn sends_packets(&self) -> bool {
        #[cfg(feature = "fwknop")]
        if !self.fwknop.is_empty() {
            return true;
        }
        !self.keys.is_empty()
    }

    /// A number that changes with the user's secrets and does not reveal them. Never 0.
    pub fn secrets_id(&self) -> u32 {
        let of = |secret: &[u8]| {
            let mac = hmac_sha256(secret, &[b"ketuk: which secrets a user has"]);
            u32::from_be_bytes([mac[0], mac[1], mac[2], mac[3]])
        };
        let own = self.keys.iter().map(|key| of(key.bytes()));
        let totp = self.totp.iter().map(|secret| of(secret.bytes()));
        let id = own.chain(totp).fold(0, |id, one| id ^ one);
        #[cfg(feature = "fwknop")]
        let id = self
            .fwknop
            .iter()
            .map(|keys| of(keys.hmac_key.bytes()) ^ of(keys.key.bytes()).rotate_left(1))
            .fold(id, |id, one| id ^ one);
        id.max(1)
    }

    /// Whether `other` has every secret of this user.
    pub fn secrets_are_in(&self, other: &Self) -> bool {
        #[cfg(feature = "fwknop")]
        if !self.fwknop.iter().all(|keys| other.fwknop.contains(keys)) {
            return false;
        }
        self.keys.iter().all(|key| other.keys.contains(key))
            && self.totp.iter().all(|secret| other.totp.contains(secret))
    }

    /// Copies this user into the core's `known`, which has no secrets yet. No other copy of the secrets is made.
    pub fn tell_core(&self, doors: DoorSet, known: &mut user::KnownUser) {
        known.doors = doors;
        known.expires = self.expires;
        for key in &self.keys {
            let key: &[u8; packet::KEY] =
                key.bytes().try_into().expect("the configuration checks its length");
            // There is room, because the configuration has no more keys.
            let _ = known.keys.push(packet::Keys::derive(key));
        }
        known.totp.extend(self.totp.iter().take(user::MAX_SECRETS).cloned());
        #[cfg(feature = "fwknop")]
        {
            known.fwknop.extend(self.fwknop.iter().take(user::MAX_SECRETS).cloned());
            known.fwknop_user.clone_from(&self.fwknop_name);
        }
    }
}

/// Warnings about a valid configuration that is probably a mistake. `path` is its file, and `firewall` the firewall's.
pub fn warnings(path: &Path, firewall: &FirewallFile, config: &Config) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut warnings = Vec::new();
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    let holds = if config.users.iter().any(User::has_secrets) {
        Some("users' secrets")
    } else {
        config.doors.iter().any(super::Door::has_sequence).then_some("doors' sequences")
    };
    if let (Some(holds), true) = (holds, mode & 0o044 != 0) {
        let path = path.display();
        warnings.push(format!("{path} holds {holds}, and others may read it: chmod 600 {path}"));
    }
    if config.doors.is_empty() {
        warnings.push("there is no door: nothing can be opened".to_owned());
    }
    for door in config.doors.iter().filter(|door| door.enabled) {
        if let Some(step) = door.opens_own_step() {
            warnings.push(format!(
                "door '{}' opens port {}, which is also a step of its sequence: choose another port for the sequence",
                door.name, step.port
            ));
        }
    }
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_s = now_s.map_or(0, |since| since.as_secs());
    for user in config.users.iter().filter(|user| user.enabled) {
        if user.expires.is_some_and(|expires| expires <= now_s) {
            warnings.push(format!("user '{}' has expired: he may open nothing", user.name));
        }
    }
    for door in config.doors.iter().filter(|door| door.enabled && !door.has_sequence()) {
        if !config.users.iter().any(|user| user.enabled && user.doors.contains(&door.name)) {
            warnings.push(format!("door '{}' has no sequence, and no user may open it", door.name));
        }
    }
    for (door, file) in config.doors.iter().filter_map(|door| Some((&door.name, door.one_time.as_ref()?))) {
        if let Err(error) = std::fs::metadata(file) {
            warnings.push(format!("door '{door}' has no sequences: {}: {error}", file.display()));
        }
    }
    warnings.extend(sequence_warnings(config));
    let without_backend = config.globals.backend == super::BackendOption::None;
    for door in config.doors.iter().filter(|door| door.enabled && without_backend) {
        if door.opening.is_some() {
            warnings.push(format!(
                "door '{}' opens no port with backend 'none': only commands are run",
                door.name
            ));
        }
    }
    for user in config.users.iter().filter(|user| user.enabled) {
        let name = &user.name;
        if !user.has_secrets() {
            warnings.push(format!("user '{name}' has no secret: give him a key, see 'ketukd keygen'"));
        }
        if user.doors.is_empty() {
            warnings.push(format!("user '{name}' may open no door: add list door"));
        }
    }
    warnings.extend(firewall.warnings(config));
    warnings
}

/// Warnings about weak sequences.
pub fn sequence_warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for door in config.doors.iter().filter(|door| door.enabled) {
        // A door that shuts others may be hit by a scan without harm.
        let weakness = weakness(&door.knock.sequence).filter(|_| door.closes.is_empty());
        warnings.extend(weakness.map(|weakness| {
            format!("door '{}' {weakness}: 'ketukd keygen' prints a random sequence", door.name)
        }));
        let both = flag::SYN | flag::ACK;
        if door.knock.tcp_flags.value() & both == both {
            warnings.push(format!(
                "door '{}' asks for SYN and ACK, but no client's first segment has both: leave tcpflags out",
                door.name
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::load;

    #[test]
    fn the_number_of_a_users_secrets_changes_with_them() {
        let id = |secrets: &str| {
            let text = format!("config user a\n{secrets}");
            crate::config::parse("test", text.as_bytes()).unwrap().users[0].secrets_id()
        };
        let key = |letter: &str| format!("l key {}\n", letter.repeat(43));
        let [a, both, other] = [key("A"), key("A") + &key("E"), key("I")].map(|secrets| id(&secrets));
        assert!(a != both && a != other && both != other && a != 0, "{a} {both} {other}");
        assert_eq!(id(&(key("E") + &key("A"))), both, "the order does not matter");
        assert_eq!(id(""), 1);
    }

    #[test]
    fn what_is_probably_not_meant() {
        let path = std::env::temp_dir().join(format!("ketuk-warnings-{}", std::process::id()));
        let key = "A".repeat(43);
        let text = format!(
            "config door a\no dest_port 1\nconfig door b\no dest_port 1\no one_time_sequences /nowhere/at/all\n\
             config door f\no sequence '7000 8000 9000'\no dest_port 1\nconfig door g\no enabled 0\no sequence 7\no dest_port 1\n\
             config door h\no sequence '7 9'\no action close\nl door f\nconfig door i\no sequence '71 92 23'\no tcpflags 'syn,ack'\no dest_port 1\n\
             config user c\no key {key}\nconfig user d\nl door b\nconfig user e\no enabled 0\n"
        );
        std::fs::write(&path, text).unwrap();
        let said = |mode: u32| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            warnings(&path, &FirewallFile::beside(&path), &load(&path).unwrap())
        };
        let expected = [
            "door 'a' has no sequence, and no user may open it",
            "door 'b' has no sequences: /nowhere/at/all: No such file or directory (os error 2)",
            "door 'f' has the same distance between its ports: a scan with this stride opens it: 'ketukd keygen' prints a random sequence",
            "door 'i' asks for SYN and ACK, but no client's first segment has both: leave tcpflags out",
            "user 'c' may open no door: add list door",
            "user 'd' has no secret: give him a key, see 'ketukd keygen'",
        ];
        assert_eq!(said(0o600), expected);
        assert!(said(0o644)[0].ends_with(&format!("others may read it: chmod 600 {}", path.display())));
        std::fs::remove_file(&path).unwrap();
    }
}
