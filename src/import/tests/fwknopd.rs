//! Imports of fwknopd's files.

use super::*;

const KEYS: &str = "KEY_BASE64 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\
                    HMAC_KEY_BASE64 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";

/// Imports a stanza with keys that opens port 22, and further lines.
fn access(more: &str) -> Imported {
    imported(&format!("SOURCE ANY\nOPEN_PORTS tcp/22\n{KEYS}{more}"))
}

/// Each restriction is carried over exactly, or nobody gets in.
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
    for (more, lines, warning) in [
        ("FW_ACCESS_TIMEOUT 3600", "option open_time '300'", "5: FW_ACCESS_TIMEOUT is made 300, the longest"),
        ("FW_ACCESS_TIMEOUT 2m", "option open_time '2'", "5: FW_ACCESS_TIMEOUT 2m is 2 s"),
        ("MAX_FW_TIMEOUT soon", "option max_time '300'", "5: MAX_FW_TIMEOUT soon is no number"),
    ] {
        has(&access(more), &[lines], &[warning]);
        has_not(&access(more), "enabled '0'");
    }
    for (more, warning) in [
        ("FW_ACCESS_TIMEOUT -1", "5: FW_ACCESS_TIMEOUT -1 is left out: it is no time"),
        ("ACCESS_EXPIRE never", "5: ACCESS_EXPIRE never is left out: it is no date"),
        ("ACCESS_EXPIRE 31/12/2030", "5: ACCESS_EXPIRE 31/12/2030 is left out: it is no date"),
        ("ACCESS_EXPIRE 0/12/2030", "5: ACCESS_EXPIRE 0/12/2030 is left out: it is no date"),
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
    has(
        &imported(&format!("SOURCE 2001:db8::/32\nOPEN_PORTS tcp/22\n{KEYS}")),
        &["option enabled '0'"],
        &["1: SOURCE 2001:db8::/32 is left out: it is no IPv4 network"],
    );
    // A restricted port is not opened.
    let restricted =
        imported(&format!("SOURCE ANY\nOPEN_PORTS tcp/22, tcp/80\nRESTRICT_PORTS tcp/80\n{KEYS}"));
    has(&restricted, &["list door 'tcp_22'"], &["2: 'tcp/80' is left out: RESTRICT_PORTS"]);
    has_not(&restricted, "tcp_80");
}

/// Without `OPEN_PORTS`, fwknop's stock form, the client may ask for any port.
#[test]
fn stanzas_without_ports() {
    let with = |more: &str| imported(&format!("SOURCE ANY\n{KEYS}{more}"));
    let stock = with("FW_ACCESS_TIMEOUT 30\n");
    has(
        &stock,
        &["config door 'any_port'", "option any_port '1'", "option open_time '30'", "list door 'any_port'"],
        &[],
    );
    has_not(&stock, "allow_port");
    has_not(&stock, "enabled '0'");
    assert!(stock.warnings.is_empty(), "{:?}", stock.warnings);
    let restricted = with("RESTRICT_PORTS tcp/22, tcp/23, tcp/25, udp/1, udp/65535\n");
    let allowed = ["tcp/1-21", "tcp/24", "tcp/26-65535", "udp/2-65534"]
        .map(|ports| format!("list allow_port '{ports}'"));
    has(&restricted, &allowed.each_ref().map(String::as_str), &[]);
    assert_eq!(restricted.uci.matches("allow_port").count(), allowed.len());
    for more in ["FORCE_NAT 192.168.1.10 80", "CMD_CYCLE_OPEN /srv/open\nCMD_CYCLE_CLOSE NONE"] {
        has(&with(more), &["option enabled '0'"], &["list the ports with OPEN_PORTS"]);
        has_not(&with(more), "any_port '1'");
    }
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
    has_not(&other_rules, "tcp_80");
    has(&other_rules, &["config door 'tcp_22'"], &[]);
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
    let read = |path: &Path| -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("/more.conf") => {
                Ok(format!("SOURCE ANY\nOPEN_PORTS udp/53\n{KEYS}COLOUR red\n").into_bytes())
            }
            Some("/keys") => {
                Ok(b"OPEN_PORTS tcp/1\nKEY 0123456789abcdef\nHMAC_KEY fedcba9876543210\n".to_vec())
            }
            Some("/self") => Ok(b"%include /self\n".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
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
            "1: left out: includes go at most 3 levels deep",
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
    // luci-app-fwknopd's own options are no restrictions.
    let luci = fwknopd.replace(
        "\toption OPEN",
        "\toption keytype 'Base 64 key'\n\toption hkeytype 'Base 64 key'\n\toption OPEN",
    );
    has_not(&imported(&luci), "enabled '0'");
    let not_used = imported(&fwknopd.replace("uci_enabled '1'", "uci_enabled '0'"));
    has(&not_used, &["option enabled '0'"], &["uci_enabled is not 1"]);
    // The file that the package ships.
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

    let rules_alone = knockd.replace("config options 'common'\n\toption interface eth0\n", "");
    has(&imported(&rules_alone), &["config door 'SSH'", "list dest_port '22'"], &[]);

    // A sequence as a list, and sections that are switched off.
    let list = knockd.replace(
        "option sequence '7311,8122,9433'",
        "list sequence '7311'\n\tlist sequence '8122'\n\tlist sequence '9433'",
    );
    has(&imported(&list), &["list sequence '7311'", "list sequence '8122'", "list sequence '9433'"], &[]);
    has_not(&imported(&list.replace("'SSH'\n", "'SSH'\n\toption enabled '1'\n")), "enabled '0'");
    let off = imported(&knockd.replace("'SSH'\n", "'SSH'\n\toption enabled '0'\n"));
    has(&off, &["option enabled '0'"], &["4: enabled is left out"]);
    let off = imported(&knockd.replace("'common'\n", "'common'\n\toption enabled '0'\n"));
    has(&off, &["option enabled '0'"], &["2: the doors are shut"]);

    let conf = imported(
        "# fwknopd\nPCAP_INTF  eth1;\nPCAP_FILTER udp port 62300;\nMAX_SPA_PACKET_AGE 600;\nENABLE_SPA_PACKET_AGING Y;\nSYSLOG_IDENTITY x;\n",
    );
    has(
        &conf,
        &["list device 'eth1'", "option spa_port '62300'", "option spa_max_age '240'"],
        &["4: MAX_SPA_PACKET_AGE 600 is made 240", "6: SYSLOG_IDENTITY is left out"],
    );
    // One of two ports counts, in whatever order they stand.
    let ports = "PCAP_FILTER udp port 62300;\nUDPSERV_PORT 62400;\n";
    let capturing = imported(ports);
    has(&capturing, &["option spa_port '62300'"], &["2: UDPSERV_PORT is left out"]);
    has_not(&capturing, "62400");
    let server = imported(&format!("{ports}ENABLE_UDP_SERVER Y;\n"));
    has(&server, &["option spa_port '62400'"], &["1: PCAP_FILTER is left out"]);
    has_not(&server, "62300");
}
