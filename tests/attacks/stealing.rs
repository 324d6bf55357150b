//! A thief has a memory image of the daemon. Secrets that were removed from the configuration are not in it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use ketuk::protocol::{base32, base64, mac, totp};

use super::support::daemon::Daemon;
use super::support::{ROUTER, World};
use super::*;

/// Secrets whose bytes appear nowhere else in memory.
const KEY_BYTES: [u8; KEY] =
    *b"\x91\xe3Kd]0\xb7\x1ct\x08\xfe\xc2h\x9aY\x06\xd4\x12>\xa5\x7f\xcb3\x8e\xf0\x15G\xba\x62\x9d\xc8\x21";
const TOTP_BYTES: [u8; 20] =
    *b"\xc7\x0e\xa4\x5b\xf9\x32\x86\x1d\xe8\x43\xbd\x70\x9f\x24\x56\xca\x03\xd1\x6f\xb8";

/// A secret in one of its forms, and the form's name.
struct Trace {
    name: &'static str,
    bytes: Vec<u8>,
}

/// All forms that reveal the secrets: the bytes, the text, the derived keys, and the padded keys of HMAC.
fn traces() -> Vec<Trace> {
    let derived = |purpose: &[u8]| mac::hmac_sha256(&KEY_BYTES, &[purpose]);
    let (tag, seal) = (derived(b"ketuk 1 tag"), derived(b"ketuk 1 seal"));
    let mixed = |secret: &[u8], pad: u8| secret.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    let mut traces = Vec::new();
    for (name, secret) in
        [("key", &KEY_BYTES[..]), ("tag key", &tag), ("seal key", &seal), ("totp secret", &TOTP_BYTES)]
    {
        for bytes in [secret.to_vec(), mixed(secret, 0x36), mixed(secret, 0x5c)] {
            traces.push(Trace { name, bytes });
        }
    }
    let mut text = [0; 64];
    let key = base64::encode(&KEY_BYTES, &mut text).expect("room").as_bytes().to_vec();
    traces.push(Trace { name: "key as text", bytes: key });
    let totp: String = base32::encode(&TOTP_BYTES).collect();
    traces.push(Trace { name: "totp secret as text", bytes: totp.into_bytes() });
    traces
}

/// The daemon's processes.
fn processes(first: u32) -> Vec<u32> {
    let mut all = vec![first];
    let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
    for child in children.split_whitespace() {
        all.extend(processes(child.parse().expect("a process id")));
    }
    all
}

/// The places of half a secret in the daemon's memory, as `name in region`.
fn found(daemon: &Daemon<'_>, traces: &[Trace]) -> BTreeSet<String> {
    processes(daemon.pid()).into_iter().flat_map(|process| found_in(process, traces)).collect()
}

fn found_in(process: u32, traces: &[Trace]) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("alive");
    let memory = File::open(format!("/proc/{process}/mem")).expect("root may read it");
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, region) = line.split_once(' ').expect("a range");
        let (first, end) = range.split_once('-').expect("a range");
        let [first, end] = [first, end].map(|text| u64::from_str_radix(text, 16).expect("hex"));
        let mut bytes = vec![0; usize::try_from(end - first).expect("fits")];
        memory.read_exact_at(&mut bytes, first).expect("what is writable is readable");
        for Trace { name, bytes: trace } in traces {
            let half = trace.len() / 2;
            if [&trace[..half], &trace[half..]].iter().any(|half| holds(&bytes, half)) {
                found.push(format!("{name} in {}", region.split_whitespace().last().unwrap_or_default()));
            }
        }
    }
    found
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|part| part == wanted)
}

#[test]
fn a_removed_users_secrets_are_nowhere_in_memory() {
    let attack = Attack::new("thief", "a memory image of the daemon, after a user was removed");
    let world = World::with_firewall();
    let traces = traces();
    let text = |name: &str| {
        let trace = traces.iter().find(|trace| trace.name == name).expect("made above");
        String::from_utf8(trace.bytes.clone()).expect("text")
    };
    let with_her = format!(
        "{CONFIG}config user 'zoe'\n\toption key '{}'\n\toption totp '{}'\n\tlist door 'hers'\n",
        text("key as text"),
        text("totp secret as text")
    );
    let daemon = Daemon::start(&world.router, &world.scratch, &with_her);
    a_second_later();
    // Both of her secrets have been used, so all forms of them have been in memory.
    let request = Request {
        time: clock::wall_s(),
        seconds: 0,
        address: None,
        door: DoorName::new("hers").expect("a name"),
    };
    send(&world.client, ROUTER, &Keys::derive(&KEY_BYTES).seal([9; NONCE], &request));
    daemon.wait("it opens", |daemon| daemon.counter("opened") == 1);
    let ports =
        totp::sequence(&TOTP_BYTES, "hers", totp::window(clock::wall_s()), totp::TotpPorts::default());
    let ports = ports.map(|port| port.to_string());
    let [a, b, c, d] = &ports;
    world.client.stdout("knock", &["-d", "50", ROUTER, a, b, c, d]);
    // A window that began before the daemon's start opens nothing. The daemon refuses it when the sequence is complete.
    let known = |daemon: &Daemon<'_>| daemon.counter("opened") + daemon.counter("auth_replay");
    daemon.wait("her sequence is known", |daemon| known(daemon) == 2);
    let before = found(&daemon, &traces);
    for name in ["tag key", "seal key", "totp secret", "key"] {
        assert!(
            before.iter().any(|place| place.starts_with(name)),
            "the search finds what is there: {before:#?}"
        );
    }
    daemon.write_config(CONFIG);
    daemon.ask(&["reload"]);
    // The daemon wipes its stack after it has answered, and before the next request.
    daemon.ask(&["status"]);
    assert_eq!(found(&daemon, &traces), BTreeSet::new());
    // Nor are the secrets of a file that is refused.
    let (key, totp) = (text("key as text"), text("totp secret as text"));
    for wrong in [
        format!("{with_her}oops\n"),
        with_her.replace(&format!("'{key}'"), &format!("'{key}' more")),
        with_her.replace(&format!("'{totp}'"), &format!("'{totp}")),
        format!("{with_her}\toption totp '{totp}"),
        with_her.replace("option key", "option kye"),
        format!("{with_her}\toption key 'none'\n"),
    ] {
        daemon.write_config(&wrong);
        let answer = daemon.control(&["reload"]);
        assert!(!answer.status.success(), "{wrong}");
        daemon.ask(&["status"]);
        assert_eq!(found(&daemon, &traces), BTreeSet::new(), "{wrong}");
    }
    // Others' knocks are taken as before.
    send(&world.client, ROUTER, &alices(1, None));
    daemon.wait("hers are known", |daemon| known(daemon) == 3);
    attack.came_to(
        "neither the key, nor what is derived from it, nor the secret of changing sequences, in any half",
    );
}
