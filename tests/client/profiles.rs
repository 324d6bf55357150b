//! Profiles, and connections that use them.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Output, Stdio};
use std::thread;

use super::host::{HOST_4, with_host};
use super::{bind, command, failed, succeeded};

#[test]
fn a_connection_is_relayed() {
    with_host(|host| {
        let listener = host.inside(|| bind(HOST_4, 2222));
        let server = thread::spawn(move || {
            let (mut connection, _) = listener.accept().expect("a connection");
            let mut heard = String::new();
            connection.read_to_string(&mut heard).expect("until the end of its input");
            connection.write_all(format!("heard {heard}").as_bytes()).expect("an answer");
        });
        let profiles = Profiles::new();
        let line = "ketuk://alice@192.0.2.1/ssh:2222?sequence=7000,8000";
        let added = profiles.ketuk(&["add", line, "home"]);
        let printed = String::from_utf8(added.stdout).expect("UTF-8");
        assert!(
            printed.ends_with(
                "it sends 2 knocks at ports 7000, 8000 of 192.0.2.1, as alice, and opens ssh (port 2222)\n"
            ),
            "{printed}"
        );
        let mut child = profiles
            .command(&["connect", "home"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ketuk");
        child.stdin.take().expect("piped").write_all(b"hello").expect("taken");
        let output = child.wait_with_output().expect("the end");
        succeeded(&output, "heard hello");
        server.join().expect("the server");
        let seen = host.seen_until(|seen| seen.len() > 2);
        assert_eq!((seen[0].step.as_str(), seen[1].step.as_str()), ("tcp 7000", "tcp 8000"));
    });
}

/// While the port does not answer, the client says what it waits for, and in which time a new sequence comes.
#[test]
fn it_says_what_it_waits_for() {
    with_host(|_| {
        let profiles = Profiles::new();
        for (name, query, more) in [
            ("plain", "sequence=7000,8000", ""),
            (
                "changing",
                "totp=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
                "; if this sequence has been used already, the next one is valid in ",
            ),
        ] {
            let line = format!("ketuk://alice@192.0.2.1/ssh:2222?{query}");
            assert!(profiles.ketuk(&["add", &line, name]).status.success());
            let mut child =
                profiles.command(&["connect", name]).stderr(Stdio::piped()).spawn().expect("ketuk");
            let mut said = String::new();
            let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
            stderr.read_line(&mut said).expect("a line");
            child.kill().expect("it still waits");
            child.wait().expect("the end");
            let begin = format!("ketuk: knocked; waiting until 192.0.2.1:2222 answers{more}");
            assert!(said.starts_with(&begin), "{said}");
            assert!(more.is_empty() == (said.trim_end() == begin), "{said}");
        }
    });
}

#[test]
fn profiles_are_shown_and_removed() {
    let profiles = Profiles::new();
    let secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
    let link = format!(
        "https://page.example.org/knock.html#ketuk://alice@home.example.org/ssh:22,nas?totp={secret}"
    );
    let says = "it sends four TCP knocks at ports in 20000-29999 of home.example.org, as alice, and opens ssh (port 22), nas; the ports change every half minute\n";
    for arguments in [&["add", &link][..], &["show", "home"]] {
        let output = profiles.ketuk(arguments);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(
            output.status.success() && text.starts_with("profile 'home' is in ") && text.ends_with(says),
            "{text}"
        );
        assert!(!text.contains(secret), "{text}");
    }
    succeeded(&profiles.ketuk(&["list"]), "home: ssh, nas at home.example.org, by changing sequence\n");
    failed(&profiles.ketuk(&["remove", "other"]), 2, "there is no profile 'other'; there are: home");
    succeeded(&profiles.ketuk(&["remove", "home"]), "");
    succeeded(&profiles.ketuk(&["list"]), "");
    let many = format!("ketuk://h/d?sequence={}", ["1"; 33].join(","));
    failed(&profiles.ketuk(&["add", &many]), 2, "the profile's sequence has more than 32 steps");
}

#[test]
fn stanzas_of_a_fwknoprc_are_kept() {
    let profiles = Profiles::new();
    fs::create_dir_all(&profiles.0).expect("a folder");
    let file = profiles.0.join(".fwknoprc");
    let file_name = file.to_str().expect("a plain path");
    let stanza = |name: &str, more: &str| {
        format!(
            "[{name}]\nSPA_SERVER home.example.org\nACCESS tcp/22\nSPOOF_USER fred\nKEY secret\nHMAC_KEY other\n{more}"
        )
    };
    let names = |expected: &[&str]| {
        let line = |name: &&str| format!("{name}: tcp_22 at home.example.org, by fwknop's packet\n");
        succeeded(&profiles.ketuk(&["list"]), &expected.iter().map(line).collect::<String>());
    };
    // If a line cannot be carried over, no stanza of the file is kept, unless a stanza is named.
    fs::write(&file, stanza("one", "") + &stanza("two", "USE_GPG Y\n")).expect("written");
    let refused = format!(
        "{file_name}:13: USE_GPG: ketuk encrypts with KEY only\nnothing was added; 'ketuk add {file_name} NAME' takes one stanza"
    );
    failed(&profiles.ketuk(&["add", file_name]), 2, &refused);
    names(&[]);
    let output = profiles.ketuk(&["add", file_name, "one"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let says = "it sends one packet of fwknop's to UDP port 62201 of home.example.org, as fred, and opens tcp_22 (port 22)\n";
    assert!(output.status.success() && text.ends_with(says), "{text}");
    names(&["one"]);
    // All stanzas, and a single stanza under another name.
    fs::write(&file, stanza("two", "") + &stanza("three", "")).expect("written");
    assert!(profiles.ketuk(&["add", file_name]).status.success());
    fs::write(&file, stanza("two", "")).expect("written");
    assert!(profiles.ketuk(&["add", file_name, "four"]).status.success());
    names(&["four", "one", "three", "two"]);
}

/// A folder of profiles that is deleted when the test ends.
struct Profiles(std::path::PathBuf);

impl Profiles {
    fn new() -> Self {
        let name = format!("ketuk-profiles-{}-{:?}", std::process::id(), thread::current().id());
        Self(std::env::temp_dir().join(name))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("KETUK_PROFILES", &self.0);
        command
    }

    fn ketuk(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("ketuk")
    }
}

impl Drop for Profiles {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
