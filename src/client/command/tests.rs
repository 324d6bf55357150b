use std::time::Duration;

use super::*;
use crate::client::arguments::DEFAULT_DELAY;
use crate::client::socket::KnockSource;
use crate::protocol::AddressFamily;

fn read(line: &str) -> Result<Command, UsageError> {
    parse(line.split_whitespace().map(OsString::from))
}

fn knocking(line: &str) -> Knocking {
    match read(line) {
        Ok(Command::Knock(knocking)) => knocking,
        other => panic!("{line}: {other:?}"),
    }
}

fn knocks(line: &str) -> Vec<String> {
    let knocks = knocking(line).knocks;
    knocks.iter().map(|knock| format!("{}/{}", knock.port, knock.protocol)).collect()
}

fn error(line: &str) -> String {
    match read(line) {
        Err(error) => error.to_string(),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_host_and_its_ports() {
    let Knocking { host, options, .. } = knocking("router 7000");
    assert_eq!((host.as_str(), options.clone()), ("router", Options::default()));
    assert_eq!((options.delay, options.verbose), (DEFAULT_DELAY, false));
    assert_eq!(
        knocks("router 7000 8000:udp 9000:tcp 7000 8000:UDP"),
        ["7000/tcp", "8000/udp", "9000/tcp", "7000/tcp", "8000/udp"]
    );
    assert_eq!(knocks("router 7000,8000:udp,9000 1"), ["7000/tcp", "8000/udp", "9000/tcp", "1/tcp"]);
    assert_eq!(knocks("router 1 65535"), ["1/tcp", "65535/tcp"]);
}

#[test]
fn options_as_getopt_reads_them() {
    let plain = knocking("-v -d 250 -6 router 7000");
    assert!(plain.options.verbose);
    assert_eq!(plain.options.delay, Duration::from_millis(250));
    assert_eq!(plain.options.family, Some(AddressFamily::V6));
    for line in [
        "-v6d 250 router 7000",
        "-6vd250 router 7000",
        "router -v 7000 -6 -d250",
        "--verbose --delay 250 --ipv6 router 7000",
        "--verb --del=250 --ipv6 router 7000",
        "-v6d250 -- router 7000",
        "-4 -v6d250 router 7000",
    ] {
        assert_eq!(knocking(line), plain, "{line}");
    }
    assert_eq!(knocking("-4 router 7000").options.family, Some(AddressFamily::V4));
    assert_eq!(knocking("-d 0 router 7000").options.delay, Duration::ZERO);
    assert_eq!(knocking("-- -router 7000").host, "-router");
}

#[test]
fn udp_goes_for_every_port() {
    for line in ["-u router 1 2:tcp 3:udp", "router 1 2:tcp 3:udp --udp"] {
        assert_eq!(knocks(line), ["1/udp", "2/udp", "3/udp"], "{line}");
    }
}

#[test]
fn version_and_help_need_no_host() {
    for line in ["-V", "--version", "--vers", "-vV", "router -V"] {
        assert_eq!(read(line), Ok(Command::Version), "{line}");
    }
    for line in ["-h", "--help", "--h", "router 7000 -h"] {
        assert_eq!(read(line), Ok(Command::Help(help::ALL)), "{line}");
    }
}

#[test]
fn errors_name_the_argument() {
    for (line, text) in [
        ("", "no host and no ports are given"),
        ("router", "no ports follow the host 'router': write ketuk router 7000 8000 9000"),
        ("fd00::1", "no ports follow the host 'fd00::1': write ketuk fd00::1 7000 8000 9000"),
        ("router:7000", "the ports come after the host, with a blank between: ketuk router 7000"),
        ("[::1]:7000", "the ports come after the host, with a blank between: ketuk [::1] 7000"),
        ("7000 192.0.2.1", "'192.0.2.1' is no port: the host comes first, and then its ports"),
        ("-x router 1", "there is no option '-x'"),
        ("-vx router 1", "there is no option '-x'"),
        ("--fast=1 router 1", "there is no option '--fast'"),
        ("--verbose-v router 1", "there is no option '--verbose-v'"),
        ("--ver router 1", "option '--ver' is the beginning of several options"),
        ("--verbose=1 router 1", "option '--verbose' takes no value"),
        ("router 1 -d", "option '-d' needs a value"),
        ("router 1 --delay", "option '--delay' needs a value"),
    ] {
        assert_eq!(error(line), text, "{line}");
    }
    for value in ["", "-5", "1.5", "100ms", "4294967296", "+5", "x"] {
        let text = format!("delay '{value}' is no number of milliseconds from 0 to 4294967295");
        assert_eq!(error(&format!("--delay={value} router 1")), text);
    }
    for port in ["0", "65536", "x", "7000:", ":udp", "7000:sctp", "7000:udp:", "+7", "1-2"] {
        let text = format!("'{port}' is no port: a number from 1 to 65535, then ':tcp', ':udp' or nothing");
        assert_eq!(error(&format!("router 7000 {port}")), text);
        assert_eq!(error(&format!("-u router {port}")), text);
    }
}

fn opening(line: &str) -> OpenCommand {
    match read(line) {
        Ok(Command::Open(opening)) => opening,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn options_stand_before_a_command_and_behind_it() {
    let line = "open -6 home --time=60 nas -v -a 192.0.2.1 -w 443 -d 5 -s eth0 -- ssh -v me@home";
    let whole = opening(line);
    assert_eq!((whole.profile.as_str(), whole.door.as_deref()), ("home", Some("nas")));
    assert_eq!(whole.command, ["ssh", "-v", "me@home"]);
    let Options { family, delay, verbose, seconds, address, wait, source, .. } = &whole.options;
    assert_eq!((*seconds, *wait, *verbose), (60, Some(443), true));
    assert_eq!((*family, *delay), (Some(AddressFamily::V6), Duration::from_millis(5)));
    assert_eq!(*address, Some("192.0.2.1".parse().unwrap()));
    assert_eq!(*source, Some(KnockSource::Device("eth0".to_owned())));
    let before = "-6 --time=60 -v -a 192.0.2.1 -w 443 -d 5 -s eth0 open home nas -- ssh -v me@home";
    assert_eq!(opening(before), whole);
    assert_eq!(
        opening("-vs192.0.2.1 open home").options.source,
        Some(KnockSource::Address("192.0.2.1".parse().unwrap()))
    );
}

#[test]
fn commands() {
    let home = || "home".to_owned();
    let Ok(Command::Connect(opening, port)) = read("-4 connect home 2222") else { panic!() };
    assert_eq!(
        (opening.profile, opening.options.family, port),
        (home(), Some(AddressFamily::V4), Some(2222))
    );
    assert_eq!(read("add ketuk://h/d home"), Ok(Command::Add("ketuk://h/d".to_owned(), Some(home()))));
    assert_eq!(read("add -"), Ok(Command::Add("-".to_owned(), None)));
    assert_eq!(read("list"), Ok(Command::List));
    assert_eq!(read("show home"), Ok(Command::Show(home())));
    assert_eq!(read("remove home nas"), Ok(Command::Remove(vec![home(), "nas".to_owned()])));
    assert_eq!(read("keygen"), Ok(Command::Keygen));
    // A host with a command's name.
    assert_eq!(knocking("-- open 7000").host, "open");
    for (name, text) in help::COMMANDS {
        assert_eq!(read(&format!("{name} --help")), Ok(Command::Help(text)));
        assert_eq!(read(&format!("-h {name}")), Ok(Command::Help(text)));
        assert!(
            text.contains(&format!("ketuk {name}")) || text.contains(&format!("ketuk [options] {name}")),
            "{text}"
        );
        assert!(help::ALL.contains(name), "{name}");
    }
}

#[test]
fn errors_of_commands() {
    for (line, text) in [
        ("open", "the profile is missing: 'ketuk list' lists the profiles"),
        ("open home -x", "there is no option '-x'"),
        ("open home -u", "'ketuk open' has no option '--udp'"),
        ("open home ssh more", "'more' is one argument too many"),
        ("open home -t", "option '-t' needs a value"),
        ("open home -t x", "time 'x' is no number of seconds from 0 to 4294967295"),
        ("open home -w 0", "'0' is no port: a number from 1 to 65535, then ':tcp', ':udp' or nothing"),
        ("open home -a home", "'home' is no IP address"),
        ("open home --", "no command follows '--'"),
        ("connect", "the profile is missing: 'ketuk list' lists the profiles"),
        ("connect home 22 23", "'23' is one argument too many"),
        ("connect home 22 -- ssh", "'ssh' is one argument too many"),
        ("connect home ssh", "'ssh' is no port: a number from 1 to 65535, then ':tcp', ':udp' or nothing"),
        ("-w 22 connect home", "'ketuk connect' has no option '--wait'"),
        ("add", "the line is missing: 'ketukd invite' prints it"),
        ("add a b c", "'c' is one argument too many"),
        ("list home", "'home' is one argument too many"),
        ("-4 list", "'ketuk list' has no option '--ipv4'"),
        ("remove", "the profile is missing: 'ketuk list' lists the profiles"),
        ("-t 5 router 7000", "'ketuk HOST PORT' has no option '--time'"),
    ] {
        assert_eq!(error(line), text, "{line}");
    }
}
