//! Two routers with their scripts, and the broker between them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::daemon::Daemon;
use super::support::host::Host;
use super::support::{FIREWALL, Scratch, World, ketukd, run, stdout, wait_until};

/// The broker's address: it runs on the provider's side of the first router's line.
const BROKER: &str = "203.0.113.254";

/// A program with a log. It is ended as a service is ended.
pub(super) struct Service {
    pub(super) child: Child,
    pub(super) log: PathBuf,
}

impl Service {
    fn start(host: &Host, log: PathBuf, command: &mut Command) -> Self {
        let file = File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = host.enter(|| {
            command.spawn().unwrap_or_else(|error| {
                panic!("{command:?}: {error}; `make test` installs what the tests need")
            })
        });
        Self { child, log }
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM);
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}---", self.log.display(), self.log());
        }
    }
}

/// Two routers and a place for the broker's files.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) twin: Host,
    /// The folder of the second daemon, whose files have the same names as those of the first.
    pub(super) scratch: Scratch,
}

impl Site {
    pub(super) fn new() -> Self {
        let world = World::with_firewall();
        let twin = Host::new("twin");
        world.isp.wire("twin0", &twin, "wan0");
        world.isp.addresses("twin0", &["198.18.7.254/24", "2001:db8:7::fe/64"]);
        twin.addresses("wan0", &["198.18.7.1/24", "2001:db8:7::1/64"]);
        twin.gateways("198.18.7.254", "2001:db8:7::fe");
        twin.nft(FIREWALL);
        for host in [&world.router, &twin] {
            host.serve(22);
        }
        let site = Self { world, twin, scratch: Scratch::new() };
        site.certify();
        site
    }

    /// A daemon at each router, with these doors.
    pub(super) fn daemons(&self, doors: &str) -> [Daemon<'_>; 2] {
        [
            Daemon::start(&self.world.router, &self.world.scratch, doors),
            Daemon::start(&self.twin, &self.scratch, doors),
        ]
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.world.scratch.path(name)
    }

    /// Makes the certificates with the commands of docs/fleet.md, and some certificates that the broker must refuse.
    fn certify(&self) {
        let document = read("docs/fleet.md");
        let section = document.split("### Certificates").nth(1).unwrap();
        let commands =
            section.split("```sh run by tests/fleet/site.rs\n").nth(1).unwrap().split("```").next().unwrap();
        let script = |commands: &str| {
            let folder = self.path("").display().to_string();
            stdout("sh", &["-ec", &format!("cd {folder}\n{commands}")]);
        };
        script(&commands.replace("DNS:broker.home.example.org", &format!("IP:{BROKER}")));
        // A certificate of the same authority, with a name that is not in the broker's list.
        let guest = commands.replace("broker gate-a gate-b", "guest").replace("[ $name != broker ]", "true");
        let guest: Vec<&str> = guest.lines().filter(|line| !line.contains("-x509")).collect();
        script(&guest.join("\n"));
        // A certificate of another authority, with a router's name.
        fs::create_dir(self.path("forged")).unwrap();
        script(&format!("cd forged\n{}", commands.replace("broker gate-a gate-b", "gate-a")));
    }

    pub(super) fn broker(&self) -> Service {
        let folder = self.path("");
        let folder = folder.to_str().unwrap().trim_end_matches('/');
        let config = read("packaging/fleet/mosquitto.conf").replace("/etc/mosquitto/ketuk", folder);
        // Only the tests' own user may read the tests' files.
        let config = self.world.scratch.write("mosquitto.conf", &format!("{config}\nuser root\n"));
        self.world.scratch.write("acl", &read("packaging/fleet/acl"));
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(config);
        let service = Service::start(&self.world.isp, self.path("broker.log"), &mut command);
        wait_until("the broker listens", || {
            self.world.isp.run("nc", &["-z", BROKER, "8883"]).status.success()
        });
        service
    }

    /// Starts the script on a router; `shell` runs it.
    pub(super) fn fleet(&self, host: &Host, name: &str, shell: &[&str], daemon: &Daemon<'_>) -> Service {
        let folder = self.path("");
        let text = read("packaging/fleet/ketuk-fleet.conf")
            .replace("/etc/ketuk-fleet/", folder.to_str().unwrap())
            .replace("gate-a", name)
            .replace("DOORS='ssh'", "DOORS='ssh web'")
            .replace("broker.home.example.org", BROKER);
        let text = format!("{text}\nSOCKET='{}'\n", daemon.socket().display());
        let config = self.world.scratch.write(&format!("{name}.conf"), &text);
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(root().join("packaging/fleet/ketuk-fleet")).arg(config);
        let programs = ketukd().parent().unwrap().display();
        command.env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()));
        Service::start(host, self.path(&format!("{name}.log")), &mut command)
    }

    /// Sends a message as a client of the broker.
    pub(super) fn publish(&self, certificate: &[&str], message: &str, options: &[&str]) -> Output {
        let folder = self.path("");
        let file = |name: &str| folder.join(name).display().to_string();
        let ca = file("ca.crt");
        let mut arguments =
            vec!["-h", BROKER, "-p", "8883", "--cafile", &ca, "-t", "ketuk/home", "-q", "1", "-m", message];
        let files: Vec<String> = certificate.iter().map(|name| file(name)).collect();
        if let [certificate, key] = &files[..] {
            arguments.extend(["--cert", certificate, "--key", key]);
        }
        arguments.extend(options);
        self.world.isp.enter(|| run("mosquitto_pub", &arguments))
    }

    /// The same, as the first router, which the broker knows.
    pub(super) fn send(&self, message: &str) {
        let sent = self.publish(&["gate-a.crt", "gate-a.key"], message, &[]);
        assert!(sent.status.success(), "{sent:?}");
    }

    /// The file with all messages that the broker passes on.
    pub(super) fn observer(&self) -> Service {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", BROKER, "-p", "8883", "-t", "ketuk/home", "-q", "1", "-i", "observer"]);
        for (option, name) in [("--cafile", "ca.crt"), ("--cert", "gate-b.crt"), ("--key", "gate-b.key")] {
            command.arg(option).arg(self.path(name));
        }
        Service::start(&self.world.isp, self.path("observed"), &mut command)
    }
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
