//! Completion of both command lines, tried in the real shells, with the files that `make install` installs.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what it expected by panicking")]

mod support;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use support::host::Host;
use support::{Scratch, installed, ketuk, ketukd, succeeded, wait_until};

const CONFIG: &str = "config globals\n\toption backend 'none'\n\
    config door 'ssh'\n\toption sequence '24817 51203 38466'\n\toption dest_port '22'\n\
    config door\tcamera\n\toption sequence '17311 22871 39433'\n\toption dest_port '554'\n\
    config user 'alice'\n\tlist door 'ssh'\n\toption key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";

/// A machine with both programs, a configuration, and a profile.
struct Machine {
    host: Host,
    scratch: Scratch,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { host: Host::new("empty"), scratch: Scratch::new() };
        let scratch = &machine.scratch;
        installed(scratch);
        for folder in ["bin", "etc/config", "profiles"] {
            fs::create_dir_all(scratch.path(folder)).unwrap();
        }
        scratch.write("etc/config/ketuk", CONFIG);
        let invited = machine.shell("\"$ketukd\" invite alice --host home.example.org");
        let line = invited.lines().find(|line| line.starts_with("ketuk://")).unwrap().to_owned();
        scratch.write("line", &line);
        machine.shell("\"$ketuk\" add \"$here/line\" home");
        // The real programs answer the completion. Commands that were typed are written to a file.
        for name in ["ketukd", "ketuk"] {
            let text = format!(
                "#!/bin/sh\ncase $* in\n*--help* | list | 'status --json') exec \"${name}\" \"$@\" ;;\nesac\n\
                 echo \"{name} $*\" >>\"$here\"/typed\n"
            );
            scratch.write_program(&format!("bin/{name}"), &text);
        }
        machine
    }

    /// A shell's command on the machine.
    fn command(&self, text: &str) -> Command {
        let here = self.scratch.path("").display().to_string();
        let mut command = Command::new("unshare");
        command.args(["-m", "bash", "-c"]);
        command.arg(format!("mount --bind \"$here\"/etc /etc\n{text}"));
        command.env("here", here.trim_end_matches('/')).env("HOME", &here).env("TERM", "dumb");
        command
            .env("ketukd", ketukd())
            .env("ketuk", ketuk())
            .env("KETUK_PROFILES", self.scratch.path("profiles"));
        command.env("XDG_DATA_DIRS", format!("{here}usr/share:/usr/share"));
        command.env("PATH", format!("{here}bin:/usr/bin:/bin:/usr/sbin:/sbin"));
        command
    }

    fn shell(&self, text: &str) -> String {
        let output = self.host.enter(|| self.command(text).output().unwrap());
        succeeded("bash", &[text], &output)
    }

    /// Types lines into a shell at a terminal. Each line is a command of ketuk or ketukd that completion has to finish.
    fn type_into(&self, shell: &str, start: &str, lines: &[(&str, &str)]) {
        let terminal = format!("exec script -qec '{shell}' /dev/null");
        let mut child = self.host.enter(|| {
            let mut command = self.command(&terminal);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        });
        let mut keyboard = child.stdin.take().unwrap();
        writeln!(keyboard, "{start}").unwrap();
        for (typed, expected) in lines {
            fs::remove_file(self.scratch.path("typed")).ok();
            writeln!(keyboard, "{typed}\t").unwrap();
            let mut said = String::new();
            wait_until(&format!("{shell}: {typed:?} is run"), || {
                said = fs::read_to_string(self.scratch.path("typed")).unwrap_or_default();
                said.ends_with('\n')
            });
            assert_eq!(said.trim_end(), *expected, "{shell}: {typed:?}");
        }
        writeln!(keyboard, "exit").unwrap();
        drop(keyboard);
        child.wait().unwrap();
    }
}

/// The words before a tab, and the command that then runs.
const TYPED: [(&str, &str); 9] = [
    ("ketukd sta", "ketukd status"),
    ("ketukd run --device-", "ketukd run --device-file"),
    ("ketukd open s", "ketukd open ssh"),
    ("ketukd invite a", "ketukd invite alice"),
    ("ketukd check /etc/config/ke", "ketukd check /etc/config/ketuk"),
    ("ketuk con", "ketuk connect"),
    ("ketuk -d 100 open h", "ketuk -d 100 open home"),
    ("ketuk open home s", "ketuk open home ssh"),
    ("ketuk open --tim", "ketuk open --time"),
];

#[test]
fn bash_completes() {
    let start = ". /usr/share/bash-completion/bash_completion";
    Machine::new().type_into("bash --norc --noprofile -i", start, &TYPED);
}

#[test]
fn zsh_completes() {
    let start = "fpath=($here/usr/share/zsh/site-functions $fpath); autoload -Uz compinit; compinit -u -D";
    Machine::new().type_into("zsh -f -i", start, &TYPED);
}

#[test]
fn fish_completes() {
    let machine = Machine::new();
    for (typed, expected) in TYPED {
        let found = machine.shell(&format!("fish -c 'complete -C \"{typed}\"'"));
        let word = expected.rsplit(' ').next().unwrap();
        let words: Vec<_> = found.lines().map(|line| line.split('\t').next().unwrap()).collect();
        assert_eq!(words, [word], "{typed}");
    }
}

/// The candidates of every shell, with their meanings.
#[test]
fn every_command_and_option_is_a_candidate() {
    let machine = Machine::new();
    let complete = |words: &str| machine.shell(&format!("\"$here\"/usr/share/ketuk/complete {words}"));
    let names = |found: &str| {
        found.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (program, listed) in [("ketukd", "  ketukd "), ("ketuk", " ketuk ")] {
        let help = machine.shell(&format!("{program} --help"));
        let lines = help
            .lines()
            .filter(|line| !line.starts_with("example"))
            .filter_map(|line| line.split_once(listed))
            .map(|(_, rest)| rest.trim_start_matches("[options] "));
        let commands: Vec<_> = lines
            .map(|line| line.split(' ').next().unwrap())
            .filter(|name| name.starts_with(char::is_lowercase))
            .collect();
        assert!(commands.len() > 6, "{commands:?}");
        assert_eq!(names(&complete(&format!("{program} ''"))), commands);
        for command in commands {
            let help = machine.shell(&format!("{program} {command} --help"));
            let lines = help.lines().filter(|line| line.starts_with("  -"));
            let options = lines.flat_map(|line| line.split("  ").nth(1).unwrap().split(", "));
            let mut options: Vec<_> =
                options.map(|option| option.split(' ').next().unwrap().to_owned()).collect();
            options.push("--help".to_owned());
            let found = complete(&format!("{program} {command} -"));
            assert_eq!(names(&found), options, "{program} {command}");
            assert!(
                found
                    .lines()
                    .all(|line| line.split_once('\t').is_some_and(|(_, meaning)| !meaning.is_empty())),
                "{found}"
            );
        }
    }
    assert_eq!(names(&complete("ketukd close ''")), ["ssh", "camera"], "the doors of the configuration");
    assert_eq!(complete("ketukd watch --door ''"), "ssh\ncamera\n");
    assert_eq!(complete("ketukd open ssh ''"), "", "an address is not known");
    assert!(complete("ketukd run --device ''").lines().any(|device| device == "lo"));
    assert_eq!(complete("ketuk remove home ''"), "home\tssh at home.example.org, by packet\n");
    for files in ["ketukd run --config ''", "ketukd explain ''", "ketuk add ''", "ketuk open home -- ''"] {
        assert_eq!(complete(files), "FILES\n", "{files}");
    }
    // The daemon names its doors.
    machine.scratch.write(
        "bin/ketukd",
        "#!/bin/sh\ncase $* in\n*--help) exec \"$ketukd\" \"$@\" ;;\nesac\n\
        echo '{\"doors\":[{\"name\":\"nas\",\"action\":\"open\"}],\"grants\":[{\"door\":\"x\"}]}'\n",
    );
    assert_eq!(complete("ketukd open ''"), "nas\n");
}
