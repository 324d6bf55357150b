//! `ketukd ruleset`.

use std::fs::File;

use super::arguments::Arguments;
use super::{CommandResult, Failure};
use crate::config::{BackendOption, NftTable, TableFamily};
use crate::firewall::ruleset::{self, Zone};
use crate::firewall::{fw4, loaded};
use crate::linux::output;

/// The name of OpenWrt's table.
const FW4: &str = "fw4";

/// Prints the sets and rules that the firewall must contain.
pub(super) fn print(arguments: &Arguments) -> CommandResult {
    let config = arguments.config()?;
    if config.globals.backend == BackendOption::Own && arguments.table.is_none() {
        return super::print(
            "# Backend 'own': the daemon makes its table by itself, and nothing has to be loaded.\n",
        );
    }
    let table = match &arguments.table {
        Some(text) => table(text)?,
        None => config
            .globals
            .nft_table
            .clone()
            .unwrap_or_else(|| NftTable { family: TableFamily::Inet, name: FW4.to_owned() }),
    };
    // Only fw4's chains are named after zones.
    let zone = arguments.zone.as_deref().unwrap_or(if table.name == FW4 { "wan" } else { "none" });
    let zone = Zone::new(zone).ok_or_else(|| Failure::Usage(format!("'{zone}' is no zone name")))?;
    let mut text = String::new();
    if arguments.fw4 {
        fw4::write(&mut text, &config, zone)
    } else {
        let loaded = if is_file() { Ok(Vec::new()) } else { loaded::rules_of_doors(&table) };
        let loaded = loaded.unwrap_or_else(|error| {
            // A kernel without nf_tables has no rules: the text is for another host.
            if error.raw_os_error() == Some(libc::EPERM) {
                eprintln!(
                    "ketukd: the loaded rules cannot be read without privilege: loading this text a second time \
                     doubles the rules; run 'ketukd ruleset' as root"
                );
            }
            Vec::new()
        });
        ruleset::write_in_place_of(&mut text, &config, &table, zone, &loaded)
    }
    .expect("a String takes everything");
    super::print(&text)
}

/// Whether standard output is a file. A file is for a firewall that is loaded anew, at the next boot for example. The rules
/// that are loaded now are gone then, so the text must not delete them.
fn is_file() -> bool {
    let file = output::descriptor().try_clone_to_owned().map(File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.is_file())
}

/// `FAMILY NAME`, or a name alone for family inet.
fn table(text: &str) -> Result<NftTable, Failure> {
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
    Ok(NftTable { family, name: name.to_owned() })
}
