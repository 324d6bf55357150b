//! Imports of whole files, one of each kind that people bring.

mod fwknopd;
mod knockd;

use std::io;
use std::net::IpAddr;
use std::path::Path;

use super::*;
use crate::config;

/// A reader for files without includes.
fn nothing(_: &Path) -> io::Result<Vec<u8>> {
    Err(io::ErrorKind::NotFound.into())
}

/// A host with an alias.
struct WithAlias;
impl Host for WithAlias {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn alias(&self, name: &str) -> Option<IpAddr> {
        (name == "eth0:1").then_some([192, 0, 2, 9].into())
    }
}

fn imported(text: &str) -> Imported {
    let imported =
        import("f", text.as_bytes(), &nothing).unwrap_or_else(|refused| panic!("{refused}: {text}"));
    config::parse("f", imported.uci.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{}", imported.uci));
    imported
}

fn has(imported: &Imported, lines: &[&str], warnings: &[&str]) {
    for line in lines {
        assert!(
            imported.uci.lines().any(|text| text.trim() == *line),
            "'{line}' is not in\n{}",
            imported.uci
        );
    }
    for warning in warnings {
        let said = |given: &Warning| format!("{}: {}", given.line, given.message);
        let all: Vec<_> = imported.warnings.iter().map(said).collect();
        assert!(all.iter().any(|text| text.contains(warning)), "'{warning}' is not in {all:#?}");
    }
}

fn has_not(imported: &Imported, text: &str) {
    assert!(!imported.uci.contains(text), "'{text}' is in\n{}", imported.uci);
}

#[test]
fn other_files_are_told_what_they_are() {
    for (text, expected) in [
        ("", "neither a knockd.conf"),
        ("hello\n", "neither a knockd.conf"),
        ("config globals 'globals'\nconfig door 'a'\n", "ketuk's own configuration"),
        ("config defaults\nconfig zone\n", "OpenWrt's firewall"),
        ("config rule\n\toption name 'Allow-Ping'\nconfig zone\n", "OpenWrt's firewall"),
        ("config interface 'wan'\n", "of neither fwknopd"),
        ("config access 'a\n", "has a fault"),
        ("[default]\nSPA_SERVER 192.0.2.1\n", ".fwknoprc of a client"),
        ("*filter\n-A INPUT -j DROP\n", "a firewall's rules"),
        ("# 1 = start\nSTART_KNOCKD=1\nKNOCKD_OPTS=\"-i eth1\"\n", "this is /etc/default/knockd"),
        ("#!/bin/sh\nknock x\n", "a script"),
    ] {
        let refused = import("f", text.as_bytes(), &nothing).unwrap_err().to_string();
        assert!(refused.contains(expected), "{text}: {refused}");
    }
}

/// Debian's fwknopd.conf has each setting in a comment only.
#[test]
fn a_fwknopd_conf_that_sets_nothing() {
    let text =
        "# fwknopd\n#PCAP_INTF                   eth0;\n#PCAP_FILTER                 udp port 62201;\n\n";
    let imported = imported(text);
    has(&imported, &["config globals 'globals'", "option enabled '1'"], &[]);
    has_not(&imported, "eth0");
    assert!(imported.warnings.is_empty());
}

/// Imports 10,000 files that are changed at random. No import crashes, and each result is a configuration.
#[test]
fn changed_files() {
    const FILES: [&[u8]; 8] = [
        include_bytes!("../../tests/import/access.conf"),
        include_bytes!("../../tests/import/commands.conf"),
        include_bytes!("../../tests/import/everyones.conf"),
        include_bytes!("../../tests/import/manual.conf"),
        include_bytes!("../../tests/import/nft.conf"),
        include_bytes!("../../tests/import/openwrt-fwknopd.conf"),
        include_bytes!("../../tests/import/openwrt-knockd.conf"),
        include_bytes!("../../tests/import/fwknopd.conf"),
    ];
    /// Bytes that are special in one of the formats.
    const MEANT: &[u8] = b"\n\r\\#;=[]'\"%,:/0 9\xff\0\xef\xbb\xbf$";
    let mut state = 1_u64;
    // Marsaglia's xorshift64.
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below.max(1)).unwrap()).unwrap()
    };
    let (mut imported, mut refused) = (0, 0);
    for n in 0..10_000 {
        let mut text = FILES[n % FILES.len()].to_vec();
        for _ in 0..=random(6) {
            let (at, other) = (random(text.len()), random(text.len()));
            match random(5) {
                0 => text[at] = MEANT[random(MEANT.len())],
                1 => text.insert(at, MEANT[random(MEANT.len())]),
                2 => drop(text.drain(at.min(other)..at.max(other).min(at.min(other) + 40))),
                3 => text.extend_from_within(at.min(other)..),
                _ => text.swap(at, other),
            }
            text.truncate(20_000);
            if text.is_empty() {
                text.push(b'\n');
            }
        }
        match import("f", &text, &nothing) {
            Ok(Imported { uci, .. }) => {
                imported += 1;
                if let Err(error) = config::parse("f", uci.as_bytes()) {
                    panic!("{error}\n--- of\n{}\n--- came\n{uci}", String::from_utf8_lossy(&text));
                }
            }
            Err(_) => refused += 1,
        }
    }
    assert!(imported > 5_000 && refused > 10, "{imported} imported, {refused} refused");
}
