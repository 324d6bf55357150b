use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::parse;
use crate::config::{
    BackendOption, Commands, Config, Door, DoorPorts, Forward, LogLevel, NftTable, OnStop, PortRange,
    TableFamily,
};
use crate::core::sequence::{FlagMatch, Protocol, flag};

fn config(text: &str) -> Config {
    parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// A door that opens port 22, with further lines.
fn door(lines: &str) -> Door {
    config(&format!("config door 'a'\nlist sequence 7\noption dest_port 22\n{lines}\n")).doors.remove(0)
}

/// A door with a sequence and these lines.
fn opening(lines: &str) -> DoorPorts {
    config(&format!("config door 'a'\nlist sequence 7\n{lines}\n")).doors.remove(0).opening.unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "compared with times that may have no end")]
fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn ports(ranges: &[(u16, u16)]) -> Vec<PortRange> {
    ranges.iter().map(|&(first, last)| PortRange::new(first, last).expect("a range")).collect()
}

#[test]
fn nothing_said_is_the_defaults() {
    let Config { globals, doors, .. } = config("");
    assert_eq!(doors, []);
    assert!(!globals.enabled);
    assert_eq!((globals.backend, globals.log_level), (BackendOption::Auto, LogLevel::Notice));
    assert_eq!((globals.nft_table, globals.log_file), (None, None));
    assert!(globals.networks.is_empty() && globals.devices.is_empty() && globals.trap_except.is_empty());

    let door = door("");
    assert_eq!(door.name, "a");
    assert!(door.enabled);
    assert_eq!(door.knock.seq_timeout, Duration::from_secs(25));
    assert_eq!(door.knock.tcp_flags, FlagMatch::SYN);
    assert_eq!(door.knock.target, None);
    assert_eq!((door.open_time, door.max_time), (seconds(30), seconds(30)));
    assert_eq!(door.commands, Commands::default());
    assert_eq!(door.on_stop, OnStop::Shut);
    let both = vec![Protocol::Tcp, Protocol::Udp];
    assert_eq!(
        door.opening,
        Some(DoorPorts { protocols: both, dest_port: ports(&[(22, 22)]), forward: None })
    );
}

#[test]
fn globals() {
    let globals = config(
        "config globals g\noption enabled on\nlist network wan\nlist network wan6\nlist network wan\n\
         option device 'eth0 any'\noption backend nft\noption nft_table 'ip6 filter'\noption log_level debug\n\
         option log_file /tmp/ketuk.log\nlist trap_except 443\nlist trap_except 5-6:udp\n\
         config door a\nlist sequence 1\noption dest_port 2\noption trap_except '443:tcp 9:TCP'\n\
         config globals g\noption log_level error\n",
    )
    .globals;
    assert!(globals.enabled);
    assert_eq!(globals.networks, ["wan", "wan6"]);
    assert_eq!(globals.devices, ["eth0", "any"]);
    assert_eq!(globals.backend, BackendOption::Nft);
    assert_eq!(globals.nft_table, Some(NftTable { family: TableFamily::Ip6, name: "filter".into() }));
    assert_eq!(globals.log_level, LogLevel::Error);
    assert_eq!(globals.log_file, Some(PathBuf::from("/tmp/ketuk.log")));
    let except: Vec<_> = globals.trap_except.iter().map(ToString::to_string).collect();
    assert_eq!(except, ["443:tcp", "443:udp", "5:udp", "6:udp", "9:tcp"]);
}

#[test]
fn a_table_without_a_family_is_inet() {
    let globals = config("config globals\noption nft_table ' my-table '").globals;
    assert_eq!(globals.nft_table, Some(NftTable { family: TableFamily::Inet, name: "my-table".into() }));
}

#[test]
fn sequences() {
    for (lines, expected) in [
        ("list sequence 7000\nlist sequence '8000:udp'", "7000:tcp 8000:udp"),
        ("option sequence '7000,8000:UDP,9000:Tcp'", "7000:tcp 8000:udp 9000:tcp"),
        ("option sequence '7000, 7000 7000'", "7000:tcp 7000:tcp 7000:tcp"),
        ("list sequence 1,2\nlist sequence 65535", "1:tcp 2:tcp 65535:tcp"),
    ] {
        let config = config(&format!("config door a\n{lines}\noption dest_port 22"));
        let steps: Vec<_> = config.doors[0].knock.sequence.iter().map(ToString::to_string).collect();
        assert_eq!(steps.join(" "), expected, "{lines}");
    }
    let longest = vec!["7"; 32].join(",");
    assert_eq!(
        config(&format!("config door a\no sequence {longest}\no dest_port 1")).doors[0].knock.sequence.len(),
        32
    );
}

#[test]
fn tcp_flags() {
    use flag::{ACK, FIN, PSH, RST, SYN, URG};
    for (text, mask, value) in [
        ("syn", FIN | SYN | RST | ACK, SYN),
        ("SYN,!ack", FIN | SYN | RST | ACK, SYN),
        ("syn,ack", FIN | SYN | RST | ACK, SYN | ACK),
        ("syn, ! urg", FIN | SYN | RST | ACK | URG, SYN),
        ("!syn", SYN, 0),
        ("fin,urg,psh", FIN | URG | PSH, FIN | URG | PSH),
        ("ack,ack", ACK, ACK),
    ] {
        let door = door(&format!("option tcpflags '{text}'"));
        assert_eq!(door.knock.tcp_flags, FlagMatch::new(mask, value), "{text}");
    }
}

#[test]
fn knocks_at_another_address() {
    let door = door("option target '2001:db8::1'\noption seq_timeout 3600");
    assert_eq!(door.knock.target, Some("2001:db8::1".parse().unwrap()));
    assert_eq!(door.knock.seq_timeout, Duration::from_secs(3600));
}

#[test]
fn times() {
    for (lines, open_time, max_time) in [
        ("option open_time 10", seconds(10), seconds(10)),
        ("option cmd_timeout 10", seconds(10), seconds(10)),
        ("option cmd_timeout 10\noption open_time 10", seconds(10), seconds(10)),
        ("option open_time 0", None, None),
        ("option open_time 0\noption max_time 0", None, None),
        ("option open_time 10\noption max_time 10", seconds(10), seconds(10)),
        ("option max_time 3600", seconds(30), seconds(3600)),
        ("option max_time 0", seconds(30), None),
        ("option open_time 2678400", seconds(2_678_400), seconds(2_678_400)),
    ] {
        let door = door(lines);
        assert_eq!((door.open_time, door.max_time), (open_time, max_time), "{lines}");
    }
}

#[test]
fn protocols() {
    use Protocol::{Tcp, Udp};
    for (lines, expected) in [
        ("option proto tcp", &[Tcp][..]),
        ("option proto udp", &[Udp]),
        ("option proto 'udp tcp'", &[Udp, Tcp]),
        ("option proto tcpudp", &[Tcp, Udp]),
        ("list proto TCP\nlist proto tcp", &[Tcp]),
    ] {
        assert_eq!(opening(&format!("option dest_port 1\n{lines}")).protocols, expected, "{lines}");
    }
}

#[test]
fn ports_and_forwards() {
    let (v4, v6): (IpAddr, IpAddr) = ("192.168.1.2".parse().unwrap(), "fd00::2".parse().unwrap());
    let one = ports(&[(443, 443)]);
    let some = ports(&[(80, 80), (1000, 2000)]);
    for (lines, dest_port, forward) in [
        ("option dest_port 443", &one, None),
        ("option dest_port '80 1000-2000'", &some, None),
        ("list dest_port 80\nlist dest_port 1000-2000", &some, None),
        ("o dest_ip 192.168.1.2\no dest_port 443", &one, Some((&one, vec![v4]))),
        ("o dest_ip 192.168.1.2\no src_dport 443", &one, Some((&one, vec![v4]))),
        ("o dest_ip fd00::2\no src_dport '80 1000-2000'\no dest_port 443", &one, Some((&some, vec![v6]))),
        ("o dest_ip 'fd00::2 192.168.1.2'\no src_dport '80 1000-2000'", &some, Some((&some, vec![v6, v4]))),
        (
            "o dest_ip fd00::2\no src_dport '80 1000-2000'\no dest_port '80 1000-2000'",
            &some,
            Some((&some, vec![v6])),
        ),
    ] {
        let opening = opening(lines);
        assert_eq!(opening.dest_port, *dest_port, "{lines}");
        let forward = forward.map(|(src_dport, dest_ip)| Forward { src_dport: src_dport.clone(), dest_ip });
        assert_eq!(opening.forward, forward, "{lines}");
    }
}

#[test]
fn commands() {
    let config = config(
        "config door a\nlist sequence 1\noption start_command 'echo %IP%'\noption start_command_6 none\n\
         option stop_command none\noption stop_command_6 'echo 6'\n",
    );
    let commands = Commands {
        start: Some("echo %IP%".into()),
        start_6: Some(String::new()),
        stop: None,
        stop_6: Some("echo 6".into()),
    };
    assert_eq!((&config.doors[0].commands, &config.doors[0].opening), (&commands, &None));

    let longest = "x".repeat(super::super::MAX_COMMAND);
    assert_eq!(door(&format!("option stop_command {longest}")).commands.stop, Some(longest.clone()));
    let error = parse("f", format!("config door a\no sequence 1\no start_command {longest}y").as_bytes())
        .unwrap_err();
    assert!(error.to_string().starts_with("f:3:17: start_command is longer than 1024 bytes\n"), "{error}");
}

/// Doors without `on_stop` take that of the globals, even if the globals come later in the file.
#[test]
fn on_stop() {
    let config = config(
        "config door a\no sequence 1\no dest_port 1\nconfig door b\no sequence 1\no dest_port 1\no on_stop shut\n\
         config globals\noption on_stop keep\n",
    );
    assert_eq!([config.doors[0].on_stop, config.doors[1].on_stop], [OnStop::Keep, OnStop::Shut]);
}

#[test]
fn booleans() {
    for (word, expected) in [
        ("1", true),
        ("on", true),
        ("true", true),
        ("yes", true),
        ("enabled", true),
        ("0", false),
        ("off", false),
        ("false", false),
        ("no", false),
        ("disabled", false),
        ("''", true),
    ] {
        assert_eq!(door(&format!("option enabled {word}")).enabled, expected, "{word}");
    }
}

#[test]
fn as_many_doors_as_the_core_has_slots() {
    let doors = |count: usize| -> String {
        (0..count)
            .map(|at| format!("config door d{at}\noption sequence 1\noption dest_port 1\n"))
            .collect::<Vec<_>>()
            .concat()
    };
    assert_eq!(config(&doors(64)).doors.len(), 64);
    let error = parse("f", doors(65).as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "f:193:8: more than 64 doors\n  193 | config door d64\n      |        ^~~~"
    );
}

#[test]
fn hours_and_networks() {
    let hours = |lines: &str| door(lines).hours;
    assert_eq!(hours(""), None);
    let day = |lines: &str| hours(lines).unwrap().weekdays;
    assert_eq!(day("option weekdays 'Mon wednesday sun'"), 0b000_1011);
    for weekend in ["!sat sun", "! sat sun", "!sat !sun"] {
        assert_eq!(day(&format!("option weekdays '{weekend}'")), 0b011_1110, "{weekend}");
    }
    assert_eq!(day("option start_time 1:00"), 0b111_1111);
    let window = hours("option start_time 22:30\noption stop_time '6:00:01'").unwrap();
    assert_eq!((window.start, window.stop), (81000, 21601));
    let src = door("list src 192.0.2.77/24\nlist src 2001:db8::1").src;
    let src: Vec<_> = src.iter().map(ToString::to_string).collect();
    assert_eq!(src, ["192.0.2.0/24", "2001:db8::1/128"]);
}

#[cfg(not(feature = "iptables"))]
#[test]
fn a_backend_that_was_left_out_is_refused_at_its_place() {
    let error = parse("file", b"config globals\n\toption backend 'iptables'\n").expect_err("it is not there");
    let error = error.to_string();
    assert_eq!(
        error,
        "file:2:18: this ketukd was built without backend 'iptables'\n    2 | \toption backend 'iptables'\n      \
         | \t                ^~~~~~~~\n      = install the whole ketukd, or remove this option on a router with fw4"
    );
}
