//! Groups of addresses: `grant_prefix_4` and `grant_prefix_6`.

use super::options::SectionOptions;
use crate::config::GrantPrefix;
use crate::config::error::Fault;

/// Shortest prefixes that one knock may open for, in bits: 65,536 IPv4 addresses, and the IPv6 addresses of one site.
const WIDEST_4: u8 = 16;
const WIDEST_6: u8 = 48;

/// Reads both options. `commands` is true if the door runs commands.
pub(super) fn read(options: &SectionOptions<'_>, commands: bool) -> Result<GrantPrefix, Fault> {
    let prefix = |name, widest: u8, bits: u8| -> Result<Option<u8>, Fault> {
        let Some(value) = options.one(name)? else { return Ok(None) };
        let number: Option<u8> = value.text.parse().ok().filter(|bits| value.text == format!("{bits}"));
        match number {
            Some(number) if number == bits => Ok(None),
            Some(_) if commands => Err(value
                .fault(format!("{name} in a door that runs commands"))
                .help("a command gets one address: leave one of the two out")),
            Some(number) if (widest..bits).contains(&number) => Ok(Some(number)),
            _ => Err(value.fault(format!("{} is not from {widest} to {bits}", value.quoted()))),
        }
    };
    Ok(GrantPrefix {
        v4: prefix("grant_prefix_4", WIDEST_4, 32)?,
        v6: prefix("grant_prefix_6", WIDEST_6, 128)?,
    })
}
