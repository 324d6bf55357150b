//! The rpcd plugin, as rpcd runs it: arguments on standard input, the answer on standard output.
//!
//! The daemon behind the plugin is a stand-in that answers with fixed lines. `check` and the rest are real.

#![expect(clippy::unwrap_used, reason = "a test")]

mod findings;
mod page;
mod place;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use place::{DOOR, Place, plugin};

#[test]
fn by_the_name_that_rpcd_calls_it_and_by_its_own() {
    let place = Place::new("name");
    let link = place.0.join("rpcd/ketuk");
    symlink(env!("CARGO_BIN_EXE_ketukd"), &link).unwrap();
    let listed = plugin(&link, &["list"], &[], b"").stdout;
    assert_eq!(listed, plugin(Path::new(env!("CARGO_BIN_EXE_ketukd")), &["rpcd", "list"], &[], b"").stdout);
    assert_eq!(
        String::from_utf8(listed).unwrap(),
        "{\"status\":{},\"open\":{\"door\":\"\",\"address\":\"\",\"seconds\":0},\"close\":{\"door\":\"\",\"address\":\"\"},\
         \"check\":{\"config\":\"\"},\"doctor\":{},\"keygen\":{},\"invite\":{\"user\":\"\",\"host\":\"\",\"page\":\"\"}}\n"
    );
}

#[test]
#[cfg(feature = "doctor")]
fn the_doctors_findings() {
    let place = Place::new("doctor");
    let text = place.answer("doctor", "{}");
    assert!(
        text.starts_with("{\"ok\":true,\"wrong\":true,\"points\":[{\"point\":\"configuration\","),
        "{text}"
    );
    assert!(
        text.contains("{\"point\":\"daemon\",\"state\":\"wrong\",\"text\":\"no daemon answers at "),
        "{text}"
    );
    assert!(
        text.contains("{\"point\":\"hosts\",\"state\":\"fine\",\"text\":\"\",\"advice\":\"\"}"),
        "{text}"
    );
}

#[test]
fn status_with_and_without_a_daemon() {
    let place = Place::new("status");
    let text = place.answer("status", "{}");
    assert!(text.starts_with("{\"running\":false,\"error\":\"no daemon answers at "), "{text}");
    assert!(text.contains("\"enabled\":true"), "{text}");

    let asked = place.daemon(concat!(
        "daemon {\"version\":\"1\"}\n",
        "device {\"name\":\"pppoe-wan\",\"state\":\"waiting\"}\n",
        "recent {\"door\":\"ssh\",\"reason\":\"trap\"}\n",
        "counter {\"name\":\"trap\",\"value\":1}\n",
        "ok null\n"
    ));
    let text = place.answer("status", "{\"ubus_rpc_session\":\"0123456789abcdef0123456789abcdef\"}");
    assert_eq!(asked.recv().unwrap(), "{\"request\":\"status\"}\n");
    assert!(text.starts_with("{\"running\":true,\"enabled\":true,\"daemon\":"), "{text}");
    assert!(
        text.ends_with(concat!(
            "\"daemon\":{\"version\":\"1\"},\"devices\":[{\"name\":\"pppoe-wan\",\"state\":\"waiting\"}],\"doors\":[],",
            "\"users\":[],\"grants\":[],\"recents\":[{\"door\":\"ssh\",\"reason\":\"trap\"}],\"counters\":{\"trap\":1}}\n"
        )),
        "{text}"
    );

    fs::write(place.0.join("config"), "config dor 'ssh'\n").unwrap();
    let text = place.answer("status", "{}");
    assert!(text.contains("\"enabled\":false,\"config_error\":\""), "{text}");
    assert!(text.contains(r"config:1:8: unknown section type 'dor'\n    1 | config dor 'ssh'\n"), "{text}");
}

#[test]
fn open_and_close_say_to_the_daemon_what_was_asked() {
    let place = Place::new("open");
    for (method, input, request) in [
        (
            "open",
            r#"{"door":"ssh","address":"2001:DB8::1","seconds":90,"ubus_rpc_session":"x"}"#,
            r#"{"request":"open","door":"ssh","address":"2001:db8::1","seconds":90}"#,
        ),
        (
            "open",
            r#"{"address":"192.0.2.1","door":"ssh"}"#,
            r#"{"request":"open","door":"ssh","address":"192.0.2.1"}"#,
        ),
        (
            "close",
            r#"{"door":"ssh","address":"192.0.2.1"}"#,
            r#"{"request":"close","door":"ssh","address":"192.0.2.1"}"#,
        ),
        ("close", r#"{"door":"ssh"}"#, r#"{"request":"close","door":"ssh"}"#),
    ] {
        let asked = place.daemon("ok null\n");
        assert_eq!(place.answer(method, input), "{\"ok\":true}\n", "{input}");
        assert_eq!(asked.recv().unwrap().trim_end(), request, "{input}");
    }
    let _asked = place.daemon("error {\"code\":1,\"message\":\"there is no door 'a\\\"b'\"}\n");
    assert_eq!(
        place.answer("open", r#"{"door":"a\"b","address":"192.0.2.1"}"#),
        "{\"ok\":false,\"code\":1,\"error\":\"there is no door 'a\\\"b'\"}\n"
    );
}

#[test]
fn check_takes_what_is_not_yet_saved() {
    let place = Place::new("check");
    assert_eq!(place.answer("check", "{}"), "{\"ok\":true,\"doors\":1}\n");
    assert_eq!(place.answer("check", r#"{"config":""}"#), "{\"ok\":true,\"doors\":0}\n");
    let text = place.answer(
        "check",
        r#"{"config":"config door 'a'\n\tlist sequence '7000'\n\toption dest_prot '22'\n"}"#,
    );
    assert!(text.starts_with("{\"ok\":false,\"code\":2,\"error\":\""), "{text}");
    assert!(text.contains(r"config:3:9: unknown option 'dest_prot' in door 'a'\n"), "{text}");
}

#[test]
fn each_key_is_new() {
    let place = Place::new("keygen");
    let [one, other] = [(); 2].map(|()| place.answer("keygen", "{}"));
    assert_ne!(one, other);
    let words: Vec<_> = one.split('"').collect();
    let ["{", "ok", ":true,", "key", ":", key, ",", "totp", ":", totp, "}\n"] = words[..] else {
        panic!("{one}")
    };
    let user = format!(
        "{DOOR}config user 'alice'\n\tlist door 'ssh'\n\toption key '{key}'\n\toption totp '{totp}'\n"
    );
    fs::write(place.0.join("config"), user).unwrap();
    assert_eq!(place.answer("check", "{}"), "{\"ok\":true,\"doors\":1}\n");
}

#[test]
fn invitations() {
    let place = Place::new("invite");
    let refused = |input: &str, why: &str| {
        let text = place.answer("invite", input);
        assert!(text.starts_with("{\"ok\":false,") && text.contains(why), "{input}: {text}");
    };
    let user = "config user 'alice'\n\tlist door 'ssh'\n";
    fs::write(place.0.join("config"), format!("{DOOR}{user}")).unwrap();
    refused(r#"{"user":"bob","host":"h"}"#, "there is no user 'bob'");
    refused(r#"{"user":"alice","host":"h"}"#, "neither a key nor a totp secret");
    fs::write(place.0.join("config"), format!("{DOOR}{user}\toption key '{}'\n", "A".repeat(43))).unwrap();
    refused(r#"{"user":"","host":"h"}"#, "the call has no user");
    refused(r#"{"user":"alice","host":""}"#, "the call has no host");
    refused(r#"{"user":"alice","host":"a b"}"#, "no host");
    refused(r#"{"user":"alice","host":"h/x?key=1"}"#, "");
    for (host, shown) in [("home.example.org", "home.example.org"), ("2001:db8::1", "[2001:db8::1]")] {
        let text = place.answer("invite", format!(r#"{{"user":"alice","host":"{host}"}}"#));
        let key = "A".repeat(43);
        assert_eq!(text, format!("{{\"ok\":true,\"uri\":\"ketuk://alice@{shown}/ssh:22?key={key}\"}}\n"));
    }
    refused(r#"{"user":"alice","host":"h","page":"javascript:1"}"#, "is not the address of a page");
    let text = place.answer("invite", r#"{"user":"alice","host":"h","page":"https://p/k.html"}"#);
    assert!(text.contains(r#""link":"https://p/k.html#ketuk://alice@h/ssh:22?totp="#), "{text}");
    assert!(fs::read_to_string(place.0.join("config")).unwrap().contains("\toption totp '"));
}

/// The answer to each wrong input is one JSON object with a refusal.
#[test]
fn hostile_arguments() {
    let place = Place::new("hostile");
    let deep = "[".repeat(60_000);
    let long = format!(r#"{{"door":"{}","address":"192.0.2.1"}}"#, "x".repeat(60_000));
    let open = |door: &str, address: &str| format!(r#"{{"door":{door},"address":{address}}}"#);
    let inputs: Vec<Vec<u8>> = vec![
        b"{".into(),
        b"}".into(),
        b"null".into(),
        b"[]".into(),
        b"\"open\"".into(),
        b"{\"door\":\"ssh\"} {}".into(),
        b"{\"door\":\"ssh\"".into(),
        b"{\"door\":\"\xff\xfe\",\"address\":\"192.0.2.1\"}".into(),
        b"{\"door\":\"ssh\",\"address\":\"192.0.2.1\"}\0".into(),
        b"\0\0\0".into(),
        vec![b' '; 70_000],
        vec![b'a'; 1_000_000],
        deep.clone().into(),
        format!(r#"{{"door":"ssh","x":{deep}"#).into(),
        format!(r#"{{"door":{}"ssh"}}"#, r#"{"a":"#.repeat(10_000)).into(),
        long.into(),
        open("7", r#""192.0.2.1""#).into(),
        open("null", r#""192.0.2.1""#).into(),
        open("\"\"", r#""192.0.2.1""#).into(),
        open("[\"ssh\"]", r#""192.0.2.1""#).into(),
        open("\"ssh\"", "\"\"").into(),
        open("\"ssh\"", "\"192.0.2.1; reboot\"").into(),
        open("\"ssh\"", "\"192.0.2.0/24\"").into(),
        open("\"ssh\"", "\"\\ud800\"").into(),
        open("\"ssh\"", "\"\\u0000\"").into(),
        br#"{"door":"ssh","address":"192.0.2.1","seconds":-1}"#.into(),
        br#"{"door":"ssh","address":"192.0.2.1","seconds":4294967296}"#.into(),
        br#"{"door":"ssh","address":"192.0.2.1","seconds":"30"}"#.into(),
        br#"{"door":"ssh","address":"192.0.2.1","seconds":1e9}"#.into(),
        br#"{"door":"ssh","door":"nas","address":"192.0.2.1"}"#.into(),
    ];
    for input in inputs {
        let shown: String = String::from_utf8_lossy(&input).chars().take(60).collect();
        let text = place.answer("open", &input);
        assert!(text.starts_with("{\"ok\":false,\"code\":"), "{shown}: {text}");
    }
    // The input may come back only as a name in a message.
    let text = place.answer("invite", br#"{"user":"\u0007\"</script>"}"#);
    assert!(text.starts_with("{\"ok\":false,"), "{text}");
    // Unknown arguments do no harm, and neither do arguments of the wrong type.
    assert!(
        place.answer("check", r#"{"config":"","colour":"red","n":1.5,"b":true}"#).contains("\"ok\":true")
    );
}

#[test]
fn what_is_no_method_is_a_wrong_usage() {
    let place = Place::new("usage");
    for method in ["", "run", "status ", "../status", "--config", "list"] {
        let output = place.call(method, b"{}");
        assert_eq!(output.status.code(), Some(2), "{method}");
        assert!(output.stdout.is_empty(), "{method}");
    }
}
