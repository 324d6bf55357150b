//! `ketukd`'s command line: its output and its exit codes.

use std::io::{self, Write as _};
use std::process::{Command, Output};
use std::{env, fs};

fn ketukd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ketukd")).args(arguments).output().expect("ketukd")
}

/// The standard error of a run that ends with this code and prints nothing on standard output.
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

/// The commands, as `ketukd --help` lists them.
fn commands() -> Vec<String> {
    let all = String::from_utf8(ketukd(&["--help"]).stdout).expect("text");
    let names = all.lines().filter_map(|line| line.strip_prefix("  ketukd ")?.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn help_may_be_asked_for_anywhere() {
    let all = ketukd(&["--help"]);
    assert!(all.status.success());
    let version = concat!("ketukd ", env!("CARGO_PKG_VERSION"), " opens a port");
    assert!(all.stdout.starts_with(version.as_bytes()), "{all:?}");
    for arguments in [&["help"][..], &["-h"], &["nonsense", "--help"]] {
        assert_eq!(ketukd(arguments).stdout, all.stdout, "{arguments:?}");
    }
    let run = ketukd(&["run", "--device", "x", "-h"]);
    assert!(run.status.success() && run.stdout.starts_with(b"usage: ketukd run "), "{run:?}");
}

#[test]
fn a_name_that_no_device_can_have_is_refused_with_the_right_one() {
    for (name, said) in [
        ("eth0,", "'eth0,' is not the name of a device: did you mean 'eth0'?"),
        ("eth0.2@eth0", "'eth0.2@eth0' is not the name of a device: did you mean 'eth0.2'?"),
        ("\"eth0\"", "'\"eth0\"' is not the name of a device: did you mean 'eth0'?"),
        (
            "eth0:1",
            "this is a second address of device 'eth0': name the device, and give the doors that address with option target",
        ),
        ("eth0,eth1", "'eth0,eth1' is not the name of a device: name each device by itself"),
        ("a-device-of-16-b", "'a-device-of-16-b' is longer than the 15 bytes of a device name"),
    ] {
        let refused = ketukd(&["run", "--config", "/nowhere", "--device", name]);
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(2) && stderr.contains(said), "{stderr}");
    }
}

#[test]
fn every_command_has_a_help_with_its_options_their_defaults_and_an_example() {
    let commands = commands();
    assert!(commands.len() > 10, "{commands:?}");
    let all = String::from_utf8(ketukd(&["--help"]).stdout).expect("text");
    let list = all.split("\n\n").find(|block| block.starts_with("  ketukd run")).expect("a list");
    assert_eq!(list.lines().count(), commands.len(), "one line each: {list}");
    for command in commands {
        let help = String::from_utf8(ketukd(&[&command, "--help"]).stdout).expect("text");
        assert!(help.starts_with(&format!("usage: ketukd {command}")), "{help}");
        assert!(help.lines().any(|line| line.starts_with("example: ")), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 115), "{help}");
        // Each option in the text belongs to the command, and each default is stated.
        let words: Vec<_> = help.split(|c: char| c.is_whitespace() || "[]|'".contains(c)).collect();
        for option in words.iter().filter(|word| word.starts_with("--") && **word != "--help") {
            let said = ketukd(&[&command, &format!("{option}=")]);
            let said = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(!said.contains("has no option"), "{command}: {said}");
        }
        for line in help.lines().filter(|line| line.starts_with("  --") && line.contains(" FILE  ")) {
            assert!(line.contains("(default: ") || line.contains("more devices"), "{line}");
        }
    }
}

#[test]
fn what_is_misspelt_is_named_with_the_nearest_name() {
    for (arguments, expected) in [
        (&["statsu"][..], "ketukd: there is no command 'statsu': did you mean 'status'?\n"),
        (&["frobnicate"], "ketukd: there is no command 'frobnicate'\n"),
        (&["--json", "status"], "ketukd: option '--json' must follow the command\n"),
        (&["--socket=/x", "status"], "ketukd: option '--socket' must follow the command\n"),
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
            &["run", "a.uci"],
            "ketukd: 'a.uci' is one argument too many: a configuration is named with --config FILE\n\
             usage: ketukd run [--config FILE] [--device DEV]... [--device-file FILE] [--socket PATH]\n",
        ),
        (
            &["check", "a", "b"],
            "ketukd: 'b' is one argument too many\nusage: ketukd check [FILE | --config FILE]\n",
        ),
        (&["check", "a", "--config", "b"], "ketukd: the configuration is named twice\n"),
        (
            &["open"],
            "ketukd: DOOR and ADDRESS are missing\n\
             usage: ketukd open DOOR ADDRESS [SECONDS] [--socket PATH]\n",
        ),
        (
            &["open", "ssh"],
            "ketukd: ADDRESS is missing\nusage: ketukd open DOOR ADDRESS [SECONDS] [--socket PATH]\n",
        ),
        (&["keygen", "x"], "ketukd: 'x' is one argument too many\nusage: ketukd keygen\n"),
        (&[], "ketukd: a command is missing\n"),
    ] {
        let known = arguments.first().filter(|command| commands().iter().any(|known| known == *command));
        let help = known.map_or(String::new(), |command| format!("{command} "));
        assert_eq!(fails(2, arguments), format!("{expected}try 'ketukd {help}--help'\n"));
    }
}

#[test]
fn the_configuration_to_check_may_be_named_without_an_option() {
    let file = env::temp_dir().join(format!("ketuk-cli-check-{}.uci", std::process::id()));
    let path = file.to_str().expect("a plain path");
    fs::write(&file, "config globals\n\toption backend 'none'\n").expect("a file");
    let output = ketukd(&["check", path]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.ends_with(&format!("{path}: fine: 0 doors\n")), "{said}");
    fs::remove_file(file).expect("the file");
}

#[test]
fn an_invitation_without_users_says_how_to_have_one() {
    let file = env::temp_dir().join(format!("ketuk-cli-invite-{}.uci", std::process::id()));
    let path = file.to_str().expect("a plain path");
    fs::write(&file, "config globals\n").expect("a file");
    assert_eq!(
        fails(1, &["invite", "bob", "--host", "h", "--config", path]),
        "ketukd: there is no user 'bob', and no other: write a section config user 'bob' with the options \
         that 'ketukd keygen' prints, and with list door\n"
    );
    fs::remove_file(file).expect("the file");
}

#[test]
fn who_is_not_root_is_told_to_be() {
    let file = env::temp_dir().join(format!("ketuk-cli-root-{}.uci", std::process::id()));
    fs::write(&file, "config globals\n\toption backend 'none'\n").expect("a file");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"])
        .args([
            env!("CARGO_BIN_EXE_ketukd"),
            "run",
            "--device",
            "lo",
            "--socket",
            "/nonexistent/s",
            "--config",
        ])
        .arg(&file)
        .output()
        .expect("setpriv");
    fs::remove_file(file).expect("the file");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.starts_with("setpriv: ") {
        // This is not `eprintln!`, because the test runner hides its output.
        let _ = writeln!(io::stderr(), "NOT TESTED without root: the daemon's answer to other users");
        return;
    }
    assert!(said.contains("run ketukd as root"), "{said}");
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

/// The script gets the daemon, a configuration and a socket as arguments. It does not touch the machine's own /run.
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
    let expected_end = format!("{path}: fine: 1 door\n");
    assert_eq!(check(DOOR, 0o600), format!("{NONE}{expected_end}"));
    assert_eq!(
        check(DOOR, 0o644),
        format!(
            "warning: {path} holds doors' sequences, and others may read it: chmod 600 {path}\n{NONE}{expected_end}"
        )
    );
    assert_eq!(
        check(&DOOR.replace("22:udp", "22"), 0o600),
        format!(
            "warning: door 'a' opens port 22, which is also a step of its sequence: choose another port for the sequence\n\
             {NONE}{expected_end}"
        )
    );
    assert_eq!(
        check("config globals\n\toption backend 'none'\n", 0o600),
        format!("warning: there is no door: nothing can be opened\n{path}: fine: 0 doors\n")
    );
    let second = DOOR.split_once("config door 'a'").expect("a door").1;
    let disabled = check(&format!("{DOOR}config door 'b'\n\toption enabled '0'{second}"), 0o600);
    assert!(disabled.ends_with(": fine: 2 doors, 1 of them disabled\n"), "{disabled}");
    let user =
        "config user 'bob'\n\toption key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n\tlist door 'a'\n";
    let expired = check(&format!("{DOOR}{user}\toption expires '2020-01-01'\n"), 0o600);
    assert!(expired.contains("warning: user 'bob' has expired: he may open nothing\n"), "{expired}");
    let valid = check(&format!("{DOOR}{user}\toption expires '2120-01-01'\n"), 0o600);
    assert!(!valid.contains("expired"), "{valid}");
    fs::remove_file(file).expect("the file");
}
