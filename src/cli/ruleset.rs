//! `ketukd ruleset`.

use super::arguments::Arguments;
use super::{Failure, Outcome};
use crate::config::{Table, TableFamily};
use crate::firewall::fw4;
use crate::firewall::ruleset::{self, Zone};

/// Prints the sets and rules that the firewall must contain.
pub(super) fn print(arguments: &Arguments) -> Outcome {
    let config = arguments.config()?;
    let table = match &arguments.table {
        Some(text) => table(text)?,
        None => config
            .globals
            .nft_table
            .clone()
            .unwrap_or_else(|| Table { family: TableFamily::Inet, name: "fw4".to_owned() }),
    };
    let zone = arguments.zone.as_deref().unwrap_or("wan");
    let zone = Zone::new(zone).ok_or_else(|| Failure::Usage(format!("'{zone}' is no zone name")))?;
    let mut text = String::new();
    if arguments.fw4 {
        fw4::write(&mut text, &config, zone)
    } else {
        ruleset::write(&mut text, &config, &table, zone)
    }
    .expect("a String takes everything");
    super::print(&text)
}

/// `FAMILY NAME`, or a name alone for family inet.
fn table(text: &str) -> Result<Table, Failure> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (family, name) = match words[..] {
        [name] | ["inet", name] => (TableFamily::Inet, name),
        ["ip", name] => (TableFamily::Ip, name),
        ["ip6", name] => (TableFamily::Ip6, name),
        _ => return Err(Failure::Usage(format!("'{text}' is no table: 'inet NAME', 'ip NAME', 'ip6 NAME'"))),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    if name.len() > 255 || !name.bytes().all(plain) {
        return Err(Failure::Usage(format!("'{name}' is no table name")));
    }
    Ok(Table { family, name: name.to_owned() })
}
