//! `ketukd`'s command line: what it prints, where, and with which exit code.

use std::process::{Command, Output};
use std::{env, fs};

fn ketukd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ketukd")).args(arguments).output().expect("ketukd")
}

/// What it says on standard error when it ends with this code, and nothing on standard output.
fn fails(code: i32, arguments: &[&str]) -> String {
    let output = ketukd(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn the_version_is_one_line_and_nothing_else() {
    for arguments in [["--version"], ["-V"]] {
        let output = ketukd(&arguments);
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout), concat!(env!("CARGO_PKG_VERSION"), "\n"));
    }
}

#[test]
fn help_may_be_asked_for_anywhere() {
    let usage = ketukd(&["--help"]).stdout;
    assert!(usage.starts_with(b"ketukd opens"));
    for arguments in [&["help"][..], &["check", "--help"], &["run", "--device", "x", "-h"]] {
        let output = ketukd(arguments);
        assert!(output.status.success(), "{arguments:?}");
        assert_eq!(output.stdout, usage, "{arguments:?}");
    }
}

#[test]
fn what_is_misspelt_is_named_with_the_nearest_name() {
    for (arguments, expected) in [
        (&["statsu"][..], "ketukd: there is no command 'statsu': did you mean 'status'?\n"),
        (&["frobnicate"], "ketukd: there is no command 'frobnicate'\n"),
        (
            &["check", "--confg=x"],
            "ketukd: 'ketukd check' has no option '--confg': did you mean '--config'?\n",
        ),
        (&["check", "--json"], "ketukd: 'ketukd check' has no option '--json'\n"),
        (&["status", "--json=1"], "ketukd: option '--json' takes no value\n"),
        (&["check", "--config="], "ketukd: option '--config' needs a value\n"),
        (&["check", "--config"], "ketukd: option '--config' needs a value\n"),
        (&["check", "-c"], "ketukd: 'ketukd check' has no option '-c'\n"),
        (
            &["check", "--", "--config"],
            "ketukd: too many arguments\nusage: ketukd check [--config FILE]\n\
             a configuration file is named with --config FILE\n",
        ),
        (&["open"], "ketukd: too few arguments\nusage: ketukd open DOOR ADDRESS [SECONDS]\n"),
        (&["keygen", "x"], "ketukd: too many arguments\nusage: ketukd keygen\n"),
        (&[], "ketukd: which command?\n"),
    ] {
        assert_eq!(fails(2, arguments), format!("{expected}try 'ketukd --help'\n"));
    }
}

#[test]
fn what_is_wrong_with_a_file_begins_with_its_place() {
    let file = env::temp_dir().join(format!("ketuk-cli-{}.uci", std::process::id()));
    fs::write(&file, "config door 'a'\n\toption dest_prot '22'\n").expect("a file");
    let file = file.to_str().expect("a plain path");
    let expected = format!(
        "{file}:2:9: unknown option 'dest_prot' in door 'a'\n    2 | \toption dest_prot '22'\n      \
         | \t       ^~~~~~~~~\n      = did you mean 'dest_port'?\n"
    );
    for command in ["check", "run", "ruleset"] {
        assert_eq!(fails(2, &[command, "--config", file]), expected, "{command}");
        assert_eq!(fails(2, &[command, &format!("--config={file}")]), expected, "{command}");
    }
    fs::remove_file(file).expect("the file");
}

#[test]
fn without_a_daemon_the_questions_to_it_fail() {
    let socket = "--socket=/nonexistent/ketuk.sock";
    for arguments in
        [&["status"][..], &["watch"], &["reload"], &["close", "ssh"], &["open", "ssh", "192.0.2.1"]]
    {
        let arguments = [arguments, &[socket]].concat();
        assert_eq!(
            fails(1, &arguments),
            "ketukd: no daemon answers at /nonexistent/ketuk.sock: is 'ketukd run' running?\n"
        );
    }
}

/// Called with the daemon, a configuration and a socket. The machine's own /run is not touched.
const WITH_A_DAEMON: &str = r#"
    mount -t tmpfs tmpfs /run && mkdir /run/ketuk && ip link set lo up
    "$1" run --config "$2" --device lo --socket "$3" 2>&1 &
    trap "kill $!" EXIT
    for try in $(seq 200); do
        [ ! -S "$3" ] || break
        sleep 0.05
    done
    "$1" status
    "$1" reload
    kill $!
    wait $!
    trap - EXIT
    ! "$1" status
"#;

#[test]
fn the_daemon_is_found_wherever_a_package_puts_its_socket() {
    let file = env::temp_dir().join(format!("ketuk-cli-places-{}.uci", std::process::id()));
    let text = "config globals\n\toption backend 'none'\nconfig door 'a'\n\toption sequence '7000'\n\toption dest_port '22'\n";
    fs::write(&file, text).expect("a file");
    for socket in ["/run/ketuk/ketuk.sock", "/var/run/ketuk.sock"] {
        let output = Command::new("unshare")
            .args(["--mount", "--net", "bash", "-ec", WITH_A_DAEMON, "bash", env!("CARGO_BIN_EXE_ketukd")])
            .args([file.as_os_str(), socket.as_ref()])
            .output()
            .expect("unshare");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "ketukd: no daemon answers at /run/ketuk/ketuk.sock or /var/run/ketuk.sock: is 'ketukd run' running?\n",
            "{socket}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        assert!(output.status.success(), "{socket}");
    }
    fs::remove_file(file).expect("the file");
}

#[test]
fn check_warns_of_what_is_probably_not_meant() {
    use std::os::unix::fs::PermissionsExt as _;
    const DOOR: &str = "config globals\n\toption backend 'none'\n\
        config door 'a'\n\toption sequence '17311 22:udp 39433'\n\toption proto 'tcp'\n\toption dest_port '22'\n";
    const NONE: &str = "warning: door 'a' opens no port with backend 'none': only commands are run\n";
    let file = env::temp_dir().join(format!("ketuk-cli-none-{}.uci", std::process::id()));
    let path = file.to_str().expect("a plain path");
    let check = |text: &str, mode: u32| {
        fs::write(&file, text).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
        let output = ketukd(&["check", "--config", path]);
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let expected_end = format!("{path}: fine: 1 door, 0 of them disabled\n");
    assert_eq!(check(DOOR, 0o600), format!("{NONE}{expected_end}"));
    assert_eq!(
        check(DOOR, 0o644),
        format!(
            "warning: {path} holds sequences and others may read it: chmod 600 {path}\n{NONE}{expected_end}"
        )
    );
    assert_eq!(
        check(&DOOR.replace("22:udp", "22"), 0o600),
        format!(
            "warning: door 'a' opens port 22, at which it is knocked: choose another port for the sequence\n\
             {NONE}{expected_end}"
        )
    );
    assert_eq!(
        check("config globals\n\toption backend 'none'\n", 0o600),
        format!(
            "warning: there is no door: nothing can be opened\n{path}: fine: 0 doors, 0 of them disabled\n"
        )
    );
    let user =
        "config user 'bob'\n\toption key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n\tlist door 'a'\n";
    let expired = check(&format!("{DOOR}{user}\toption expires '2020-01-01'\n"), 0o600);
    assert!(expired.contains("warning: user 'bob' has expired: he may open nothing\n"), "{expired}");
    let valid = check(&format!("{DOOR}{user}\toption expires '2120-01-01'\n"), 0o600);
    assert!(!valid.contains("expired"), "{valid}");
    fs::remove_file(file).expect("the file");
}
