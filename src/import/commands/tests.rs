//! Commands as people write them.

use super::*;

fn ports(ports: &[PortRange]) -> String {
    let range = |range: &PortRange| format!("{}-{}", range.first(), range.last());
    ports.iter().map(range).collect::<Vec<_>>().join(",")
}

fn said(deed: &Deed) -> String {
    let rule = |rule: &ForeignRule| {
        let program = match &rule.program {
            ForeignFirewall::Iptables => "iptables",
            ForeignFirewall::Nft(table) => table,
        };
        let device = rule.device.as_deref().map(|device| format!(" on {device}")).unwrap_or_default();
        let chain = match rule.chain {
            ForeignChain::Input => String::new(),
            chain => format!(" {chain:?}"),
        };
        format!("{:?} {} {}{device}{chain} {program}", rule.family, rule.protocol, ports(&rule.ports))
    };
    match deed {
        Deed::Open(opened) => format!("open {}", rule(opened)),
        Deed::Shut(shut) => format!("shut {}", rule(shut)),
        Deed::ShutByHandle(ByHandle { table, numbers }) => format!("shut in {table} {numbers:?}"),
        other => format!("{other:?}"),
    }
}

fn does(command: &str) -> String {
    read(command).iter().map(said).collect::<Vec<_>>().join("; ")
}

#[test]
fn iptables() {
    for (command, expected) in [
        ("/usr/sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT", "open V4 tcp 22-22 iptables"),
        ("/sbin/iptables -I INPUT -s %IP% -p tcp --dport ssh -j ACCEPT", "open V4 tcp 22-22 iptables"),
        ("sudo iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT", "shut V4 tcp 22-22 iptables"),
        (
            "iptables -w 5 -I INPUT 1 -s %IP%/32 -p udp -m udp --dport 1194 -j ACCEPT",
            "open V4 udp 1194-1194 iptables",
        ),
        (
            "iptables -I INPUT -i eth0 -p tcp -s %IP% -m multiport --dports 443,22,6000:6010 -j ACCEPT # the lot",
            "open V4 tcp 22-22,443-443,6000-6010 on eth0 iptables",
        ),
        (
            "iptables -A INPUT -s %IP% -p tcp -m state --state NEW,ESTABLISHED --dport 22 \
             -m comment --comment \"let him in\" -j ACCEPT >/dev/null 2>&1",
            "open V4 tcp 22-22 iptables",
        ),
        ("ip6tables -A input_wan_rule -s %IP% -p tcp --dport 22 -j ACCEPT", "open V6 tcp 22-22 iptables"),
        (
            "iptables -t nat -A PREROUTING -s %IP% -p tcp --dport 8080 -j DNAT --to-destination 192.168.1.10:80; \
             iptables -A FORWARD -s %IP% -d 192.168.1.10 -p tcp --dport 80 -j ACCEPT",
            "open V4 tcp 8080-8080 Dnat(192.168.1.10, Some(80)) iptables; \
             open V4 tcp 80-80 Forward(Some(192.168.1.10)) iptables",
        ),
        (
            "iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT; sleep 60; iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
            "open V4 tcp 22-22 iptables; Sleep(60); shut V4 tcp 22-22 iptables",
        ),
    ] {
        assert_eq!(does(command), expected, "{command}");
    }
}

#[test]
fn knockds_own_script() {
    for (command, expected) in [
        ("/usr/local/sbin/knock_add -i -c INPUT -p tcp -d 443 -f %IP%", "open V4 tcp 443-443 iptables"),
        ("/usr/sbin/knock_helper_ipt.sh -a -f %IP% -d 22", "open V4 tcp 22-22 iptables"),
        (
            "knock_helper_ipt.sh --delete --srcaddr %IP% --dstport 53 --proto udp",
            "shut V4 udp 53-53 iptables",
        ),
        ("knock_add -i -f 192.0.2.1 -d 22", "Unknown"),
        ("knock_add -i -c knocked -f %IP% -d 22", "Unknown"),
        ("knock_add -f %IP% -d 22", "Unknown"),
        ("knock_add -i -f %IP%", "Unknown"),
        ("knock_add -t -i -f %IP% -d 22", "Unknown"),
    ] {
        assert_eq!(does(command), expected, "{command}");
    }
}

#[test]
fn nft() {
    for (command, expected) in [
        ("nft add rule inet filter input ip saddr %IP% tcp dport 22 accept", "open V4 tcp 22-22 inet filter"),
        (
            "/usr/sbin/nft 'insert rule filter input ip6 saddr %IP% tcp dport { 22, 8000-8010 } ct state new,established \
             counter accept comment \"knock %IP%\"'",
            "open V6 tcp 22-22,8000-8010 ip filter",
        ),
        (
            "nft delete rule inet filter input handle $(nft -a list chain inet filter input | awk '/%IP%/ { print $NF }')",
            "shut in filter []",
        ),
        (
            "/usr/sbin/nft delete rule inet filter input handle $(nft -a list chain inet filter input | awk '/%IP%.*2222/ {print $NF}')",
            "shut in filter [2222]",
        ),
        (
            "for h in $(nft -a list chain inet filter input | grep %IP% | grep -o 'handle [0-9]*' | cut -d' ' -f2); do nft delete rule inet filter input handle $h; done",
            "shut in filter []",
        ),
        ("nft add element inet filter allowed { %IP% }", "Foreign(\"nft add element\")"),
        // This does more than delete.
        (
            "nft delete rule inet filter input handle $(nft -a list ruleset | awk '/%IP%/ {print $NF}'); reboot",
            "Unknown",
        ),
        ("nft flush chain inet filter input", "Unknown"),
    ] {
        assert_eq!(does(command), expected, "{command}");
    }
}

#[test]
fn other_firewalls_and_other_programs() {
    for (command, expected) in [
        ("ufw allow from %IP% to any port 22", "Foreign(\"ufw\")"),
        ("sudo ufw delete allow from %IP% to any port 22", "Foreign(\"ufw\")"),
        ("ufw disable", "Unknown"),
        (
            "firewall-cmd --add-rich-rule='rule family=\"ipv4\" source address=\"%IP%\" port port=\"22\" protocol=\"tcp\" accept'",
            "Foreign(\"firewall-cmd\")",
        ),
        ("firewall-cmd --reload", "Unknown"),
        ("ipset add allowed %IP%", "Foreign(\"ipset\")"),
        ("etherwake 00:11:22:33:44:55 && logger woken", "Harmless; Harmless"),
        ("timeout 12 sleep 100", "Harmless"),
        ("/usr/local/bin/close.sh %IP%", "Unknown"),
    ] {
        assert_eq!(does(command), expected, "{command}");
    }
}

#[test]
fn what_does_more_is_not_understood() {
    for command in [
        "iptables -A INPUT -s %IP% -j ACCEPT",
        "iptables -A INPUT -p tcp --dport 22 -j ACCEPT",
        "iptables -A INPUT -s %IP% -p tcp --dport 22 -j DROP",
        "iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT | tee /tmp/x",
        "iptables -A INPUT ! -s %IP% -p tcp --dport 22 -j ACCEPT",
        "iptables -A INPUT -s %IP%/24 -p tcp --dport 22 -j ACCEPT",
        "iptables -A INPUT -s %IP% -p tcp --sport 22 -j ACCEPT",
        "iptables -A INPUT -s %IP% -d 192.0.2.1 -p tcp --dport 22 -j ACCEPT",
        "iptables -t nat -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
        "iptables -t nat -A PREROUTING -s %IP% -p tcp --dport 22 -j ACCEPT",
        "iptables -A INPUT -s %IP% -p tcp --dport 22 -m limit --limit 1/s -j ACCEPT",
        "iptables -A INPUT -s %IP% -p tcp --dport 22 -m state --state ESTABLISHED -j ACCEPT",
        "iptables -A INPUT -s %IP% -p tcp --dport 0 -j ACCEPT",
        "iptables -A INPUT -s %IP% -p tcp --dport 22,20:30 -j ACCEPT",
        "iptables -A INPUT -s %IP% -p tcp --dport 22",
        "iptables -D INPUT 1",
        "iptables -F INPUT",
        "sudo -u nobody iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
        "nft add rule inet filter forward ip saddr %IP% tcp dport 22 accept",
        "nft add rule inet filter input ip saddr %IP% tcp dport 22 drop",
        "nft add rule inet filter input tcp dport 22 accept",
        "'",
    ] {
        assert_eq!(does(command), "Unknown", "{command}");
    }
}
