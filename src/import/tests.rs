//! What comes out of whole files: each kind that people bring.

use std::io;

use super::*;
use crate::config;

/// No file is included.
fn nothing(_: &std::path::Path) -> io::Result<Vec<u8>> {
    Err(io::ErrorKind::NotFound.into())
}

fn imported(text: &str) -> Imported {
    let imported =
        import("f", text.as_bytes(), &nothing).unwrap_or_else(|refused| panic!("{refused}: {text}"));
    config::parse("f", imported.uci.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{}", imported.uci));
    imported
}

/// A door named `a` with this in it, and whatever follows.
fn knockd(door: &str) -> Imported {
    imported(&format!("[options]\n UseSyslog\n[a]\n sequence = 7311,8122,9433\n{door}"))
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

const OPEN: &str = " command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n";
const OPEN_BY_NFT: &str = " command = nft add rule inet filter input ip saddr %IP% tcp dport 22 accept\n";

/// A door stays open by itself only if what shuts it is understood.
#[test]
fn closing_knocks() {
    let with = |open: &str, close: &str| {
        knockd(&format!("{open}[b]\n sequence = 9433,8122,7311\n command = {close}\n"))
    };
    let kept = "option start_command 'iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT'";
    for close in [
        "iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
        "iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT ; ip6tables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
        "sudo /sbin/iptables -D INPUT -s %IP% -p tcp --dport ssh -j ACCEPT",
    ] {
        has(
            &with(OPEN, close),
            &["option action 'close'", "list door 'a'", "list dest_port '22'", "option open_time '0'"],
            &[],
        );
    }
    for close in [
        "iptables -F INPUT",
        "iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT; logger shut",
        "/usr/local/bin/close.sh %IP%",
        "iptables-restore < /etc/iptables.rules",
        "iptables -D INPUT $(iptables -L INPUT --line-numbers | grep %IP% | cut -d' ' -f1)",
        "nft flush chain inet filter input",
        "ufw --force reset",
    ] {
        let imported = with(OPEN, close);
        has(
            &imported,
            &[kept, &format!("option start_command '{}'", close.replace('\'', r"'\''"))],
            &["[a]: it keeps its commands, since line 8"],
        );
        has_not(&imported, "dest_port");
    }
    let by_handle = "nft delete rule inet filter input handle $(nft -a list chain inet filter input | awk '/%IP%/ {print $NF}')";
    has(&with(OPEN_BY_NFT, by_handle), &["option action 'close'", "option nft_table 'inet filter'"], &[]);
    has(
        &with(OPEN_BY_NFT, "nft flush chain inet filter input"),
        &["option start_command 'nft flush chain inet filter input'"],
        &["5: [a]: it keeps"],
    );
    // What shuts nothing that the file opens is named.
    let other = with(OPEN_BY_NFT, "iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT");
    has(&other, &[], &["8: [b]: it deletes a rule that no door of this file adds"]);
    // A door that shuts by itself after its time does so whatever a script does; both are named.
    let timed = "iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n cmd_timeout = 20\n[b]\n sequence = 1,2,3\n command = /srv/x";
    has(
        &knockd(&format!("{OPEN} stop_command = {timed}")),
        &["option open_time '20'"],
        &["10: [b]: this command is kept and not understood; if it is to shut a,"],
    );
}

#[test]
fn values_as_knockd_reads_them() {
    let imported = imported(
        "\u{feff}[a]\r\n sequence = 7311 , 8122:UDP,9433 # mine\r\n seq_timeout = 5 # s\r\n tcpflags = SYN\r\n\
         \x20start_command = iptables -A INPUT -s %IP% \\\r\n   -p tcp --dport ssh -j ACCEPT\r\n\
         \x20stop_command = iptables -D INPUT -s %IP% -p tcp --dport ssh -j ACCEPT\r\n\
         [options]\r\n Interface = eth0,eth1 # both\r\n interface = eth2\r\n",
    );
    let lines = [
        "list sequence '7311'",
        "list sequence '8122:UDP'",
        "list sequence '9433'",
        "option seq_timeout '5'",
        "option tcpflags 'SYN'",
        "list dest_port '22'",
        "option open_time '10'",
        "list device 'eth0'",
        "list device 'eth1'",
    ];
    has(
        &imported,
        &lines,
        &[
            "1: it begins with a byte order mark",
            "1: [a]: Cmd_Timeout is not given: 10 s",
            "5: it goes on",
            "10: interface is left out: line 9",
        ],
    );
    has_not(&imported, "eth2");
    has_not(&imported, "backend");

    let doubled = knockd(&format!(" sequence = 1,2,3\n{OPEN} start_command = /srv/x\n"));
    has(
        &doubled,
        &["list sequence '1'", "option start_command '/srv/x'"],
        &["4: sequence is left out: line 5", "6: command is left out: line 7"],
    );
    has(&knockd(&format!(" seq_timeout = never\n{OPEN}")), &["option enabled '0'"], &["5: [a]: shut"]);
    has(&knockd(&format!(" tcpflags = syn,ack\n{OPEN}")), &[], &["no client's first segment"]);
    has(
        &knockd(&format!(" cmd_timeout = 5\n{OPEN}")),
        &[],
        &["Cmd_Timeout is left out: there is no Stop_Command"],
    );

    let bytes = b"[a]\n sequence = 1,2,3\n command = /srv/a\n stop_command = /srv/\xe9\n";
    let latin = import("f", bytes, &nothing).unwrap();
    has(&latin, &["option enabled '0'"], &["4: this is not UTF-8"]);
}

#[test]
fn what_a_command_opens() {
    let forward = "iptables -t nat -A PREROUTING -s %IP% -p tcp --dport 8080 -j DNAT --to 192.168.1.10:80; \
                   iptables -I FORWARD -s %IP% -p tcp -d 192.168.1.10 --dport 80 -j ACCEPT";
    let undo = forward.replace("-A ", "-D ").replace("-I ", "-D ");
    has(
        &knockd(&format!(" start_command = {forward}\n stop_command = {undo}\n cmd_timeout = 60\n")),
        &[
            "list src_dport '8080'",
            "option dest_ip '192.168.1.10'",
            "option dest_port '80'",
            "option open_time '60'",
        ],
        &[],
    );
    let both = "iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT; ip6tables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT";
    has_not(&knockd(&format!(" command = {both}\n")), "list src");
    has(&knockd(OPEN), &["list src '0.0.0.0/0'"], &[]);
    has(&knockd(&OPEN.replace("iptables", "ip6tables")), &["list src '::/0'"], &[]);
    has(
        &knockd(&format!(
            " command = {}\n",
            "iptables -A INPUT -s %IP% -p udp --dport 53 -j ACCEPT; iptables -A INPUT -s %IP% -p tcp --dport 53 -j ACCEPT"
        )),
        &["option proto 'tcpudp'"],
        &[],
    );
    // What is limited to another device than the one that is listened on stays a command.
    has(
        &knockd(&OPEN.replace("-s", "-i ppp0 -s")),
        &["option start_command 'iptables -A INPUT -i ppp0 -s %IP% -p tcp --dport 22 -j ACCEPT'"],
        &[],
    );
    has(
        &knockd(" command = ufw allow from %IP% to any port 22\n"),
        &["option start_command 'ufw allow from %IP% to any port 22'"],
        &["only ufw changes what ufw made"],
    );
}

#[test]
fn devices() {
    let with = |interface: &str| {
        imported(&format!("[options]\n interface = {interface}\n[a]\n sequence = 1,2,3\n{OPEN}"))
    };
    has(
        &with("eth0.2@eth0"),
        &["list device 'eth0.2'"],
        &["2: interface 'eth0.2@eth0' is taken for device eth0.2"],
    );
    has(&with("\"eth0\""), &["list device 'eth0'"], &[]);
    has(&with("eth0:1"), &["list device 'eth0'", "option enabled '0'"], &["is an alias of device eth0"]);
    has(&with("a/b"), &["option enabled '0'"], &["no device has such a name"]);
}

const KEYS: &str = "KEY_BASE64 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\
                    HMAC_KEY_BASE64 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";

/// A stanza with keys that opens port 22, and this.
fn access(more: &str) -> Imported {
    imported(&format!("SOURCE ANY\nOPEN_PORTS tcp/22\n{KEYS}{more}"))
}

/// Each restriction is exact, or nobody gets in.
#[test]
fn restrictions_of_fwknopd() {
    for (more, lines) in [
        ("ACCESS_EXPIRE_EPOCH 1111111111", &["option expires '2005-03-18 01:58:31'"][..]),
        ("ACCESS_EXPIRE 1/31/2027", &["option expires '2027-01-31 00:00:00'"]),
        ("REQUIRE_USERNAME alice", &["option fwknop_user 'alice'"]),
        ("REQUIRE_SOURCE Y", &["option require_address '1'"]),
        ("REQUIRE_SOURCE_ADDRESS yes", &["option require_address '1'"]),
        ("HMAC_DIGEST_TYPE SHA512", &["option fwknop_hmac_type 'sha512'"]),
        ("FW_ACCESS_TIMEOUT 0", &["option open_time '30'", "option max_time '300'"]),
        ("FW_ACCESS_TIMEOUT 600", &["option open_time '300'", "option max_time '300'"]),
        ("FW_ACCESS_TIMEOUT 600\nMAX_FW_TIMEOUT 900", &["option open_time '600'", "option max_time '900'"]),
        (
            "FORCE_NAT 192.168.1.10 80",
            &["option dest_ip '192.168.1.10'", "option dest_port '80'", "option src_dport '22'"],
        ),
        (
            "CMD_CYCLE_OPEN /srv/open $SRC $PORT\nCMD_CYCLE_CLOSE /srv/close $IP $PROTO\nCMD_CYCLE_TIMER 20",
            &[
                "option fwknop_port '22:tcp'",
                "option start_command '/srv/open %IP% 22'",
                "option stop_command '/srv/close %IP% 6'",
                "option open_time '20'",
            ],
        ),
    ] {
        let imported = access(more);
        has(&imported, lines, &[]);
        assert!(!imported.uci.contains("enabled '0'"), "{more}\n{}", imported.uci);
    }
    has(
        &imported(&format!("SOURCE 192.0.2.0/24, 198.51.100.7\nOPEN_PORTS tcp/22\n{KEYS}")),
        &["list src '192.0.2.0/24'", "list src '198.51.100.7/32'"],
        &[],
    );
    for (more, warning) in [
        ("ACCESS_EXPIRE never", "5: ACCESS_EXPIRE never is left out: it is no date"),
        ("ACCESS_EXPIRE_EPOCH soon", "5: ACCESS_EXPIRE_EPOCH soon is left out"),
        ("DESTINATION 192.0.2.1", "5: DESTINATION 192.0.2.1 is left out"),
        ("HMAC_DIGEST_TYPE SHA3_256", "5: HMAC_DIGEST_TYPE SHA3_256 is left out"),
        ("ENCRYPTION_MODE legacy", "5: ENCRYPTION_MODE legacy is left out"),
        ("FORWARD_ALL Y", "5: FORWARD_ALL Y is left out"),
        ("FORCE_NAT nas 80", "5: FORCE_NAT is left out"),
        ("COLOUR red", "5: COLOUR red is left out: ketuk does not know it"),
        ("SOMETHING", "5: left out: it has no value"),
        ("KEY __CHANGEME__", "5: KEY is a placeholder"),
        ("HMAC_KEY CHANGEME", "5: HMAC_KEY is a placeholder"),
        ("CMD_CYCLE_OPEN /srv/open $DST\nCMD_CYCLE_CLOSE NONE", "5: CMD_CYCLE_OPEN is left out"),
        ("RESTRICT_PORTS icmp/8", "5: 'icmp/8' is no port"),
    ] {
        has(&access(more), &["option enabled '0'"], &[warning]);
    }
    has(
        &imported(&format!("SOURCE 10.1/x\nOPEN_PORTS tcp/22\n{KEYS}")),
        &["option enabled '0'"],
        &["1: SOURCE 10.1/x is left out"],
    );
    // A port that is restricted is not opened.
    let restricted =
        imported(&format!("SOURCE ANY\nOPEN_PORTS tcp/22, tcp/80\nRESTRICT_PORTS tcp/80\n{KEYS}"));
    has(&restricted, &["list door 'tcp_22'"], &["2: 'tcp/80' is left out: RESTRICT_PORTS"]);
    has_not(&restricted, "tcp_80");
}

#[test]
fn stanzas_with_one_key_are_one_user() {
    let two = |rest: &str| {
        imported(&format!("SOURCE ANY\nOPEN_PORTS tcp/22\n{KEYS}SOURCE ANY\nOPEN_PORTS tcp/80\n{KEYS}{rest}"))
    };
    let one = two("");
    has(&one, &["list door 'tcp_22'", "list door 'tcp_80'"], &[]);
    assert_eq!(one.uci.matches("config user").count(), 1);
    let other_rules = two("REQUIRE_SOURCE Y\n");
    has(&other_rules, &[], &["5: this stanza is left out: it has user1's key and other rules"]);
    has_not(&other_rules, "list door 'tcp_80'");
}

#[test]
fn keys_to_the_letter() {
    let with = |keys: &str| imported(&format!("SOURCE ANY\nOPEN_PORTS tcp/22;\n{keys}"));
    let hash = with("KEY pass#word1\nHMAC_KEY: hm#acword1; # mine\n");
    has(
        &hash,
        &["option fwknop_key 'cGFzcyN3b3JkMQ=='", "option fwknop_hmac_key 'aG0jYWN3b3JkMQ=='"],
        &["3: KEY has only 10 bytes"],
    );
    has(&with("KEY a passphrase that is long\n"), &["option enabled '0'"], &["user1 has no HMAC_KEY"]);
}

#[test]
fn includes_are_followed() {
    let read = |path: &std::path::Path| match path.to_str() {
        Some("/more.conf") => Ok(format!("SOURCE ANY\nOPEN_PORTS udp/53\n{KEYS}COLOUR red\n").into_bytes()),
        Some("/keys") => Ok(b"OPEN_PORTS tcp/1\nKEY 0123456789abcdef\nHMAC_KEY fedcba9876543210\n".to_vec()),
        Some("/self") => Ok(b"%include /self\n".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let text = "%include /more.conf\nSOURCE ANY\nOPEN_PORTS tcp/22\n%include_keys /keys\n%include /none\n%include /self\n";
    let imported = import("f", text.as_bytes(), &read).unwrap();
    let lines = ["list door 'udp_53'", "list door 'tcp_22'", "option fwknop_key 'MDEyMzQ1Njc4OWFiY2RlZg=='"];
    has(
        &imported,
        &lines,
        &[
            "5: COLOUR red",
            "5: cannot read /none",
            "1: OPEN_PORTS is left out",
            "1: left out: no more than 3",
        ],
    );
    let place = |warning: &Warning| (warning.file.clone(), warning.line);
    assert!(imported.warnings.iter().any(|warning| place(warning) == ("/more.conf".to_owned(), 5)));
}

#[test]
fn openwrts_files_and_fwknopd_conf() {
    let fwknopd = "config global\n\toption uci_enabled '1'\nconfig network\n\toption network 'wan'\nconfig access 'alice'\n\
                   \toption OPEN_PORTS 'tcp/22'\n\toption KEY_BASE64 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='\n\
                   \toption HMAC_KEY_BASE64 'ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8='\n\toption SOURCE 'ANY'\n\
                   \toption FW_ACCESS_TIMEOUT '60'\nconfig config\n\toption PCAP_INTF 'eth1'\n\toption MAX_SPA_PACKET_AGE '60'\n";
    let read = imported(fwknopd);
    let lines = [
        "list network 'wan'",
        "option spa_max_age '60'",
        "config user 'alice'",
        "list door 'tcp_22'",
        "option open_time '60'",
    ];
    has(&read, &lines, &["12: PCAP_INTF is left out"]);
    let not_used = imported(&fwknopd.replace("uci_enabled '1'", "uci_enabled '0'"));
    has(&not_used, &["option enabled '0'"], &["uci_enabled is not 1"]);
    // As the package ships it.
    let shipped = "config global\n#\toption uci_enabled '1'\n\nconfig network\n\nconfig access\n\toption SOURCE 'ANY'\n\
                   \toption HMAC_KEY 'CHANGEME'\n\toption KEY 'CHANGEME'\n\nconfig config\n";
    has(&imported(shipped), &["option enabled '0'", "list network 'wan'"], &["KEY is a placeholder"]);

    let knockd = "config options 'common'\n\toption interface eth0\nconfig rule 'SSH'\n\toption sequence '7311,8122,9433'\n\
                  \toption command '/usr/sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT'\n\toption cmd_timeout '10'\n\
                  \toption stop_command '/usr/sbin/iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT'\n";
    has(
        &imported(knockd),
        &["list device 'eth0'", "config door 'SSH'", "list dest_port '22'", "option open_time '10'"],
        &[],
    );

    let conf = imported(
        "# fwknopd\nPCAP_INTF  eth1;\nPCAP_FILTER udp port 62300;\nMAX_SPA_PACKET_AGE 600;\nENABLE_SPA_PACKET_AGING Y;\nSYSLOG_IDENTITY x;\n",
    );
    has(
        &conf,
        &["list device 'eth1'", "option spa_port '62300'", "option spa_max_age '240'"],
        &["4: MAX_SPA_PACKET_AGE 600 is made 240", "6: SYSLOG_IDENTITY is left out"],
    );
}

#[test]
fn other_files_are_told_what_they_are() {
    for (text, expected) in [
        ("", "neither a knockd.conf"),
        ("hello\n", "neither a knockd.conf"),
        ("config globals 'globals'\nconfig door 'a'\n", "ketuk's own configuration"),
        ("config defaults\nconfig zone\n", "OpenWrt's firewall"),
        ("config interface 'wan'\n", "of neither fwknopd"),
        ("config access 'a\n", "has a fault"),
        ("[default]\nSPA_SERVER 192.0.2.1\n", ".fwknoprc of a client"),
        ("*filter\n-A INPUT -j DROP\n", "a firewall's rules"),
        ("#!/bin/sh\nknock x\n", "a script"),
    ] {
        let refused = import("f", text.as_bytes(), &nothing).unwrap_err().to_string();
        assert!(refused.contains(expected), "{text}: {refused}");
    }
}

/// 10,000 files, changed at random: none crashes the import, and what comes out is always a configuration.
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
    /// Bytes that mean something to one of the formats.
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
