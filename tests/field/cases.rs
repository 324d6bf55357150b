//! The table: the effect of each file with the stock program, and with ketukd.

/// The behaviour of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The knock opens nothing.
    Shut,
    /// It opens, and shuts by itself.
    ForItsTime,
    /// It opens, and shuts when the closing knock comes.
    UntilKnock,
    /// It opens and stays open.
    Open,
}

/// The program that a file is written for, and the arguments of its client.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stock {
    /// knockd.
    Knockd { file: &'static [u8], open: &'static str, close: Option<&'static str> },
    /// fwknopd, whose file begins with the keys unless it has its own.
    Fwknopd { file: &'static str, client: &'static str },
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) stock: Stock,
    pub(super) port: u16,
    pub(super) with_stock: Seen,
    pub(super) with_ketukd: Seen,
}

impl Case {
    pub(super) fn file(&self) -> Vec<u8> {
        match self.stock {
            Stock::Knockd { file, .. } => file.to_vec(),
            Stock::Fwknopd { file, .. } => file.replace("KEYS", KEYS).into_bytes(),
        }
    }

    pub(super) fn is_nft(&self) -> bool {
        matches!(self.stock, Stock::Knockd { file, .. } if file.windows(4).any(|part| part == b"nft "))
    }
}

const KEYS: &str = "KEY_BASE64 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\
                    HMAC_KEY_BASE64 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// The client with these keys.
macro_rules! client {
    ($more:literal) => {
        concat!(
            "--key-base64-rijndael AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= ",
            "--key-base64-hmac ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8= ",
            $more
        )
    };
}

macro_rules! knockd {
    ($name:literal, $file:expr, $stock:ident, $ketuk:ident) => {
        knockd!($name, $file, "7311 8122 9433", None, $stock, $ketuk)
    };
    ($name:literal, $file:expr, $open:literal, $close:expr, $stock:ident, $ketuk:ident) => {
        Case {
            name: $name,
            stock: Stock::Knockd { file: $file, open: $open, close: $close },
            port: 22,
            with_stock: Seen::$stock,
            with_ketukd: Seen::$ketuk,
        }
    };
}

macro_rules! fwknopd {
    ($name:literal, $file:literal, $client:literal, $stock:ident, $ketuk:ident) => {
        Case {
            name: $name,
            stock: Stock::Fwknopd { file: $file, client: client!($client) },
            port: 22,
            with_stock: Seen::$stock,
            with_ketukd: Seen::$ketuk,
        }
    };
}

const CLOSE: Option<&str> = Some("9433 8122 7311");

/// A line of the table for each file: the behaviour ([`Seen`]) with the stock program, and with ketukd.
pub(super) const CASES: &[Case] = &[
    // --- How knockd's doors shut ---
    knockd!("one knock opens, another shuts", b"[a]\nsequence=7311,8122,9433\ncommand=iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n[b]\nsequence=9433,8122,7311\ncommand=iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", "7311 8122 9433", CLOSE, UntilKnock, UntilKnock),
    knockd!("shut by a second command after a time", b"[options]\n UseSyslog\n[a]\n sequence = 7311,8122,9433\n tcpflags = syn\n start_command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n cmd_timeout = 3\n stop_command = iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", ForItsTime, ForItsTime),
    knockd!("nothing shuts it", b"[a]\n sequence = 7311,8122,9433\n command = iptables -A INPUT -s %IP% -p tcp --dport ssh -j ACCEPT\n", Open, Open),
    knockd!("shut by a flush", b"[a]\nsequence=7311,8122,9433\ncommand=iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n[b]\nsequence=9433,8122,7311\ncommand=iptables -F INPUT\n", "7311 8122 9433", CLOSE, UntilKnock, UntilKnock),
    knockd!("shut in a list of commands", b"[a]\nsequence=7311,8122,9433\ncommand=iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n[b]\nsequence=9433,8122,7311\ncommand=echo shut && iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT; true\n", "7311 8122 9433", CLOSE, UntilKnock, UntilKnock),
    knockd!("shut by a script", b"[a]\nsequence=7311,8122,9433\ncommand=iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n[b]\nsequence=9433,8122,7311\ncommand=/bin/sh -c 'iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT'\n", "7311 8122 9433", CLOSE, UntilKnock, UntilKnock),
    knockd!("shut by number, found in a list", b"[a]\nsequence=7311,8122,9433\ncommand=iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n[b]\nsequence=9433,8122,7311\ncommand=iptables -D INPUT $(iptables -L INPUT -n --line-numbers | grep %IP% | cut -d' ' -f1)\n", "7311 8122 9433", CLOSE, UntilKnock, UntilKnock),
    knockd!("shut by the command itself, after a sleep", b"[a]\nsequence=7311,8122,9433\ncommand=iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT; sleep 3; iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", ForItsTime, ForItsTime),
    knockd!("the same, with something else in it", b"[a]\nsequence=7311,8122,9433\ncommand=iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT; sleep 3; echo over; iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", ForItsTime, ForItsTime),
    knockd!("the closing knock deletes another rule", b"[a]\nsequence=7311,8122,9433\ncommand=iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n[b]\nsequence=9433,8122,7311\ncommand=iptables -D INPUT -s %IP% -p tcp --dport 2222 -j ACCEPT\n", "7311 8122 9433", CLOSE, Open, Open),
    knockd!("nft, shut by handle", b"[a]\nsequence=7311,8122,9433\ncommand=nft add rule inet filter input ip saddr %IP% tcp dport 22 accept\n[b]\nsequence=9433,8122,7311\ncommand=nft delete rule inet filter input handle $(nft -a list chain inet filter input | awk '/%IP%.*22/ {print $NF}')\n", "7311 8122 9433", CLOSE, UntilKnock, UntilKnock),
    knockd!("nft, shut by handle after a time", b"[a]\nsequence=7311,8122,9433\nstart_command=nft add rule inet filter input ip saddr %IP% tcp dport { 22, 80 } accept\ncmd_timeout=3\nstop_command=nft delete rule inet filter input handle $(nft -a list chain inet filter input | awk '/%IP%/ {print $NF}')\n", ForItsTime, ForItsTime),
    knockd!("nft, shut by a flush", b"[a]\nsequence=7311,8122,9433\ncommand=nft add rule inet filter input ip saddr %IP% tcp dport 22 accept\n[b]\nsequence=9433,8122,7311\ncommand=nft flush chain inet filter input\n", "7311 8122 9433", CLOSE, UntilKnock, UntilKnock),
    knockd!("nft, the closing knock asks iptables", b"[a]\nsequence=7311,8122,9433\ncommand=nft add rule inet filter input ip saddr %IP% tcp dport 22 accept\n[b]\nsequence=9433,8122,7311\ncommand=iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", "7311 8122 9433", CLOSE, Open, Open),
    // --- How knockd reads its file ---
    knockd!("comments behind values", b"[a]\n sequence = 7311,8122,9433   # mine\n seq_timeout = 9 # s\n start_command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n cmd_timeout = 3   # s\n stop_command = iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT # shut\n", ForItsTime, ForItsTime),
    // knockd refuses the whole file, because it takes the mark for a directive before the first section.
    knockd!("a byte order mark", b"\xef\xbb\xbf[a]\r\n sequence = 7311,8122,9433\r\n command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\r\n", Shut, Open),
    knockd!("carriage returns", b"[a]\r\n Sequence = 7311:TCP,8122:tcp,9433\r\n TCPFlags = SYN\r\n Command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\r\n", Open, Open),
    knockd!("a key twice, the second is knocked", b"[a]\n sequence = 1,2,3\n sequence = 7311,8122,9433\n command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", Open, Open),
    knockd!("a key twice, the first is knocked", b"[a]\n sequence = 7311,8122,9433\n sequence = 1,2,3\n command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", Shut, Shut),
    knockd!("flags that no first segment has", b"[a]\n sequence = 7311,8122,9433\n tcpflags = syn,ack\n command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", Shut, Shut),
    knockd!("no time for the sequence", b"[a]\n sequence = 7311,8122,9433\n seq_timeout = none\n command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", Shut, Shut),
    knockd!("a service's name in the sequence", b"[a]\n sequence = 7311,http,9433\n command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", "7311 80 9433", None, Shut, Shut),
    knockd!("its own section last", b"[a]\n sequence = 7311,8122,9433\n command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n[options]\n UseSyslog\n", Open, Open),
    knockd!("a target that is another host", b"[a]\n sequence = 7311,8122,9433\n target = 192.0.2.77\n command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", Shut, Shut),
    knockd!("UDP steps and two ports", b"[a]\n sequence = 7311:udp,8122:tcp,9433:udp\n start_command = iptables -A INPUT -s %IP% -p tcp -m multiport --dports 22,80 -j ACCEPT\n cmd_timeout = 3\n stop_command = iptables -D INPUT -s %IP% -p tcp -m multiport --dports 22,80 -j ACCEPT\n", "7311:udp 8122 9433:udp", None, ForItsTime, ForItsTime),
    knockd!("a command for IPv6 only, knocked over IPv4", b"[a]\n sequence = 7311,8122,9433\n command = ip6tables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", Shut, Shut),
    knockd!("a rule for another device", b"[a]\n sequence = 7311,8122,9433\n command = iptables -A INPUT -i lan0 -s %IP% -p tcp --dport 22 -j ACCEPT\n", Shut, Shut),
    // The import cannot read the command that shuts the port, so the door does not open.
    knockd!("a stop command that is not UTF-8", b"[a]\n sequence = 7311,8122,9433\n start_command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n cmd_timeout = 3\n stop_command = iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT # f\xe9\n", ForItsTime, Shut),
    // --- How people write their rules ---
    knockd!("the whole machine for a while", b"[options]\n\tUseSyslog\n[me]\n\tsequence = 7311,8122,9433\n\tstart_command = /sbin/iptables -A INPUT -s %IP% -j ACCEPT\n\tcmd_timeout = 3\n\tstop_command = /sbin/iptables -D INPUT -s %IP% -j ACCEPT\n", ForItsTime, ForItsTime),
    knockd!("a range of ports, a state, a place in the chain", b"[options]\n\tUseSyslog\n[me]\n\tsequence = 7311 , 8122 , 9433\n\ttcpflags = syn,!ack\n\tstart_command = /sbin/iptables -I INPUT 1 -s %IP%/32 -p tcp -m state --state NEW -m tcp --dport 20:25 -j ACCEPT\n\tcmd_timeout = 3\n\tstop_command = /sbin/iptables -D INPUT -s %IP%/32 -p tcp -m state --state NEW -m tcp --dport 20:25 -j ACCEPT\n", ForItsTime, ForItsTime),
    knockd!("two rules in one command, deleted in the other order", b"[me]\nsequence = 7311,8122,9433\nstart_command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT && iptables -A INPUT -s %IP% -p tcp --dport 80 -j ACCEPT\ncmd_timeout = 3\nstop_command = iptables -D INPUT -s %IP% -p tcp --dport 80 -j ACCEPT ; iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n", ForItsTime, ForItsTime),
    knockd!("through env, with a limit of connections", b"[me]\nsequence = 7311,8122,9433\nstart_command = /usr/bin/env iptables -A INPUT -s %IP% -p tcp --dport 22 -m limit --limit 5/second -j ACCEPT\ncmd_timeout = 3\nstop_command = /usr/bin/env iptables -D INPUT -s %IP% -p tcp --dport 22 -m limit --limit 5/second -j ACCEPT\n", ForItsTime, ForItsTime),
    knockd!("nft, with a counter, deleted by its comment", b"[me]\nsequence = 7311,8122,9433\nstart_command = nft insert rule inet filter input ip saddr %IP% tcp dport 22 counter accept comment knock\ncmd_timeout = 3\nstop_command = nft delete rule inet filter input handle $(nft -a list chain inet filter input | sed -n 's/.*knock.*handle //p')\n", ForItsTime, ForItsTime),
    // --- fwknopd ---
    fwknopd!("a port and a time", "SOURCE ANY\nOPEN_PORTS tcp/22\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s", ForItsTime, ForItsTime),
    fwknopd!("another port", "SOURCE ANY\nOPEN_PORTS tcp/443\nKEYS\n", "-A tcp/22 -s", Shut, Shut),
    fwknopd!("expired, in seconds", "SOURCE ANY\nOPEN_PORTS tcp/22\nACCESS_EXPIRE_EPOCH 1111111111\nKEYS\n", "-A tcp/22 -s", Shut, Shut),
    fwknopd!("expired, as a date", "SOURCE ANY\nOPEN_PORTS tcp/22\nACCESS_EXPIRE 1/31/2020\nKEYS\n", "-A tcp/22 -s", Shut, Shut),
    fwknopd!("expires on no date", "SOURCE ANY\nOPEN_PORTS tcp/22\nACCESS_EXPIRE never\nKEYS\n", "-A tcp/22 -s", Shut, Shut),
    fwknopd!("another user's name", "SOURCE ANY\nOPEN_PORTS tcp/22\nREQUIRE_USERNAME alice\nKEYS\n", "-A tcp/22 -s -U bob", Shut, Shut),
    fwknopd!("the user's name", "SOURCE ANY\nOPEN_PORTS tcp/22\nREQUIRE_USERNAME alice\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s -U alice", ForItsTime, ForItsTime),
    fwknopd!("no address in the packet", "SOURCE ANY\nOPEN_PORTS tcp/22\nREQUIRE_SOURCE_ADDRESS Y\nKEYS\n", "-A tcp/22 -s", Shut, Shut),
    fwknopd!("the same by its other name", "SOURCE ANY\nOPEN_PORTS tcp/22\nREQUIRE_SOURCE Y\nKEYS\n", "-A tcp/22 -s", Shut, Shut),
    fwknopd!("its address in the packet", "SOURCE ANY\nOPEN_PORTS tcp/22\nREQUIRE_SOURCE Y\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -a 198.51.100.10", ForItsTime, ForItsTime),
    fwknopd!("a port that is restricted", "SOURCE ANY\nOPEN_PORTS tcp/22, tcp/80\nRESTRICT_PORTS tcp/22\nKEYS\n", "-A tcp/22 -s", Shut, Shut),
    fwknopd!("from another network", "SOURCE 192.0.2.0/24\nOPEN_PORTS tcp/22\nKEYS\n", "-A tcp/22 -s", Shut, Shut),
    fwknopd!("from its network", "SOURCE 192.0.2.0/24, 198.51.100.0/255.255.255.0\nOPEN_PORTS tcp/22\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s", ForItsTime, ForItsTime),
    fwknopd!("to another address", "SOURCE ANY\nDESTINATION 192.0.2.77\nOPEN_PORTS tcp/22\nKEYS\n", "-A tcp/22 -s", Shut, Shut),
    fwknopd!("HMAC-SHA-512", "SOURCE ANY\nOPEN_PORTS tcp/22\nHMAC_DIGEST_TYPE sha512\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s --hmac-digest-type sha512", ForItsTime, ForItsTime),
    fwknopd!("the port of the second stanza with the same key", "SOURCE ANY\nOPEN_PORTS tcp/80\nKEYS\nSOURCE ANY\nOPEN_PORTS tcp/22\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s", ForItsTime, ForItsTime),
    fwknopd!("no time is 30 seconds", "SOURCE ANY\nOPEN_PORTS tcp/22\nFW_ACCESS_TIMEOUT 0\nKEYS\n", "-A tcp/22 -s", Open, Open),
    fwknopd!("a key that is a placeholder", "SOURCE ANY\nOPEN_PORTS tcp/22\nKEY __CHANGEME__\nHMAC_KEY __CHANGEME__\n", "-A tcp/22 -s", Shut, Shut),
    fwknopd!("a command instead of the firewall", "SOURCE ANY\nOPEN_PORTS tcp/22\nCMD_CYCLE_OPEN /usr/sbin/iptables -I INPUT -s $SRC -p $PROTO --dport $PORT -j ACCEPT\nCMD_CYCLE_CLOSE /usr/sbin/iptables -D INPUT -s $SRC -p $PROTO --dport $PORT -j ACCEPT\nCMD_CYCLE_TIMER 4\nKEYS\n", "-A tcp/22 -s", ForItsTime, ForItsTime),
    // A setting that is not carried over keeps the user out.
    fwknopd!("a key that nobody knows", "SOURCE ANY\nOPEN_PORTS tcp/22\nFW_ACCESS_TIMEOUT 4\nCOLOUR red\nKEYS\n", "-A tcp/22 -s", ForItsTime, Shut),
    fwknopd!("colons and semicolons", "SOURCE: ANY;\nOPEN_PORTS: tcp/80, tcp/22;\nFW_ACCESS_TIMEOUT: 4;\nKEYS\n", "-A tcp/22 -s", ForItsTime, ForItsTime),
    fwknopd!("a longer time is asked for than there is", "SOURCE ANY\nOPEN_PORTS tcp/22\nFW_ACCESS_TIMEOUT 3\nMAX_FW_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s -f 3600", ForItsTime, ForItsTime),
    fwknopd!("expires in another century", "SOURCE ANY\nOPEN_PORTS tcp/22\nACCESS_EXPIRE 12/31/2199\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s", ForItsTime, ForItsTime),
    fwknopd!("the HMAC's name in capitals", "SOURCE ANY\nOPEN_PORTS tcp/22\nHMAC_DIGEST_TYPE SHA256\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s", ForItsTime, ForItsTime),
    fwknopd!("the mode of old clients", "SOURCE ANY\nOPEN_PORTS tcp/22\nENCRYPTION_MODE LEGACY\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s", Shut, Shut),
    // fwknopd does not know a key in small letters, so any port opens there.
    fwknopd!("small letters", "SOURCE ANY\nopen_ports tcp/80\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s", ForItsTime, Shut),
    fwknopd!("no translation of forwards, and none is asked for", "SOURCE ANY\nOPEN_PORTS tcp/22\nDISABLE_DNAT Y\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s", ForItsTime, Shut),
    // --- fwknopd without OPEN_PORTS ---
    fwknopd!("any port", "SOURCE ANY\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s", ForItsTime, ForItsTime),
    fwknopd!("any port, and another is asked for", "SOURCE ANY\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/80 -s", Shut, Shut),
    fwknopd!("any port, two are asked for", "SOURCE ANY\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A udp/22,tcp/22 -s", ForItsTime, ForItsTime),
    fwknopd!("any port but one that is restricted", "SOURCE ANY\nRESTRICT_PORTS tcp/22\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s", Shut, Shut),
    fwknopd!("any port but another that is restricted", "SOURCE ANY\nRESTRICT_PORTS tcp/21, tcp/23\nFW_ACCESS_TIMEOUT 4\nKEYS\n", "-A tcp/22 -s", ForItsTime, ForItsTime),
];
