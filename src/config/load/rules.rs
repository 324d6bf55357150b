//! Limits on the knockers and on the times: `src`, `start_time`, `stop_time`, `weekdays`.

use std::net::IpAddr;

use super::options::{SectionOptions, Text};
use super::value::blanks;
use crate::config::MAX_SRC;
use crate::config::error::Fault;
use crate::core::hours::Hours;
use crate::core::network::Network;

/// `src`: the networks that may knock; empty if all may.
pub(super) fn src(options: &SectionOptions<'_>) -> Result<Vec<Network>, Fault> {
    let mut networks = Vec::new();
    for value in options.many("src", blanks)? {
        if networks.len() == MAX_SRC {
            return Err(value.fault(format!("more than {MAX_SRC} networks")));
        }
        networks.push(network(value)?);
    }
    Ok(networks)
}

/// An address, or `address/bits`.
fn network(value: Text<'_>) -> Result<Network, Fault> {
    let wrong = || {
        value
            .fault(format!("{} is not a network", value.quoted()))
            .help("write an address, or one with its number of bits, for example: 192.0.2.0/24")
    };
    let (address, prefix) = match value.text.split_once('/') {
        Some((address, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
            (address, bits.parse().ok())
        }
        Some(_) => return Err(wrong()),
        None => (value.text, None),
    };
    let bits = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let prefix = if value.text.contains('/') { prefix } else { Some(bits(address)) };
    prefix.and_then(|prefix| Network::of(address, prefix)).ok_or_else(wrong)
}

/// The hours; `None` means always.
pub(super) fn hours(options: &SectionOptions<'_>) -> Result<Option<Hours>, Fault> {
    let time = |name| options.one(name)?.map(time).transpose();
    let (start, stop) = (time("start_time")?, time("stop_time")?);
    let days = options.many("weekdays", blanks)?;
    if start.is_none() && stop.is_none() && days.is_empty() {
        return Ok(None);
    }
    Ok(Some(Hours {
        weekdays: weekdays(&days)?,
        start: start.unwrap_or(Hours::ALWAYS.start),
        stop: stop.unwrap_or(Hours::ALWAYS.stop),
    }))
}

/// `hh`, `hh:mm` or `hh:mm:ss`, in seconds since midnight.
pub(super) fn time(value: Text<'_>) -> Result<u32, Fault> {
    let number = |text: &str, max| {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|number| digits && *number < max)
    };
    let parts: Vec<&str> = value.text.split(':').collect();
    let seconds = match parts[..] {
        [hour] => number(hour, 24).map(|h| h * 3600),
        [hour, minute] => number(hour, 24).zip(number(minute, 60)).map(|(h, m)| h * 3600 + m * 60),
        [hour, minute, second] => number(hour, 24)
            .zip(number(minute, 60))
            .zip(number(second, 60))
            .map(|((h, m), s)| h * 3600 + m * 60 + s),
        _ => None,
    };
    seconds
        .ok_or_else(|| value.fault(format!("{} is not a time of day", value.quoted())).help("write hh:mm:ss"))
}

/// Names of days, of two letters or more. A `!` before the first one means all days but these, as in fw4.
fn weekdays(days: &[Text<'_>]) -> Result<u8, Fault> {
    const NAMES: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    let inverted = days.first().is_some_and(|day| day.text.starts_with('!'));
    let mut named = 0_u8;
    for (n, day) in days.iter().enumerate() {
        let name = if inverted { day.text.strip_prefix('!').unwrap_or(day.text) } else { day.text };
        let name = name.to_ascii_lowercase();
        // `!` may be a word of its own.
        if n == 0 && inverted && name.is_empty() && days.len() > 1 {
            continue;
        }
        let at = NAMES.iter().position(|known| name.len() >= 2 && known.starts_with(&name));
        let at = at.ok_or_else(|| {
            day.fault(format!("{} is not a weekday", day.quoted()))
                .help("they are mon, tue, wed, thu, fri, sat, sun; a ! stands before the first")
        })?;
        named |= 1 << at;
    }
    let left = match (named, inverted) {
        (0, false) => Hours::ALWAYS.weekdays,
        (named, false) => named,
        (named, true) => Hours::ALWAYS.weekdays & !named,
    };
    match days.last() {
        Some(day) if left == 0 => Err(day.fault("no day is left")),
        _ => Ok(left),
    }
}
