//! The stock fwknop client.

use std::fmt::Write as _;

use super::*;

/// Runs fwknop's client as Fred.
fn fwknop(world: &World, arguments: &[&str]) -> Output {
    fwknop_with(world, (FWKNOP_KEY, FWKNOP_HMAC_KEY), arguments)
}

/// Runs fwknop's client with these keys.
fn fwknop_with(world: &World, (key, hmac_key): (&str, &str), arguments: &[&str]) -> Output {
    let home = world.scratch.path("home");
    std::fs::create_dir_all(&home).expect("a folder");
    let home = format!("HOME={}", home.display());
    let keys = ["--key-base64-rijndael", key, "--key-base64-hmac", hmac_key, "--use-hmac"];
    let fixed = [home.as_str(), "fwknop", "--no-save-args", "--no-rc-file", "-D", ROUTER];
    world.client.run("env", &[&fixed[..], &keys[..], arguments].concat())
}

fn knock_by_fwknop(world: &World, arguments: &[&str]) {
    succeeded("fwknop", arguments, &fwknop(world, arguments));
}

#[test]
fn fwknops_client_as_it_is() {
    let world = World::with_firewall();
    world.router.serve(22);
    world.lan.serve(80);
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let mut opened = 0;
    let recording = Recording::start(&world.router);
    let mut opens = |arguments: &[&str], door: &str| {
        knock_by_fwknop(&world, arguments);
        opened += 1;
        wait_for_counter(&daemon, "opened", opened);
        assert_eq!(grants(&daemon), [grant(door, CLIENT, "fred")], "{arguments:?}");
        let left = daemon.status()["grants"][0]["seconds_left"].as_u64().expect("a number");
        let greeted = world.client.greeted_by(ROUTER, if door == "web" { 8080 } else { 22 });
        assert!(greeted.is_some(), "{arguments:?}");
        daemon.ask(&["close", door]);
        left
    };
    // Access for the packet's source, for the address that it names, and for a time below and above the door's.
    assert!((20..=30).contains(&opens(&["-A", "tcp/22", "-s"], "ssh")));
    assert!((20..=30).contains(&opens(&["-A", "tcp/22", "-a", CLIENT], "ssh")));
    assert!((1..=10).contains(&opens(&["-A", "tcp/22", "-a", CLIENT, "-f", "10"], "ssh")));
    assert!((45..=60).contains(&opens(&["-A", "tcp/22", "-s", "-f", "3600"], "ssh")));
    // The client learns its address from a web page.
    let page = "python3 -c \"import http.server as h\nclass A(h.BaseHTTPRequestHandler):\n def do_GET(s):\n  s.send_response(200); s.end_headers(); s.wfile.write(s.client_address[0].encode())\nh.HTTPServer(('192.0.2.10', 80), A).handle_request()\"";
    thread::scope(|scope| {
        scope.spawn(|| world.stranger.shell(page));
        wait_until("the page is there", || world.stranger.stdout("ss", &["-ltnH"]).contains("192.0.2.10:80"));
        opens(&["-A", "tcp/22", "-R", "--resolve-http-only", "--resolve-url", "http://192.0.2.10/ip"], "ssh");
    });
    // To a host behind the router, with and without a time; and to the router by another way.
    opens(&["-A", "tcp/8080", "-s", "-N", "192.168.1.10:80"], "web");
    opens(&["-A", "tcp/8080", "-a", CLIENT, "-N", "192.168.1.10:80", "-f", "5"], "web");
    opens(&["-A", "tcp/8080", "-s"], "web");
    opens(&["-A", "tcp/22", "-s", "--nat-local", "--nat-port", "22"], "ssh");

    // Refused requests: each is refused as a whole, with its reason.
    let refused = |arguments: &[&str], counter: &str| {
        let before = daemon.counter(counter);
        knock_by_fwknop(&world, arguments);
        wait_for_counter(&daemon, counter, before + 1);
        assert_eq!(grants(&daemon), [], "{arguments:?}");
    };
    refused(&["-A", "tcp/22,tcp/443", "-s"], "auth_door");
    refused(&["-A", "tcp/22,udp/53", "-s"], "auth_door");
    refused(&["-A", "udp/22", "-s"], "auth_door");
    refused(&["-A", "tcp/22", "-s", "-N", "192.168.1.10:80"], "auth_door");
    refused(&["-A", "tcp/80", "-s"], "auth_door");
    refused(&["-A", "tcp/22", "-a", STRANGER], "auth_address");
    refused(&["-C", "id > /tmp/owned", "-s"], "auth_command");
    assert!(daemon.log().contains("user fred: not opened: it asks for a command"));

    // All recorded packets again, from another and from the same address, over both families.
    let recorded = recording.end().datagrams;
    assert!(recorded.len() >= 15, "{}", recorded.len());
    let before = daemon.counter("opened");
    for packet in &recorded {
        for (from, to) in [(&world.stranger, ROUTER), (&world.client, ROUTER), (&world.stranger, ROUTER_6)] {
            send(from, to, packet);
        }
    }
    let taken = |daemon: &Daemon<'_>| {
        ["auth_replay", "auth_command", "auth_door"].map(|name| daemon.counter(name)).iter().sum::<u64>()
    };
    daemon.wait("all were judged", |daemon| taken(daemon) >= 3 * recorded.len() as u64);
    assert_eq!((daemon.counter("opened"), grants(&daemon)), (before, vec![]));
}

/// fwknop's client supports IPv4 only, but its packet may arrive over IPv6.
#[test]
fn fwknops_packet_over_ipv6() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let file = world.scratch.path("packet");
    knock_by_fwknop(&world, &["-A", "tcp/22", "-s", "-T", "-B", file.to_str().expect("a plain path")]);
    let packet = std::fs::read_to_string(&file).expect("the packet");
    send(&world.stranger, ROUTER_6, packet.trim().as_bytes());
    wait_for_counter(&daemon, "opened", 1);
    assert_eq!(grants(&daemon), [grant("ssh", STRANGER_6, "fred")]);
}

/// Every HMAC and every inner digest that the client makes, a host that is named, and each refusal with its own reason.
#[test]
fn the_options_of_its_client() {
    const HMACS: [&str; 5] = ["md5", "sha1", "sha256", "sha384", "sha512"];
    // Twelve characters are nine bytes in base 64.
    let key_of = |number: usize| format!("HmacOf00000{number}");
    let mut config = CONFIG.to_owned();
    for (number, hmac) in HMACS.iter().enumerate() {
        let hmac_key = key_of(number);
        write!(
            config,
            "config user 'with_{hmac}'\n\toption fwknop_key '{FWKNOP_KEY}'\n\toption fwknop_hmac_key '{hmac_key}'\n\toption fwknop_hmac_type '{hmac}'\n\tlist door 'ssh'\n"
        )
        .expect("a String takes everything");
    }
    let (named, sourced, strict) = ("c3RyaWN0LW5hbWU=", "c3RyaWN0LXNyYw==", "c3RyaWN0LWFkZHJlc3M=");
    for (name, hmac_key, option) in [
        ("named", named, "option fwknop_user 'alice'"),
        ("sourced", sourced, "list src '192.0.2.0/24'"),
        ("strict", strict, "option require_address '1'"),
    ] {
        write!(
            config,
            "config user '{name}'\n\toption fwknop_key '{FWKNOP_KEY}'\n\toption fwknop_hmac_key '{hmac_key}'\n\t{option}\n\tlist door 'ssh'\n"
        )
        .expect("a String takes everything");
    }
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    a_second_later();
    let mut opened = 0;
    let mut opens = |user: &str, hmac_key: &str, arguments: &[&str]| {
        succeeded("fwknop", arguments, &fwknop_with(&world, (FWKNOP_KEY, hmac_key), arguments));
        opened += 1;
        daemon.wait(&format!("{user} is in with {arguments:?}"), |daemon| daemon.counter("opened") >= opened);
        let grants = grants(&daemon);
        assert_eq!((grants.len(), grants[0].2.as_str()), (1, user), "{arguments:?}");
        daemon.ask(&["close", &grants[0].0]);
    };
    for (number, hmac) in HMACS.iter().enumerate() {
        let arguments = ["-A", "tcp/22", "-s", "--hmac-digest-type", hmac];
        opens(&format!("with_{hmac}"), &key_of(number), &arguments);
    }
    for digest in ["md5", "sha1", "sha256", "sha384", "sha512", "sha3_256", "sha3_512"] {
        opens("fred", FWKNOP_HMAC_KEY, &["-A", "tcp/22", "-s", "--digest-type", digest]);
    }
    opens("fred", FWKNOP_HMAC_KEY, &["-A", "tcp/8080", "-s", "-N", "nas.example:80"]);
    opens("named", named, &["-A", "tcp/22", "-s", "-U", "alice"]);
    opens("strict", strict, &["-A", "tcp/22", "-a", CLIENT]);

    let refused = |keys: (&str, &str), arguments: &[&str], counter: &str| {
        let before = daemon.counter(counter);
        succeeded("fwknop", arguments, &fwknop_with(&world, keys, arguments));
        wait_for_counter(&daemon, counter, before + 1);
        assert_eq!(grants(&daemon), [], "{arguments:?}");
    };
    let fred = (FWKNOP_KEY, FWKNOP_HMAC_KEY);
    refused(fred, &["-A", "tcp/22", "-s", "--hmac-digest-type", "sha512"], "auth_digest");
    for mode in ["CFB", "OFB", "CTR", "ECB"] {
        refused(fred, &["-A", "tcp/22", "-s", "-M", mode], "auth_mode");
    }
    refused(("YW5vdGhlci1rZXk=", FWKNOP_HMAC_KEY), &["-A", "tcp/22", "-s"], "auth_key");
    let nine = (1..=9).map(|port| format!("tcp/{port}")).collect::<Vec<_>>().join(",");
    refused(fred, &["-A", &nine, "-s"], "auth_ports");
    refused(fred, &["-A", "tcp/22", "-s", "--time-offset-plus", "10M"], "auth_age");
    refused(fred, &["-A", "tcp/8080", "-s", "-N", "nas.example:81"], "auth_door");
    refused((FWKNOP_KEY, named), &["-A", "tcp/22", "-s", "-U", "bob"], "auth_user_name");
    refused((FWKNOP_KEY, sourced), &["-A", "tcp/22", "-s"], "auth_source");
    refused((FWKNOP_KEY, strict), &["-A", "tcp/22", "-s"], "auth_no_address");
    refused((FWKNOP_KEY, "bm9ib2R5"), &["-A", "tcp/22", "-s"], "auth_unknown");
    for reason in [
        "its HMAC is of another type",
        "another mode than CBC",
        "the user's fwknop_key differs from the client's key",
        "are both clocks right",
    ] {
        assert!(daemon.log().contains(reason), "{reason}");
    }
}

/// The commands of an invitation open the doors, and its stanza opens them again.
#[test]
fn what_an_invitation_says_to_run() {
    let world = World::with_firewall();
    world.router.serve(22);
    let strict = CONFIG.replace(
        "option fwknop_hmac_key",
        "option fwknop_user 'fredk'\n\toption fwknop_hmac_type 'sha512'\n\toption fwknop_hmac_key",
    );
    let config =
        strict.replace("option trust_clock '1'", "option trust_clock '1'\n\toption spa_port '40000'");
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    a_second_later();
    let file = daemon.config().to_str().expect("a plain path");
    let invite = ["invite", "fred", "--fwknop", "--host", ROUTER, "--config", file];
    let said = support::run(support::ketukd().to_str().expect("a plain path"), &invite);
    let keys = succeeded("ketukd", &invite, &said);
    assert_eq!(keys, format!("KEY_BASE64:{FWKNOP_KEY} HMAC_KEY_BASE64:{FWKNOP_HMAC_KEY}\n"));
    let said = String::from_utf8(said.stderr).expect("text");
    let home = world.scratch.path("home");
    std::fs::create_dir_all(&home).expect("a folder");
    let mut opened = 0;
    for (door, line) in ["ssh", "web"].iter().zip(said.lines().filter(|line| line.starts_with("  fwknop "))) {
        let line = line.replace("HMAC_KEY", FWKNOP_HMAC_KEY).replace(" KEY ", &format!(" {FWKNOP_KEY} "));
        for command in [line, format!("fwknop -n {door} -s")] {
            world.client.shell(&format!("HOME={} {}", home.display(), command.trim()));
            opened += 1;
            daemon.wait(&format!("{command} opens"), |daemon| daemon.counter("opened") == opened);
            assert_eq!(grants(&daemon), [grant(door, CLIENT, "fred")], "{command}");
            daemon.ask(&["close", door]);
        }
    }
    assert_eq!(opened, 4, "{said}");
}

/// The log names a packet of the client that is encrypted and signed with GnuPG as such, also if it has a right HMAC.
#[test]
fn gnupg_of_its_client_is_named() {
    let world = World::with_firewall();
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let folder = world.scratch.path("g");
    std::fs::create_dir_all(&folder).expect("a folder");
    let folder = folder.to_str().expect("a plain path");
    let home = format!("GNUPGHOME={folder}");
    let fred = "fred@example.org";
    let made = ["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-gen-key", fred];
    world.client.stdout("env", &[&[home.as_str()][..], &made, &["default", "default", "never"]].concat());
    let with_gnupg = ["--gpg-recipient-key", fred, "--gpg-signer-key", fred, "--gpg-home-dir", folder];
    let keys = ["--gpg-no-signing-pw", "--use-hmac", "--key-base64-hmac", FWKNOP_HMAC_KEY];
    let fixed =
        [home.as_str(), "fwknop", "--no-save-args", "--no-rc-file", "-D", ROUTER, "-A", "tcp/22", "-s"];
    for (sent, keys) in [(1, &keys[..1]), (2, &keys[..])] {
        let arguments = [&fixed[..], &with_gnupg, keys].concat();
        succeeded("fwknop", &arguments, &world.client.run("env", &arguments));
        wait_for_counter(&daemon, "auth_gnupg", sent);
    }
    world.client.stdout("gpgconf", &["--homedir", folder, "--kill", "all"]);
    daemon.wait_for_log(&format!(
        "{CLIENT}: not opened: it seems to be encrypted with GnuPG, which is not supported"
    ));
    assert_eq!(grants(&daemon), []);
}

/// A stanza as fwknop's own client writes it opens the same doors by ketuk's client, over both families.
#[test]
fn a_stanza_of_its_client() {
    let world = World::with_firewall();
    world.router.serve(22);
    world.lan.serve(80);
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    a_second_later();
    let file = world.scratch.path("fwknoprc");
    let file = file.to_str().expect("a plain path");
    for (name, more) in [
        ("home", &["-A", "tcp/22", "-s"][..]),
        ("web", &["-A", "tcp/8080", "-a", CLIENT, "-N", "192.168.1.10:80", "-f", "5"]),
    ] {
        let saved = ["--rc-file", file, "--save-rc-stanza", "--no-save-args", "-T", "-n", name, "-D", ROUTER];
        let keys = ["--key-base64-rijndael", FWKNOP_KEY, "--key-base64-hmac", FWKNOP_HMAC_KEY, "--use-hmac"];
        let output = world.client.run("fwknop", &[&saved[..], &keys, more].concat());
        succeeded("fwknop", more, &output);
    }
    let added = client(&world, &world.client, &["add", file]);
    succeeded("ketuk", &["add", file], &added);
    let recording = Recording::start(&world.router);
    for (opened, name, door, port) in [(1, "home", "ssh", 22), (2, "web", "web", 8080)] {
        let arguments = ["open", name, "--", "true"];
        succeeded("ketuk", &arguments, &client(&world, &world.client, &arguments));
        wait_for_counter(&daemon, "opened", opened);
        assert_eq!(grants(&daemon), [grant(door, CLIENT, "fred")]);
        assert!(world.client.greeted_by(ROUTER, port).is_some(), "{name}");
        daemon.ask(&["close", door]);
    }
    assert!(daemon.counter("auth_replay") == 0);
    for packet in &recording.end().datagrams {
        send(&world.stranger, ROUTER, packet);
    }
    daemon.wait("replays were refused", |daemon| daemon.counter("auth_replay") >= 2);
    assert_eq!(grants(&daemon), []);
    // A request for a time, and one for another address.
    let arguments = ["open", "home", "-t", "10"];
    succeeded("ketuk", &arguments, &client(&world, &world.client, &arguments));
    wait_for_counter(&daemon, "opened", 3);
    assert!((1..=10).contains(&daemon.status()["grants"][0]["seconds_left"].as_u64().expect("a number")));
    let arguments = ["open", "home", "-a", STRANGER];
    succeeded("ketuk", &arguments, &client(&world, &world.client, &arguments));
    wait_for_counter(&daemon, "auth_address", 1);
}
