//! `ketukd run` on a host.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::host::Host;
use super::{Scratch, ketukd, run, succeeded, wait_until};

/// A daemon. It is killed when this is dropped.
#[derive(Debug)]
pub struct Daemon<'h> {
    host: &'h Host,
    child: Child,
    config: PathBuf,
    socket: PathBuf,
    log: PathBuf,
}

/// How to start one.
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

    /// The same, on other devices; none is for the configuration to say.
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

    /// The command, to change it.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Has another program start it, which takes the whole command line as its last arguments.
    pub fn through(&mut self, program: &[&str]) -> &mut Self {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(self.command.get_program()).args(self.command.get_args());
        self.command = command;
        self
    }

    /// Starts it, and waits until it says that it can hear knocks.
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

    /// Starts it.
    pub fn spawn(self) -> Daemon<'h> {
        let Self { host, config, socket, log, mut command } = self;
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = host.enter(|| command.spawn()).expect("ketukd");
        Daemon { host, child, config, socket, log }
    }
}

impl Daemon<'_> {
    /// Starts one with this configuration on wan0, after loading what `ketukd ruleset` prints into the
    /// host's firewall.
    pub fn start<'h>(host: &'h Host, scratch: &Scratch, config: &str) -> Daemon<'h> {
        let start = Start::new(host, scratch, config);
        host.nft(&ruleset(host, &start.config));
        start.go()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("the log file")
    }

    /// Waits until a line of the log holds this.
    pub fn wait_for_log(&self, text: &str) {
        self.wait(&format!("the log says '{text}'"), |daemon| daemon.log().contains(text));
    }

    /// Waits for something; the log is printed if it does not come.
    pub fn wait(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(what, || done(self));
        }));
        if let Err(panic) = said {
            eprintln!("--- the daemon's log\n{}---", self.log());
            std::panic::resume_unwind(panic);
        }
    }

    /// Runs one of its subcommands against it: `control(&["close", "ssh"])`.
    pub fn control(&self, arguments: &[&str]) -> Output {
        let socket = self.socket.to_str().expect("a plain path");
        let arguments: Vec<_> = arguments.iter().copied().chain(["--socket", socket]).collect();
        self.host.enter(|| run(ketukd().to_str().expect("a plain path"), &arguments))
    }

    /// Standard output of one that must succeed.
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

    /// What the status says about an address that a door is open for.
    pub fn grant(&self, door: &str, address: &str) -> Option<serde_json::Value> {
        let status = self.status();
        let grants = status["grants"].as_array().expect("a list");
        grants.iter().find(|grant| grant["door"] == door && grant["address"] == address).cloned()
    }

    /// Waits until no command waits or runs.
    pub fn wait_for_commands(&self) {
        self.wait("all commands have run", |daemon| daemon.status()["daemon"]["commands_pending"] == false);
    }

    /// A counter of the status.
    pub fn counter(&self, name: &str) -> u64 {
        self.status()["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// Changes the configuration file; it is read at the next reload.
    pub fn write_config(&self, text: &str) {
        fs::write(&self.config, text).expect("the configuration file");
    }

    /// Where its configuration is.
    pub fn config(&self) -> &std::path::Path {
        &self.config
    }

    /// Where its control socket is.
    pub fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How often it has gone to sleep (`proc_pid_status(5)`): a wake-up each.
    fn times_waited(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("alive");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse().ok()).expect("a number")
    }

    /// Waits until it uses no processor time.
    pub fn wait_until_idle(&self) {
        self.wait("it is idle", |daemon| {
            let before = daemon.processor_ticks();
            std::thread::sleep(std::time::Duration::from_millis(100));
            daemon.processor_ticks() == before
        });
    }

    /// `utime` and `stime` of `proc_pid_stat(5)`.
    fn processor_ticks(&self) -> u64 {
        self.stat(14) + self.stat(15)
    }

    /// A field of `proc_pid_stat(5)`, by its number there, from 4.
    pub fn stat(&self, field: usize) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("alive");
        // The name, field 2, may contain anything, and ends with the last parenthesis.
        let (_, after_name) = stat.rsplit_once(") ").expect("a name");
        after_name.split(' ').nth(field - 3).and_then(|field| field.parse().ok()).expect("a number")
    }

    /// `body` does not wake it. A link that has just come up may, so the body has more than one try; whatever
    /// it does itself happens each time.
    pub fn sleeps_through(&self, what: &str, mut body: impl FnMut()) {
        self.wait(&format!("it sleeps through {what}"), |daemon| {
            let before = daemon.times_waited();
            body();
            daemon.times_waited() == before
        });
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")), signal).expect("alive");
    }

    /// Whether it runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Sends it a signal that ends it, and waits for that; its log.
    pub fn end(mut self, signal: Signal) -> (ExitStatus, String) {
        self.signal(signal);
        let status = self.wait_for_end();
        (status, self.log())
    }

    /// Waits for its end.
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

/// What `ketukd ruleset` prints for a configuration.
pub fn ruleset(host: &Host, config: &std::path::Path) -> String {
    let config = config.to_str().expect("a plain path");
    host.stdout(ketukd().to_str().expect("a plain path"), &["ruleset", "--config", config])
}
