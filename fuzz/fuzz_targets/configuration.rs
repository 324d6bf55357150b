//! A configuration file. If it is right, its rules can be written. If it is wrong, its fault can be shown in lines that a terminal
//! can show. OpenWrt's firewall configuration may follow after a line `# firewall`.
#![no_main]

mod coverage;

use std::path::Path;

use ketuk::config::{FirewallFile, NftTable, TableFamily, parse, warnings};
use ketuk::firewall::{fw4, ruleset};
use libfuzzer_sys::fuzz_target;

const FIREWALL: &[u8] = b"\n# firewall\n";

fuzz_target!(|text: &[u8]| {
    let at = text.windows(FIREWALL.len()).position(|window| window == FIREWALL);
    let (text, firewall) = at.map_or((text, &[][..]), |at| (&text[..at], &text[at + FIREWALL.len()..]));
    match parse("ketuk", text) {
        Ok(config) => {
            let table = NftTable { family: TableFamily::Inet, name: "fw4".to_owned() };
            let mut rules = String::new();
            ruleset::write(&mut rules, &config, &table, ruleset::Zone::WAN)
                .expect("a String takes everything");
            fw4::write(&mut rules, &config, ruleset::Zone::WAN).expect("a String takes everything");
            let firewall = FirewallFile::parse("firewall".into(), firewall);
            for exposed in firewall.exposed_ports(&config) {
                assert!(exposed.ports.first() <= exposed.ports.last(), "{exposed:?}");
            }
            for warning in warnings(Path::new("/nothing/ketuk"), &firewall, &config) {
                assert!(!warning.is_empty(), "a warning says something");
            }
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("ketuk:"), "{said}");
            assert!(said.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()), "{said:?}");
        }
    }
});
