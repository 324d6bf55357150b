//! A running `ketukd run` on a host.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::host::Host;
use super::{Scratch, ketukd, run, succeeded, wait_until};

/// The number of user `ketuk` in a test.
pub const USER_KETUK: u32 = 45_353;

/// A running daemon, killed when this value is dropped.
#[derive(Debug)]
pub struct Daemon<'h> {
    host: &'h Host,
    child: Child,
    config: PathBuf,
    socket: PathBuf,
    log: PathBuf,
}

/// A daemon that has not been started yet.
#[derive(Debug)]
pub struct Start<'h> {
    host: &'h Host,
    config: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    command: Command,
}

impl<'h> Start<'h> {
    /// A daemon with this configuration, on device wan0.
    pub fn new(host: &'h Host, scratch: &Scratch, config: &str) -> Self {
        Self::on(host, scratch, config, &["wan0"])
    }

    /// The same on other devices. With an empty list the configuration names the devices.
    pub fn on(host: &'h Host, scratch: &Scratch, config: &str, devices: &[&str]) -> Self {
        let config = scratch.write("ketuk.uci", config);
        let (socket, log) = (scratch.path("ketuk.sock"), scratch.path("ketuk.log"));
        let mut command = Command::new(ketukd());
        command.arg("run").arg("--config").arg(&config).arg("--socket").arg(&socket);
        for device in devices {
            command.args(["--device", device]);
        }
        Self { host, config, socket, log, command }
    }

    /// Puts the control socket, and the daemon's file beside it, into another folder.
    pub fn socket(&mut self, socket: &Path) -> &mut Self {
        socket.clone_into(&mut self.socket);
        // The last option of this name counts.
        self.command.arg("--socket").arg(socket);
        self
    }

    /// The command, which a test may change.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Another program starts the daemon. It gets the whole command line as its last arguments.
    pub fn through(&mut self, program: &[&str]) -> &mut Self {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(self.command.get_program()).args(self.command.get_args());
        self.command = command;
        self
    }

    /// Lets the daemon see a user `ketuk`, who may make files in the folder of this scratch. The machine's own files are
    /// hidden from the daemon alone.
    pub fn with_user_ketuk(&mut self, scratch: &Scratch) -> &mut Self {
        let etc = scratch.path("etc");
        fs::create_dir(&etc).expect("a folder");
        fs::write(etc.join("passwd"), format!("ketuk:x:{USER_KETUK}:{USER_KETUK}::/:/bin/false\n"))
            .expect("a file");
        fs::write(etc.join("group"), format!("ketuk:x:{USER_KETUK}:\n")).expect("a file");
        fs::set_permissions(scratch.path("."), fs::Permissions::from_mode(0o777)).expect("a mode");
        let hide =
            "for file in passwd group; do mount --bind \"$0/$file\" /etc/$file || exit; done; exec \"$@\"";
        self.through(&["unshare", "-m", "sh", "-c", hide, etc.to_str().expect("a plain path")])
    }

    /// Starts the daemon, and waits until it says that it can hear knocks.
    pub fn go(self) -> Daemon<'h> {
        let mut daemon = self.spawn();
        wait_until("the control socket is there", || {
            if let Some(status) = daemon.child.try_wait().expect("a child") {
                panic!("ketukd ended, {status}:\n{}", daemon.log());
            }
            std::os::unix::net::UnixStream::connect(&daemon.socket).is_ok()
        });
        daemon
    }

    /// Starts the daemon.
    pub fn spawn(self) -> Daemon<'h> {
        let Self { host, config, socket, log, mut command } = self;
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = host.enter(|| command.spawn()).expect("ketukd");
        Daemon { host, child, config, socket, log }
    }
}

impl Daemon<'_> {
    /// Loads the output of `ketukd ruleset` into the host's firewall, and starts a daemon with this configuration on
    /// wan0.
    pub fn start<'h>(host: &'h Host, scratch: &Scratch, config: &str) -> Daemon<'h> {
        let start = Start::new(host, scratch, config);
        host.nft(&ruleset(&start.config));
        start.go()
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("the log file")
    }

    /// Waits until a line of the log contains `text`.
    pub fn wait_for_log(&self, text: &str) {
        self.wait(&format!("the log says '{text}'"), |daemon| daemon.log().contains(text));
    }

    /// Waits until `done` is true. If it does not become true, the test fails and prints the log.
    pub fn wait(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(what, || done(self));
        }));
        if let Err(panic) = said {
            eprintln!("--- the daemon's log\n{}---", self.log());
            std::panic::resume_unwind(panic);
        }
    }

    /// Runs a subcommand of `ketukd` against the daemon: `control(&["close", "ssh"])`.
    pub fn control(&self, arguments: &[&str]) -> Output {
        let socket = self.socket.to_str().expect("a plain path");
        let arguments: Vec<_> = arguments.iter().copied().chain(["--socket", socket]).collect();
        self.host.enter(|| run(ketukd().to_str().expect("a plain path"), &arguments))
    }

    /// The standard output of a subcommand that must succeed.
    pub fn ask(&self, arguments: &[&str]) -> String {
        succeeded("ketukd", arguments, &self.control(arguments))
    }

    /// `ketukd status --json`.
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.ask(&["status", "--json"])).expect("JSON")
    }

    /// Whether a door is open for this address, and the firewall has it.
    pub fn lets_in(&self, door: &str, address: &str) -> bool {
        self.grant(door, address).is_some_and(|grant| grant["in_firewall"] == true)
    }

    /// The row of the status for an address that a door is open for.
    pub fn grant(&self, door: &str, address: &str) -> Option<serde_json::Value> {
        let status = self.status();
        let grants = status["grants"].as_array().expect("a list");
        grants.iter().find(|grant| grant["door"] == door && grant["address"] == address).cloned()
    }

    /// Waits until the daemon listens on its first device.
    pub fn wait_until_it_listens(&self) {
        self.wait("it listens", |daemon| daemon.status()["devices"][0]["state"] == "listening");
    }

    /// Waits until no command waits or runs.
    pub fn wait_for_commands(&self) {
        self.wait("all commands have run", |daemon| daemon.status()["daemon"]["commands_pending"] == false);
    }

    /// A counter of the status.
    pub fn counter(&self, name: &str) -> u64 {
        self.status()["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// Changes the configuration file. The daemon reads it at the next reload.
    pub fn write_config(&self, text: &str) {
        fs::write(&self.config, text).expect("the configuration file");
    }

    /// The path of the configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The path of the control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The daemon's second process, if it has one.
    pub fn monitor(&self) -> Option<u32> {
        let processes = fs::read_dir("/proc").expect("proc").flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.find(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
            stat.contains("(ketukd-monitor)") && parent == Some(&self.pid().to_string())
        })
    }

    /// The number of times that the daemon has gone to sleep (`proc_pid_status(5)`). Each means a wake-up.
    pub fn times_waited(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("alive");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse().ok()).expect("a number")
    }

    /// Waits until the daemon uses no processor time.
    pub fn wait_until_idle(&self) {
        self.wait("it is idle", |daemon| {
            let before = processor_ticks(daemon.pid());
            std::thread::sleep(std::time::Duration::from_millis(100));
            processor_ticks(daemon.pid()) == before
        });
    }

    /// A field of `proc_pid_stat(5)`, by its number there, from 4.
    pub fn stat(&self, field: usize) -> u64 {
        stat(self.pid(), field)
    }

    /// Asserts that `body` does not wake the daemon. A link that has just come up may wake it, so `body` runs several
    /// times if needed.
    pub fn sleeps_through(&self, what: &str, mut body: impl FnMut()) {
        // A daemon that does not sleep at all does not wait.
        let state = |daemon: &Self| (daemon.times_waited(), processor_ticks(daemon.pid()));
        self.wait(&format!("it sleeps through {what}"), |daemon| {
            let before = state(daemon);
            body();
            state(daemon) == before
        });
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")), signal).expect("alive");
    }

    /// Whether the daemon runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Sends a signal that ends the daemon, waits for the end, and returns the log.
    pub fn end(mut self, signal: Signal) -> (ExitStatus, String) {
        self.signal(signal);
        let status = self.wait_for_end();
        (status, self.log())
    }

    /// Kills both processes of the daemon at the same moment, so that neither can undo anything.
    pub fn crash(mut self) {
        self.signal(Signal::SIGSTOP);
        if let Some(monitor) = self.monitor() {
            kill(Pid::from_raw(i32::try_from(monitor).expect("a process id")), Signal::SIGKILL)
                .expect("alive");
        }
        self.signal(Signal::SIGKILL);
        self.wait_for_end();
    }

    /// Waits for the daemon's end.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until("the daemon ends", || {
            ended = self.child.try_wait().expect("a child");
            ended.is_some()
        });
        ended.expect("just seen")
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}---", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// A line of `proc_pid_status(5)`.
pub fn proc_status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("alive");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).expect("the line");
    line.trim().to_owned()
}

/// A field of `proc_pid_stat(5)`, by its number there, from 4.
fn stat(pid: u32, field: usize) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("alive");
    // The name, field 2, may contain anything, and ends with the last parenthesis.
    let (_, after_name) = stat.rsplit_once(") ").expect("a name");
    after_name.split(' ').nth(field - 3).and_then(|field| field.parse().ok()).expect("a number")
}

/// The processor time of a process: `utime` and `stime` of `proc_pid_stat(5)`.
pub fn processor_ticks(pid: u32) -> u64 {
    stat(pid, 14) + stat(pid, 15)
}

/// The numbers of the capabilities in a set of a process.
pub fn capabilities(pid: u32, set: &str) -> Vec<u32> {
    let mask = u64::from_str_radix(&proc_status(pid, set), 16).expect("a mask");
    (0..64).filter(|number| mask >> number & 1 == 1).collect()
}

/// Whether there is such a process. It may be no child of this test.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The output of `ketukd ruleset` for a configuration on a host without a loaded table of ketuk's.
pub fn ruleset(config: &Path) -> String {
    let config = config.to_str().expect("a plain path");
    Host::new("elsewhere").stdout(ketukd().to_str().expect("a plain path"), &["ruleset", "--config", config])
}
