//! Why a knock or a request opens nothing: each reason has one name and one sentence.

use core::fmt;

use crate::user::UserId;

/// Why a knock or a request opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// It has the form of neither ketuk's packet nor fwknop's.
    Form,
    /// No user has a key for it.
    Unknown,
    /// It has a user's tag, but was not made with that user's key.
    Forged,
    /// Its source failed too often, or all sources together did.
    Limited,
    /// This host does not know the time.
    NoClock,
    /// Its time is too far from this host's.
    Age,
    /// It was taken before, or it is from before the start.
    Replay,
    /// The user's time is over.
    Expired,
    /// It is authentic, but its content is not in the format of a client.
    Rules,
    /// It asks for a command.
    Command,
    /// It asks for a door that is not there, or that the user may not open.
    Door,
    /// It asks to open for an address that is not its source, which the user may not.
    Address,
    /// It does not name the address to open for, which this user's packets must.
    NoAddress,
    /// It names no port, and the door opens only the port that is asked for.
    NoPort,
    /// It comes from a network that the user may not knock from.
    Source,
    /// It was made with a user's key, but with another type of HMAC.
    Digest,
    /// It is encrypted with another key than the user's.
    Key,
    /// It is encrypted in another mode than CBC.
    Mode,
    /// It is of another version of fwknop's protocol.
    Version,
    /// It does not carry the user name that the configuration asks for.
    UserName,
    /// It asks for too many ports, or for protocols other than TCP and UDP.
    Ports,
    /// It looks like a packet that is encrypted with GnuPG.
    Gnupg,
    /// The time of the newest packet could not be stored for the next start.
    Memory,
    /// The door's `src` does not contain the address.
    DoorSource,
    /// The door may not be opened at this hour.
    Hours,
    /// Doors were opened too often just now.
    OpenRate,
    /// Too many grants exist.
    GrantsFull,
    /// Too many commands wait.
    CommandsFull,
    /// The line of the one-time sequence could not be marked as used.
    Line,
    /// There is no such door, or it is disabled.
    NoDoor,
    /// The door opens nothing: its knock shuts others.
    Closing,
    /// The address cannot be another host's.
    NoHost,
    /// The firewall would not take the change.
    Firewall,
}

impl Refusal {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 33] = [
        Self::Form,
        Self::Unknown,
        Self::Forged,
        Self::Limited,
        Self::NoClock,
        Self::Age,
        Self::Replay,
        Self::Expired,
        Self::Rules,
        Self::Command,
        Self::Door,
        Self::Address,
        Self::NoAddress,
        Self::NoPort,
        Self::Source,
        Self::Digest,
        Self::Key,
        Self::Mode,
        Self::Version,
        Self::UserName,
        Self::Ports,
        Self::Gnupg,
        Self::Memory,
        Self::DoorSource,
        Self::Hours,
        Self::OpenRate,
        Self::GrantsFull,
        Self::CommandsFull,
        Self::Line,
        Self::NoDoor,
        Self::Closing,
        Self::NoHost,
        Self::Firewall,
    ];

    /// The counter's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form => "auth_form",
            Self::Unknown => "auth_unknown",
            Self::Forged => "auth_forged",
            Self::Limited => "auth_limited",
            Self::NoClock => "auth_no_clock",
            Self::Age => "auth_age",
            Self::Replay => "auth_replay",
            Self::Expired => "auth_expired",
            Self::Rules => "auth_rules",
            Self::Command => "auth_command",
            Self::Door => "auth_door",
            Self::Address => "auth_address",
            Self::NoAddress => "auth_no_address",
            Self::NoPort => "auth_no_port",
            Self::Source => "auth_source",
            Self::Digest => "auth_digest",
            Self::Key => "auth_key",
            Self::Mode => "auth_mode",
            Self::Version => "auth_version",
            Self::UserName => "auth_user_name",
            Self::Ports => "auth_ports",
            Self::Gnupg => "auth_gnupg",
            Self::Memory => "auth_memory",
            Self::DoorSource => "not_from_src",
            Self::Hours => "not_in_hours",
            Self::OpenRate => "open_rate",
            Self::GrantsFull => "grants_full",
            Self::CommandsFull => "commands_full",
            Self::Line => "one_time_line",
            Self::NoDoor => "no_such_door",
            Self::Closing => "closing_door",
            Self::NoHost => "no_host",
            Self::Firewall => "not_in_firewall",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "it is neither ketuk's packet nor fwknop's",
            Self::Unknown => "no user's key fits it",
            Self::Forged => "it has a user's tag, but was not made with the user's key",
            Self::Limited => "too many packets without a valid key came",
            Self::NoClock => "this host does not know the time",
            Self::Age => "its time is too far from this host's: are both clocks right?",
            Self::Replay => "it was used before, or made before ketukd started",
            Self::Expired => "the user has expired",
            Self::Rules => "its fields are not as a client writes them",
            Self::Command => "it asks for a command, and commands are never run",
            Self::Door => "it asks for something that the user may not open",
            Self::Address => "it asks for another address, and the user has no other_address '1'",
            Self::NoAddress => "it does not name its address, which the user's require_address '1' asks for",
            Self::NoPort => "it names no port, and the door has any_port '1': ask with an fwknop client",
            Self::Source => "it comes from outside of the user's list src",
            Self::Digest => "its HMAC is of another type than the user's fwknop_hmac_type",
            Self::Key => "the user's fwknop_key differs from the client's key",
            Self::Mode => "it is encrypted in another mode than CBC, the client's default: use no -M",
            Self::Version => "it is of another version of fwknop's protocol than 3",
            Self::UserName => "it does not carry the user's fwknop_user",
            Self::Ports => "it asks for more than 8 ports, or for others than TCP and UDP",
            Self::Gnupg => {
                "it seems to be encrypted with GnuPG, which is not supported: use a key and an HMAC key"
            }
            Self::Memory => "the time of the newest packet cannot be kept beside the control socket",
            Self::DoorSource => "the door's src does not allow this address",
            Self::Hours => "the door may not be opened at this hour",
            Self::OpenRate => "too many doors were opened just now",
            Self::GrantsFull => "too many addresses are let in already",
            Self::CommandsFull => "too many commands are waiting",
            Self::Line => "the line of the one-time sequence could not be marked as used",
            Self::NoDoor => "there is no such door",
            Self::Closing => "the door opens nothing: its knock shuts other doors",
            Self::NoHost => "this is not the address of a host",
            Self::Firewall => "the firewall does not have the entry",
        })
    }
}

impl Refusal {
    /// This refusal of a knock that is proved to be this user's.
    pub const fn of(self, user: UserId) -> Refused {
        Refused { refusal: self, user: Some(user) }
    }
}

/// A knock that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The user whose knock it was, if the knock proved one.
    pub user: Option<UserId>,
}

impl From<Refusal> for Refused {
    /// The refusal of a knock that may be anybody's.
    fn from(refusal: Refusal) -> Self {
        Self { refusal, user: None }
    }
}
