//! A configuration file. If it is right, its rules can be written. If it is wrong, its fault can be shown in lines that a terminal
//! can show.
#![no_main]

use ketuk::config::{NftTable, TableFamily, parse};
use ketuk::firewall::{fw4, ruleset};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    match parse("ketuk", text) {
        Ok(config) => {
            let table = NftTable { family: TableFamily::Inet, name: "fw4".to_owned() };
            let mut rules = String::new();
            ruleset::write(&mut rules, &config, &table, ruleset::Zone::WAN)
                .expect("a String takes everything");
            fw4::write(&mut rules, &config, ruleset::Zone::WAN).expect("a String takes everything");
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("ketuk:"), "{said}");
            assert!(said.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()), "{said:?}");
        }
    }
});
