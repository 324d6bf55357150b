//! Imports of knockd.conf.

use super::*;

/// Imports a door named `a` with these lines, and further lines.
fn knockd(door: &str) -> Imported {
    imported(&format!("[options]\n UseSyslog\n[a]\n sequence = 7311,8122,9433\n{door}"))
}

const OPEN: &str = " command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n";
const OPEN_BY_NFT: &str = " command = nft add rule inet filter input ip saddr %IP% tcp dport 22 accept\n";

/// A door opens without commands only if the commands that shut it are understood.
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
    // A command that shuts nothing of this file is reported.
    let other = with(OPEN_BY_NFT, "iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT");
    has(&other, &[], &["8: [b]: it deletes a rule that no door of this file adds"]);
    // A door that shuts after its time does so whatever a script does. Both are reported.
    let timed = "iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n cmd_timeout = 20\n[b]\n sequence = 1,2,3\n command = /srv/x";
    has(
        &knockd(&format!("{OPEN} stop_command = {timed}")),
        &["option open_time '20'"],
        &["10: [b]: this command is kept, but not understood; if it is meant to shut a,"],
    );
}

/// Doors as in Debian's knockd.conf, of which the last opens by knockd's own script: none of them needs its commands.
#[test]
fn knockds_own_script() {
    let imported = knockd(&format!(
        "{OPEN}[b]\n sequence = 9,8,7\n command = iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n\
         [c]\n sequence = 1,2,3,4\n command = /usr/local/sbin/knock_add -i -c INPUT -p tcp -d 443 -f %IP%\n"
    ));
    has(&imported, &["list dest_port '22'", "option action 'close'", "list dest_port '443'"], &[]);
    has_not(&imported, "command '");
    // With a command that is not understood they do, and the import says which port that leaves open.
    let imported = knockd(&format!("{OPEN}[c]\n sequence = 1,2,3,4\n command = /srv/close-all %IP%\n"));
    has(
        &imported,
        &["option start_command 'iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT'"],
        &["ketuk shuts no port that a command opens: a firewall must drop tcp 22"],
    );
}

/// A door that keeps its commands has no port that ketuk shuts, whatever the command is.
#[test]
fn ports_that_kept_commands_open() {
    let drop = "5: [a]: ketuk shuts no port for this door: if its command opens one, a firewall must drop it";
    for command in [
        "iptables -A INPUT -s %IP% -j ACCEPT",
        "/usr/local/bin/open.sh %IP%",
        "ufw allow from %IP% to any port 22",
        "ipset add admins %IP% timeout 60",
    ] {
        let imported = knockd(&format!(" command = {command}\n"));
        has(&imported, &[&format!("option start_command '{command}'")], &[drop]);
        assert_eq!(imported.warnings.iter().filter(|warning| warning.message.contains("drop")).count(), 1);
    }
    assert!(knockd(" command = etherwake 00:11:22:33:44:55\n").warnings.is_empty());
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
            "1: the file begins with a byte order mark",
            "1: [a]: Cmd_Timeout is not given: 10 s",
            "5: the line goes on",
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

/// knockd refuses such a file, but its device is meant.
#[test]
fn options_in_capitals() {
    let capital = imported(&format!("[Options]\n Interface = eth1\n[a]\n sequence = 7311,8122,9433\n{OPEN}"));
    has(&capital, &["list device 'eth1'"], &["1: [Options]: it is taken for [options]"]);
    has_not(&capital, "config door 'Options'");
    let door = imported(&format!("[Options]\n sequence = 7311,8122,9433\n{OPEN}"));
    has(&door, &["config door 'Options'"], &[]);
}

/// A key that is not known may have kept somebody out, so its door is shut.
#[test]
fn keys_that_knockd_does_not_have() {
    for (more, warning) in [
        ("target_ip = 192.0.2.5", "6: target_ip is left out: knockd has no such option"),
        ("enabled = 0", "6: enabled is left out: knockd has no such option"),
        ("tcpflags syn", "6: 'tcpflags syn' is left out: it has no value"),
    ] {
        has(&knockd(&format!("{OPEN} {more}\n")), &["option enabled '0'"], &[warning]);
    }
    let off = imported("[options]\n enabled = no\n[a]\n sequence = 1,2,3\n command = true\n");
    has(&off, &["option enabled '0'"], &["2: the doors are shut, because this line disables knockd"]);
}

/// For knockd a step ends at the first character that is no digit.
#[test]
fn steps_with_text_behind_the_number() {
    let with = |sequence: &str| imported(&format!("[a]\n sequence = {sequence}\n{OPEN}"));
    for (sequence, warning) in [
        ("7311 8122 9433", "2: step '7311 8122 9433' is port 7311, as knockd reads it"),
        ("7311;8122;9433", "2: step '7311;8122;9433' is port 7311, as knockd reads it"),
        ("7311,8122/udp,9433", "2: step '8122/udp' is port 8122, as knockd reads it"),
    ] {
        has(&with(sequence), &["list sequence '7311'"], &[warning]);
    }
    for sequence in ["7311, 8122:udp ,9433 # mine", "07311,8122,9433"] {
        let said = with(sequence).warnings;
        assert!(!said.iter().any(|warning| warning.message.contains("step")), "{said:?}");
    }
}

#[test]
fn times_with_units() {
    let close = "iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT";
    let with = |time: &str| knockd(&format!("{OPEN} stop_command = {close}\n cmd_timeout = {time}\n"));
    has(&with("1h"), &["option open_time '1'"], &["7: Cmd_Timeout 1h is 1 s, as knockd reads it"]);
    has(&with("-1"), &["option open_time '1'"], &["7: Cmd_Timeout -1 is made 1: no door shuts sooner"]);
    assert!(with("20 # s").warnings.is_empty());
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
    has(
        &knockd(" command = ufw allow from %IP% to any port 22\n"),
        &["option start_command 'ufw allow from %IP% to any port 22'"],
        &["only ufw can change its own entries"],
    );
}

/// A rule for one device would become a door on every device that is listened on.
#[test]
fn rules_for_one_device() {
    let with = |options: &str| {
        let open = OPEN.replace("-s", "-i eth0 -s");
        imported(&format!("[options]\n{options}\n[a]\n sequence = 7311,8122,9433\n{open}"))
    };
    has(&with("interface = eth0"), &["list dest_port '22'"], &[]);
    for options in ["UseSyslog", "interface = eth1", "interface = eth0,eth1"] {
        has(
            &with(options),
            &["option start_command 'iptables -A INPUT -i eth0 -s %IP% -p tcp --dport 22 -j ACCEPT'"],
            &["5: [a]: it keeps its commands, since they open the port on device eth0 only"],
        );
    }
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
    let text = "[options]\ninterface = eth0:1\n[a]\nsequence = 1\ncommand = true\n\
                [b]\nsequence = 2\ntarget = 192.0.2.7\ncommand = true\n";
    let aliased = import("f", text.as_bytes(), &WithAlias).unwrap().uci;
    for line in ["list device 'eth0'", "option target '192.0.2.9'", "option target '192.0.2.7'"] {
        assert_eq!(aliased.matches(line).count(), 1, "{aliased}");
    }
    assert!(!aliased.contains("option enabled '0'"), "{aliased}");
    has(&with("eth0:1"), &["list device 'eth0'", "option enabled '0'"], &["is an alias of device eth0"]);
    has(&with("a/b"), &["option enabled '0'"], &["no device has such a name"]);
}
