//! `config globals`.

use std::path::PathBuf;

use super::options::{SectionOptions, Text, is_blank};
use super::value::{blanks, boolean, choice, ports_of_both, seconds};
use crate::config::device;
use crate::config::error::Fault;
use crate::config::{
    BackendOption, Globals, HAS_IPTABLES, LogLevel, MAX_DEVICES, MAX_OPEN_TIME_S, MAX_TRAP_EXCEPT, NftTable,
    OnStop, TableFamily,
};
use crate::core::sequence::Step;

/// Longest table name, in bytes (Linux: `NFT_NAME_MAXLEN` without the final zero).
const MAX_TABLE_NAME: usize = 255;

/// Reads the globals, and the `on_stop` that doors without their own take from them.
pub(super) fn read(options: Option<&SectionOptions<'_>>) -> Result<(Globals, OnStop), Fault> {
    let mut globals = Globals::default();
    let Some(options) = options else { return Ok((globals, OnStop::Shut)) };

    if let Some(value) = options.one("enabled")? {
        globals.enabled = boolean(value)?;
    }
    globals.networks = names(options, "network", network)?;
    globals.devices = names(options, "device", device)?;
    if let Some(value) = options.one("nft_table")? {
        globals.nft_table = Some(table(value)?);
    }
    if let Some(value) = options.one("backend")? {
        globals.backend = choice(
            value,
            &[
                ("auto", BackendOption::Auto),
                ("fw4", BackendOption::Fw4),
                ("nft", BackendOption::Nft),
                ("own", BackendOption::Own),
                ("iptables", BackendOption::Iptables),
                ("none", BackendOption::None),
            ],
        )?;
        if globals.backend == BackendOption::Iptables && !HAS_IPTABLES {
            return Err(value
                .fault("this ketukd was built without backend 'iptables'")
                .help("install the whole ketukd, or remove this option on a router with fw4"));
        }
        if globals.backend == BackendOption::Own && globals.nft_table.is_some() {
            return Err(value
                .fault("backend 'own' has a table of its own, and takes no nft_table")
                .help("remove one of the two options"));
        }
        if globals.backend == BackendOption::Nft && globals.nft_table.is_none() {
            return Err(value
                .fault("backend 'nft' needs a table")
                .help("name it, for example: option nft_table 'inet filter'"));
        }
    }
    if let Some(value) = options.one("log_level")? {
        globals.log_level = choice(
            value,
            &[
                ("error", LogLevel::Error),
                ("warn", LogLevel::Warn),
                ("notice", LogLevel::Notice),
                ("info", LogLevel::Info),
                ("debug", LogLevel::Debug),
            ],
        )?;
    }
    if let Some(value) = options.one("log_file")? {
        if !value.text.starts_with('/') {
            return Err(value.fault(format!("{} is not an absolute path", value.quoted())));
        }
        globals.log_file = Some(PathBuf::from(value.text));
    }
    if let Some(value) = options.one("command_timeout")? {
        // 0 means no limit, as in the times of a door.
        globals.command_timeout = Some(seconds(value, 0, MAX_OPEN_TIME_S)?).filter(|limit| !limit.is_zero());
    }
    trap_except(options, &mut globals.trap_except)?;
    globals.auth = super::user::rules(options)?;
    if let Some(value) = options.one("page")? {
        if !is_page(value.text) {
            return Err(value
                .fault(format!("{} is not the address of a page", value.quoted()))
                .help("write for example: option page 'https://home.example.org/knock.html'"));
        }
        globals.page = Some(value.text.to_owned());
    }
    Ok((globals, on_stop(options)?.unwrap_or(OnStop::Shut)))
}

/// `on_stop`, of the globals or of a door.
pub(super) fn on_stop(options: &SectionOptions<'_>) -> Result<Option<OnStop>, Fault> {
    let choices = &[("shut", OnStop::Shut), ("keep", OnStop::Keep)];
    options.one("on_stop")?.map(|value| choice(value, choices)).transpose()
}

/// `trap_except`, of the globals or of a door, added to `all`.
pub(super) fn trap_except(options: &SectionOptions<'_>, all: &mut Vec<Step>) -> Result<(), Fault> {
    for value in options.many("trap_except", blanks)? {
        for step in ports_of_both(value)? {
            if all.contains(&step) {
                continue;
            }
            if all.len() == MAX_TRAP_EXCEPT {
                return Err(value
                    .fault(format!("more than {MAX_TRAP_EXCEPT} ports that are no traps"))
                    .help("a port without :tcp or :udp counts twice"));
            }
            all.push(step);
        }
    }
    Ok(())
}

/// Whether a text is the address of a page that an invitation can be added to, after a `#`.
pub(crate) fn is_page(text: &str) -> bool {
    let rest = ["https://", "http://", "file:///"].iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
    })
}

/// A list of names without repetitions.
fn names(
    options: &SectionOptions<'_>,
    option: &str,
    check: fn(Text<'_>) -> Result<(), Fault>,
) -> Result<Vec<String>, Fault> {
    let mut names = Vec::new();
    for value in options.many(option, blanks)? {
        check(value)?;
        if !names.iter().any(|name| name == value.text) {
            names.push(value.text.to_owned());
        }
        if names.len() > MAX_DEVICES {
            return Err(value.fault(format!("more than {MAX_DEVICES} in list '{option}'")));
        }
    }
    Ok(names)
}

/// A logical network is a section of /etc/config/network.
fn network(value: Text<'_>) -> Result<(), Fault> {
    if !value.text.is_empty() && value.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(());
    }
    Err(value
        .fault(format!("{} is not the name of a network", value.quoted()))
        .help("name a section of /etc/config/network, or use list device"))
}

/// The name of a device. A name that no device can have is refused, with a proposal if there is one.
fn device(value: Text<'_>) -> Result<(), Fault> {
    let Some(wrong) = device::fault(value.text) else { return Ok(()) };
    let fault = value.fault(format!("{} {wrong}", value.quoted()));
    Err(match wrong.help() {
        Some(help) => fault.help(help),
        None => fault,
    })
}

/// `[family] name`.
fn table(value: Text<'_>) -> Result<NftTable, Fault> {
    let words = value.split(is_blank);
    let words: Vec<_> = words.into_iter().filter(|word| !word.text.is_empty()).collect();
    let families = &[("inet", TableFamily::Inet), ("ip", TableFamily::Ip), ("ip6", TableFamily::Ip6)];
    let (family, name) = match words[..] {
        [name] => (TableFamily::Inet, name),
        [family, name] => (choice(family, families)?, name),
        _ => {
            return Err(value
                .fault(format!("{} is not a table", value.quoted()))
                .help("write a family and a name, for example: inet filter"));
        }
    };
    // nft reads such a name without quotes.
    let fine = name.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
    if !fine || name.text.len() > MAX_TABLE_NAME {
        return Err(name.fault(format!("{} is not the name of an nftables table", name.quoted())));
    }
    Ok(NftTable { family, name: name.text.to_owned() })
}
