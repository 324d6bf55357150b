//! The scripts of the Makefile: `parts.sh`, `need.sh`, `cargo.sh`.
//!
//! apt is a stand-in here, because a test must not install packages. `make test-fresh` runs the scripts with the real one.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what it expected by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::{Scratch, copy_program};

/// The real programs that the scripts run.
const REAL: [&str; 13] =
    ["sh", "cat", "chmod", "date", "dirname", "env", "grep", "ls", "mktemp", "rm", "sed", "sort", "tee"];

/// Writes its name and its arguments, one call a line.
const CALLED: &str = "#!/bin/sh\necho \"${0##*/} $*\" >>\"$here\"/calls\n";

/// `apt-get`. An update makes the file `lists`. An installation works if there are no lists to wait for, or if they are there.
/// It makes each command that `$here/has` names.
const APT_GET: &str = "
[ \"$DEBIAN_FRONTEND\" = noninteractive ] || exit 99
case $* in
*' update') [ ! -e \"$here\"/offline ] && : >\"$here\"/lists ;;
*)
	[ ! -e \"$here\"/old ] || [ -e \"$here\"/lists ] || { echo '404 Not Found'; exit 100; }
	echo 'Need to get 12.3 MB of archives.'
	[ ! -e \"$here\"/new-cargo ] || cat \"$here\"/new-cargo >\"$here\"/bin/cargo
	;;
esac
";

/// `apt-cache`: the versions of `$here/before`, and after an update those of `$here/after`.
const APT_CACHE: &str = "#!/bin/sh
[ \"$1\" = policy ] || exit 0
lists=before
[ ! -e \"$here\"/lists ] || lists=after
sed -n \"s/^$2 /  Candidate: /p\" \"$here\"/$lists
";

/// A version of Rust that no cargo of this machine has. So the test finds only its own cargo.
const WANTED: &str = "rust-version = \"1.4000\"\n";

/// The packages before and after an update of apt's lists. Debian's cargo is older than its browsers'.
const OLD_LISTS: &str = "cargo 1.63.0+dfsg1-2\ncargo-web 1.3999.0+dfsg1-1~deb12u2\n";
const NEW_LISTS: &str = "cargo 1.63.0+dfsg1-2\ncargo-web 1.4000.0+dfsg1-1~deb12u2\n";

/// A machine with copies of the scripts, the programs that they need, and nothing else.
struct Machine(Scratch);

impl Machine {
    fn new() -> Self {
        let machine = Self(Scratch::new());
        for folder in ["bin", "scripts"] {
            fs::create_dir(machine.0.path(folder)).unwrap();
        }
        for script in ["parts.sh", "need.sh", "cargo.sh"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
            copy_program(&from, &machine.0.path("scripts").join(script));
        }
        for name in REAL {
            let folders = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
            let real = folders.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no {name}"));
            symlink(real, machine.0.path("bin").join(name)).unwrap();
        }
        machine.program("apt-get", &[CALLED, APT_GET].concat());
        machine.program("apt-cache", APT_CACHE);
        machine.program("id", "#!/bin/sh\necho 0\n");
        machine.has("Cargo.toml", WANTED);
        machine
    }

    /// A machine on which the scripts run as an ordinary user. `sudo` is a program that it has; it may be empty.
    fn of_a_user(sudo: &str) -> Self {
        let machine = Self::new();
        machine.program("id", "#!/bin/sh\necho 1000\n");
        if !sudo.is_empty() {
            machine.program("sudo", &[CALLED, sudo].concat());
        }
        machine
    }

    /// Makes a program. It is copied, as [`copy_program`] says.
    fn program(&self, name: &str, text: &str) {
        let written = self.0.write_program(&format!("{name}.new"), text);
        copy_program(&written, &self.0.path("bin").join(name));
    }

    fn has(&self, name: &str, text: &str) {
        self.0.write(name, text);
    }

    fn without(&self, program: &str) {
        fs::remove_file(self.0.path("bin").join(program)).unwrap();
    }

    /// Runs a script with these arguments, separated by blanks.
    fn run(&self, script: &str, arguments: &str) -> Output {
        Command::new("/bin/sh")
            .arg(self.0.path("scripts").join(script))
            .args(arguments.split_whitespace())
            .env_clear()
            .env("PATH", self.0.path("bin"))
            .env("HOME", self.0.path("home"))
            .env("TMPDIR", self.0.path(""))
            .env("here", self.0.path(""))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The calls of the stand-ins so far, without the options that every call of apt-get has.
    fn calls(&self) -> String {
        let calls = fs::read_to_string(self.0.path("calls")).unwrap_or_default();
        let install = "-o APT::Keep-Downloaded-Packages=false install --no-install-recommends";
        calls.replace("apt-get -y -q ", "apt-get ").replace(install, "install")
    }
}

fn said(output: &Output) -> (bool, String) {
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn parts_runs_each_part_and_fails_if_one_has_failed() {
    let machine = Machine::new();
    machine.program("make", &[CALLED, "[ \"$2\" != wrong ]\n"].concat());
    let output = machine.run("parts.sh", "first wrong last");
    assert!(!output.status.success(), "{output:?}");
    let each = ["first", "wrong", "last"].map(|part| format!("make --no-print-directory {part}\n"));
    assert_eq!(machine.calls(), each.concat());
    let out = String::from_utf8_lossy(&output.stdout);
    let mut report = out.lines().skip_while(|line| !line.starts_with("=== in all "));
    assert!(report.next().is_some(), "{out}");
    for (part, ended) in [("first", "passed"), ("wrong", "FAILED"), ("last", "passed")] {
        let row: Vec<_> = report.next().unwrap_or_default().split_whitespace().collect();
        assert_eq!((row[..2].to_vec(), row[3]), (vec![part, ended], "s"), "{out}");
    }
    assert_eq!(report.collect::<Vec<_>>(), ["2 passed, 1 failed"], "{out}");

    let output = machine.run("parts.sh", "first last");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("\n2 passed, 0 failed\n"), "{output:?}");
}

#[test]
fn need_installs_what_is_missing_and_each_package_once() {
    let machine = Machine::new();
    let output = machine.run("need.sh", "sed=sed /etc/passw*=base-passwd");
    assert_eq!((said(&output), machine.calls()), ((true, String::new()), String::new()));
    let needs =
        "ketuk-c=bothered ketuk-a=both sed=sed /etc/passwd=base-passwd ketuk-b=both /no/such-*=file ketuk-d";
    let (good, said) = said(&machine.run("need.sh", needs));
    assert!(good, "{said}");
    assert_eq!(said, "installing: bothered both file ketuk-d\n  12.3 MB to download\n");
    assert_eq!(machine.calls(), "apt-get install bothered both file ketuk-d\n");
}

#[test]
fn need_installs_the_packages_that_it_is_told_and_updates_the_lists() {
    let machine = Machine::new();
    assert!(machine.run("need.sh", "-i one two").status.success());
    assert!(machine.run("need.sh", "-u").status.success());
    assert_eq!(machine.calls(), "apt-get install one two\napt-get update\n");
    machine.has("offline", "");
    let (good, said) = said(&machine.run("need.sh", "-u"));
    assert!(!good);
    assert!(said.ends_with("\napt-get failed: update\n"), "{said}");
}

#[test]
fn need_reads_the_lists_anew_if_the_installation_fails() {
    let machine = Machine::new();
    machine.has("old", "");
    let (good, said) = said(&machine.run("need.sh", "ketuk-a=one"));
    assert!(good, "{said}");
    assert_eq!(machine.calls(), "apt-get install one\napt-get update\napt-get install one\n");
}

const MISSING: &str = "missing: install with apt-get update && apt-get install one two (Debian and Ubuntu)\n";

#[test]
fn need_names_the_packages_if_it_cannot_install_them() {
    let needs = "ketuk-a=one ketuk-b=two";
    // apt cannot read its lists.
    let machine = Machine::new();
    for file in ["old", "offline"] {
        machine.has(file, "");
    }
    let (good, what) = said(&machine.run("need.sh", needs));
    assert!(!good && what.ends_with(MISSING), "{what}");
    assert_eq!(machine.calls(), "apt-get install one two\napt-get update\n");
    // The lists are new, and the package is not there.
    let machine = Machine::new();
    machine.program(
        "apt-get",
        &[CALLED, "echo 'Unable to locate'\ncase $* in *' update') ;; *) exit 100 ;; esac\n"].concat(),
    );
    let (good, what) = said(&machine.run("need.sh", needs));
    assert!(!good && what.ends_with(MISSING) && what.contains("Unable to locate\n"), "{what}");
    // There is no apt.
    let machine = Machine::new();
    machine.without("apt-get");
    assert_eq!(said(&machine.run("need.sh", needs)), (false, MISSING.to_owned()));
}

#[test]
fn need_installs_as_an_ordinary_user_only_with_sudo() {
    let needs = "ketuk-a=one ketuk-b=two";
    for (sudo, calls) in [("", ""), ("exit 1\n", "sudo -n true\n")] {
        let machine = Machine::of_a_user(sudo);
        assert_eq!(said(&machine.run("need.sh", needs)), (false, MISSING.to_owned()), "{sudo}");
        assert_eq!(machine.calls(), calls);
    }
    let machine = Machine::of_a_user("[ \"$1\" = -n ] && shift && \"$@\"\n");
    let (good, said) = said(&machine.run("need.sh", needs));
    assert!(good, "{said}");
    let calls = machine.calls();
    assert!(calls.starts_with("sudo -n true\nsudo -n env "), "{calls}");
    assert!(calls.ends_with("\napt-get install one two\n"), "{calls}");
}

/// A cargo of this version.
fn cargo(version: &str) -> String {
    format!(
        "#!/bin/sh\n[ \"$1\" != --version ] || {{ echo 'cargo {version} (hash 2026-01-01)'; exit; }}\necho \"cargo got $*\"\n"
    )
}

#[test]
fn cargo_runs_one_that_is_new_enough() {
    let machine = Machine::new();
    machine.program("cargo", &cargo("1.4000.0"));
    let output = machine.run("cargo.sh", "build --release");
    assert_eq!(said(&output), (true, String::new()));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "cargo got build --release\n");
    assert_eq!(machine.calls(), "");
}

#[test]
fn cargo_reads_the_lists_anew_if_they_have_only_an_old_one() {
    for old_cargo in [true, false] {
        let machine = Machine::new();
        if old_cargo {
            machine.program("cargo", &cargo("1.3999.9"));
        } else {
            machine.program("cargo", "#!/bin/sh\nexit 1\n");
        }
        machine.has("before", OLD_LISTS);
        machine.has("after", NEW_LISTS);
        machine.has("new-cargo", &cargo("1.4000.0"));
        let output = machine.run("cargo.sh", "build");
        let (good, said) = said(&output);
        assert!(good, "{said}");
        assert!(
            said.starts_with(
                "no cargo 1.4000 or newer: looking for a package that has one\nreading apt's package lists\n"
            ),
            "{said}"
        );
        assert_eq!(String::from_utf8_lossy(&output.stdout), "cargo got build\n");
        assert_eq!(machine.calls(), "apt-get update\napt-get install cargo-web rustc-web\n");
    }
}

#[test]
fn cargo_installs_at_once_what_the_lists_have() {
    let machine = Machine::new();
    machine.program("cargo", &cargo("1.3999.9"));
    machine.has("before", NEW_LISTS);
    machine.has("new-cargo", &cargo("1.4000.0"));
    let (good, said) = said(&machine.run("cargo.sh", "build"));
    assert!(good, "{said}");
    assert_eq!(machine.calls(), "apt-get install cargo-web rustc-web\n");
}

#[test]
fn cargo_says_where_there_is_one_if_no_package_has_it() {
    let machine = Machine::new();
    machine.program("cargo", &cargo("1.3999.9"));
    for lists in ["before", "after"] {
        machine.has(lists, OLD_LISTS);
    }
    let (good, said) = said(&machine.run("cargo.sh", "build"));
    assert!(!good);
    assert!(said.ends_with("\nTake it from https://rustup.rs\n"), "{said}");
    assert_eq!(machine.calls(), "apt-get update\n");
}
