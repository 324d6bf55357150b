//! `ketukd invite`: invitations for the client, for the knock page and for the apps of other projects.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use ketuk::profile::Profile;

const HMAC_KEY: &str = "c3BhLXRlc3QtaG1hYy1rZXktMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=";
const KEY: &str = "c3BhLXRlc3Qta2V5LTAxMjM0NTY3ODlhYmNkZWY=";
const PAGE: &str = "https://page.example.org/knock.html";

/// A configuration for one test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str, globals: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ketuk-invite-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let text = format!(
            "# mine\nconfig globals\n{globals}\nconfig door 'ssh'\n\tlist sequence '7000'\n\tlist sequence '8000:udp'\n\toption dest_port '22'\n\
             config door 'nas'\n\toption dest_port '8443'\n\
             config user 'alice' # on her phone\n\tlist door 'ssh'\n\tlist door 'nas'\n\toption key '{}'\n\
             config user 'fred'\n\tlist door 'nas'\n\toption fwknop_key '{KEY}'\n\toption fwknop_hmac_key '{HMAC_KEY}'\n",
            "A".repeat(43)
        );
        let place = Self(path);
        fs::write(place.config(), text).unwrap();
        fs::set_permissions(place.config(), fs::Permissions::from_mode(0o640)).unwrap();
        place
    }

    fn config(&self) -> PathBuf {
        self.0.join("ketuk")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.config()).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut ketukd = Command::new(env!("CARGO_BIN_EXE_ketukd"));
        ketukd.arg("invite").args(arguments).args(["--host", "home.example.org"]);
        ketukd.arg("--config").arg(self.config()).arg("--socket").arg(self.0.join("none"));
        ketukd.output().unwrap()
    }

    /// The output of a run that must succeed.
    fn printed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit code and message of a run that must fail.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn profile(line: &str) -> Profile {
    line.parse().unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn a_link_to_the_page_gives_a_changing_sequence_to_who_has_none() {
    let place = Place::new("link", "");
    let before = place.text();
    let printed = place.printed(&["alice", "--page", PAGE]);
    let (page, line) = printed.trim_end().split_once('#').unwrap();
    assert_eq!(page, PAGE);
    let invited = profile(line);
    assert_eq!(invited.to_line().as_str(), line);
    // A browser cannot send packets, so the link does not hold their key.
    assert_eq!((invited.user.as_deref(), invited.key), (Some("alice"), None));
    let totp = invited.totp.unwrap();

    // Her section has this option more. The rest of the file is unchanged.
    let after = place.text();
    let added: Vec<_> = after.lines().filter(|line| !before.contains(line)).collect();
    assert_eq!(added.len(), 1, "{after}");
    assert!(added[0].starts_with("\toption totp '"), "{after}");
    assert_eq!(after.replacen(&format!("{}\n", added[0]), "", 1), before);
    assert!(after.contains(&format!("config user 'alice' # on her phone\n{}\n", added[0])), "{after}");
    assert_eq!(fs::metadata(place.config()).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1, "nothing is left beside it");

    // The next invitation is the same.
    assert_eq!(place.printed(&["alice", "--page", PAGE]), printed);
    assert_eq!(place.text(), after);
    // The invitation for the client has both secrets.
    let own = profile(place.printed(&["alice"]).trim());
    assert!(own.key.is_some() && own.totp == Some(totp));
}

#[test]
fn the_page_of_the_globals() {
    let place = Place::new("globals", &format!("\toption page '{PAGE}'"));
    let printed = place.printed(&["alice"]);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), 2, "{printed}");
    assert!(profile(lines[0]).key.is_some());
    assert!(lines[1].starts_with(&format!("{PAGE}#ketuk://alice@home.example.org/ssh:22,nas:8443?totp=")));
    // An explicit request has precedence.
    let other = place.printed(&["alice", "--page", "file:///sdcard/knock.html"]);
    assert!(other.starts_with("file:///sdcard/knock.html#ketuk://alice@"), "{other}");
    for wrong in ["knock.html", "javascript:alert(1)", "https://h/a b", "https://h/#x", "https://"] {
        let place = Place::new("wrong", &format!("\toption page '{wrong}'"));
        let (code, message) = place.refused(&["alice"]);
        assert!(code == 2 && message.contains("is not the address of a page"), "{wrong}: {message}");
    }
}

/// The picture that a QR code is on a terminal, as a portable graymap: an upper and a lower module for each character, and so
/// much of the light border as is drawn.
#[cfg(feature = "qr")]
fn graymap(drawn: &str) -> Vec<u8> {
    const MODULE: usize = 4;
    let mut modules: Vec<Vec<u8>> = Vec::new();
    for row in drawn.lines().filter_map(|line| line.trim_end().strip_prefix("\x1b[30;47m")) {
        let row = row.strip_suffix("\x1b[0m").expect("the colours end with the row");
        for dark in ["\u{2588}\u{2580}", "\u{2588}\u{2584}"] {
            modules.push(row.chars().map(|half| if dark.contains(half) { 0 } else { 255 }).collect());
        }
    }
    let (width, height) = (modules.first().map_or(0, Vec::len), modules.len());
    let mut picture = format!("P5 {} {} 255\n", width * MODULE, height * MODULE).into_bytes();
    for row in modules.iter().flat_map(|row| std::iter::repeat_n(row, MODULE)) {
        picture.extend(row.iter().flat_map(|module| [*module; MODULE]));
    }
    picture
}

/// On a terminal a program that is not ours reads the code: it is the line that is printed.
#[cfg(feature = "qr")]
#[test]
fn the_code_on_a_terminal_is_the_invitation() {
    let place = Place::new("code", "");
    for arguments in ["alice", &format!("alice --page {PAGE}"), "fred --fwknop"] {
        let program = env!("CARGO_BIN_EXE_ketukd");
        let (config, socket) = (place.config(), place.0.join("none"));
        let invite = format!(
            "{program} invite {arguments} --host home.example.org --config {} --socket {} 2>/dev/null",
            config.display(),
            socket.display()
        );
        let shown = Command::new("script")
            .args(["-qefc", &invite, "/dev/null"])
            .stdin(std::process::Stdio::null())
            .output();
        let shown = String::from_utf8(shown.expect("needs bsdutils").stdout).unwrap();
        let (line, drawn) = shown.split_once('\n').unwrap_or_else(|| panic!("{shown:?}"));
        let picture = place.0.join("code.pgm");
        fs::write(&picture, graymap(drawn)).unwrap();
        let read = Command::new("zbarimg").args(["--quiet", "--raw"]).arg(&picture).output();
        let read = read.expect("needs zbar-tools; `make test` installs it");
        fs::remove_file(&picture).unwrap();
        assert_eq!(String::from_utf8_lossy(&read.stdout).trim_end(), line.trim_end(), "{shown}");
        assert!(line.len() > 60, "{line}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_left_as_it_was() {
    let place = Place::new("unwritable", "");
    // The name is so long that a new file beside it could have no name.
    let config = place.0.join("k".repeat(250));
    fs::rename(place.config(), &config).unwrap();
    let before = fs::read_to_string(&config).unwrap();
    let mut ketukd = Command::new(env!("CARGO_BIN_EXE_ketukd"));
    let output =
        ketukd.args(["invite", "alice", "--host", "h", "--page", PAGE, "--config"]).arg(&config).output();
    let output = output.unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && message.contains("cannot be written: File name too long"),
        "{message}"
    );
    assert!(message.contains("ketukd keygen") && output.stdout.is_empty(), "{message}");
    assert_eq!(fs::read_to_string(&config).unwrap(), before);
}

#[test]
fn fwknops_keys_as_its_app_reads_them() {
    let place = Place::new("fwknop", "");
    assert_eq!(
        place.printed(&["fred", "--fwknop"]),
        format!("KEY_BASE64:{KEY} HMAC_KEY_BASE64:{HMAC_KEY}\n")
    );
    let (code, message) = place.refused(&["alice", "--fwknop"]);
    assert!(code == 1 && message.contains("user 'alice' has no fwknop keys"), "{message}");
}

#[test]
fn a_knockd_conf_of_the_plain_sequences() {
    let place = Place::new("knockd", "");
    let printed = place.printed(&["alice", "--knockd"]);
    assert_eq!(printed, "[ssh]\n\tsequence = 7000,8000:udp\n\tseq_timeout = 25\n\ttcpflags = syn\n\n");
    let (code, message) = place.refused(&["fred", "--knockd"]);
    assert!(code == 1 && message.contains("no door of user 'fred' has a plain sequence"), "{message}");
}

#[test]
fn wrong_usage() {
    let place = Place::new("usage", "");
    for (arguments, expected) in [
        (&["alice", "--fwknop", "--knockd"][..], "an invitation is for one app"),
        (&["alice", "--page", PAGE, "--knockd"], "--page is not for apps"),
        (&["alice", "--page", "ftp://h/"], "is not the address of a page"),
        (&["alice", "--page", "https://h/#x"], "is not the address of a page"),
    ] {
        let before = place.text();
        let (code, message) = place.refused(arguments);
        assert!(code == 2 && message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(place.text(), before);
    }
}
