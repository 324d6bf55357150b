//! A router on which knockd, fwknopd or ketukd opens port 22.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::{CLIENT, ROUTER, World, ketukd, wait_until};

/// The time that the door is open, in seconds.
const OPEN_S: u64 = 4;

/// If a door opens, it opens within this time after the last knock.
const SOON: Duration = Duration::from_secs(3);

/// The sequence of the door.
pub(super) const SEQUENCE: [u16; 3] = [24_817, 51_203, 38_466];

/// The port of fwknop's packets.
const SPA_PORT: u16 = 62_201;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const HMAC_KEY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// A program that opens doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Knockd,
    Fwknopd,
    Ketukd,
}

/// A router, and how the program on it is started.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) program: Program,
    pub(super) world: World,
    pub(super) device: &'static str,
    pub(super) sequence: [u16; 3],
    running: Option<Child>,
}

impl Stage {
    /// A router without the program. Its port 22 answers only clients that the program lets in.
    pub(super) fn new(program: Program) -> Self {
        let world = World::new();
        world.router.serve(22);
        // ketukd's own table shuts the port. For the other programs the router's firewall shuts it.
        if program != Program::Ketukd {
            for iptables in ["iptables", "ip6tables"] {
                let state = ["-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT"];
                world.router.stdout(iptables, &state);
                world.router.stdout(iptables, &["-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP"]);
            }
        }
        Self { program, world, device: "wan0", sequence: SEQUENCE, running: None }
    }

    /// A router on which the program runs and hears knocks: it has opened the door for a stranger, and shut it again.
    pub(super) fn ready(program: Program) -> Self {
        let mut stage = Self::new(program);
        stage.start();
        stage.wait_until_it_hears();
        stage
    }

    /// Starts the program.
    pub(super) fn start(&mut self) {
        let scratch = &self.world.scratch;
        let config = |name: &str, text: &str| scratch.write(name, text).display().to_string();
        let [first, second, third] = self.sequence;
        let (program, arguments) = match self.program {
            Program::Knockd => {
                let rule = |how: &str| format!("iptables -{how} INPUT -s %IP% -p tcp --dport 22 -j ACCEPT");
                let text = format!(
                    "[options]\n\tlogfile = {log}\n[ssh]\n\tsequence = {first},{second},{third}\n\tseq_timeout = 5\n\ttcpflags = syn\n\
                     \tstart_command = {open}\n\tstart_command_6 = {open_6}\n\tcmd_timeout = {OPEN_S}\n\tstop_command = {close}\n\tstop_command_6 = {close_6}\n",
                    log = scratch.path("knockd.log").display(),
                    open = rule("I"),
                    open_6 = rule("I").replace("iptables", "ip6tables"),
                    close = rule("D"),
                    close_6 = rule("D").replace("iptables", "ip6tables"),
                );
                ("knockd", vec!["-i".into(), self.device.into(), "-c".into(), config("knockd.conf", &text)])
            }
            Program::Fwknopd => {
                let run = scratch.path("run");
                fs::create_dir_all(&run).expect("a folder");
                let conf = format!("PCAP_INTF {};\nFWKNOP_RUN_DIR {};\n", self.device, run.display());
                let access = format!(
                    "SOURCE ANY\nOPEN_PORTS tcp/22\nKEY_BASE64 {KEY}\nHMAC_KEY_BASE64 {HMAC_KEY}\nFW_ACCESS_TIMEOUT {OPEN_S}\n"
                );
                let (conf, access) = (config("fwknopd.conf", &conf), config("access.conf", &access));
                ("fwknopd", vec!["-f".into(), "-c".into(), conf, "-a".into(), access])
            }
            Program::Ketukd => {
                let text = format!(
                    "config globals 'globals'\n\toption backend 'own'\n\toption trust_clock '1'\nconfig door 'ssh'\n\tlist sequence '{first}'\n\
                     \tlist sequence '{second}'\n\tlist sequence '{third}'\n\toption seq_timeout '5'\n\toption proto 'tcp'\n\toption dest_port '22'\n\
                     \toption open_time '{OPEN_S}'\nconfig user 'alice'\n\toption fwknop_key '{KEY}'\n\toption fwknop_hmac_key '{HMAC_KEY}'\n\tlist door 'ssh'\n"
                );
                let socket = scratch.path("ketuk.sock").display().to_string();
                let run = ["run", "--device", self.device, "--socket", &socket, "--config"];
                let config = config("ketuk.uci", &text);
                let arguments = run.into_iter().map(str::to_owned).chain([config]).collect();
                (ketukd().to_str().expect("a plain path"), arguments)
            }
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = self.world.router.enter(|| command.spawn());
        self.running =
            Some(child.unwrap_or_else(|error| panic!("{program}: {error}; make test installs it")));
    }

    /// Knocks from a stranger until the stranger is let in, and waits until he is shut out again.
    pub(super) fn wait_until_it_hears(&self) {
        let stranger = &self.world.stranger;
        wait_until("the program opens for a stranger", || {
            match self.program {
                Program::Fwknopd => self.world.stranger.enter(|| send(&self.packet("first"))),
                Program::Knockd | Program::Ketukd => drop(stranger.shell(&self.knock_line(ROUTER))),
            }
            stranger.greeted_by(ROUTER, 22).is_some()
        });
        wait_until("it shuts again", || stranger.greeted_by(ROUTER, 22).is_none());
    }

    /// The command of a client that knocks the whole sequence.
    pub(super) fn knock_line(&self, address: &str) -> String {
        let [first, second, third] = self.sequence;
        let family = if address.contains(':') { "-6 " } else { "" };
        format!("knock {family}-d 50 {address} {first} {second} {third}")
    }

    /// Knocks the whole sequence from the client.
    pub(super) fn knock(&self, address: &str) {
        self.world.client.shell(&self.knock_line(address));
    }

    /// A packet of fwknop's client that opens for the address that it comes from.
    pub(super) fn packet(&self, name: &str) -> Vec<u8> {
        let (home, file) = (self.world.scratch.path("home"), self.world.scratch.path(name));
        fs::create_dir_all(&home).expect("a folder");
        let (home, path) = (format!("HOME={}", home.display()), file.display().to_string());
        let arguments = [
            &home,
            "fwknop",
            "--test",
            "--no-save-args",
            "--no-rc-file",
            "--use-hmac",
            "-D",
            ROUTER,
            "-s",
            "-A",
            "tcp/22",
            "--key-base64-rijndael",
            KEY,
            "--key-base64-hmac",
            HMAC_KEY,
            "--save-packet",
            &path,
        ];
        self.world.client.stdout("env", &arguments);
        let text = fs::read_to_string(&file).expect("the saved packet");
        text.trim_end().as_bytes().to_vec()
    }

    /// Whether the client gets in within [`SOON`].
    pub(super) fn opens(&self) -> bool {
        self.opens_at(ROUTER)
    }

    /// The same, at one of the router's addresses.
    pub(super) fn opens_at(&self, address: &str) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < SOON {
            if self.world.client.greeted_by(address, 22).is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// Whether the client, who is in, is out again on time.
    pub(super) fn shuts(&self) -> bool {
        let begin = Instant::now();
        // A busy machine may need two seconds more than the open time. A connection attempt that is dropped takes one and a half.
        while begin.elapsed() < Duration::from_secs(OPEN_S + 2) {
            if self.world.client.greeted_by(ROUTER, 22).is_none() {
                return true;
            }
            thread::sleep(Duration::from_millis(100));
        }
        false
    }

    /// The rules and elements of the firewall that name the client.
    pub(super) fn entries_of_the_client(&self) -> usize {
        let listed = match self.program {
            Program::Ketukd => self.world.router.nft_list("table inet ketuk"),
            Program::Knockd | Program::Fwknopd => self.world.router.stdout("iptables", &["-S"]),
        };
        listed.matches(CLIENT).count()
    }

    /// Writes a configuration that the program cannot read, and tells the program to read it.
    pub(super) fn reload_a_wrong_file(&mut self) {
        for name in ["knockd.conf", "access.conf", "ketuk.uci"] {
            let path = self.world.scratch.path(name);
            if Path::new(&path).exists() {
                fs::write(&path, "this is no configuration\n").expect("written");
            }
        }
        kill(self.pid(), Signal::SIGHUP).expect("it runs");
    }

    /// Kills the program and every process that it has started, as a service manager does.
    pub(super) fn kill_all_processes(&self) {
        let mut all = vec![self.pid()];
        let mut at = 0;
        while let Some(parent) = all.get(at) {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
                .expect("proc_pid_task(5)");
            all.extend(
                children.split_whitespace().map(|child| Pid::from_raw(child.parse().expect("a process id"))),
            );
            at += 1;
        }
        for process in all {
            kill(process, Signal::SIGKILL).expect("it runs");
        }
    }

    fn pid(&self) -> Pid {
        let child = self.running.as_ref().expect("it was started");
        Pid::from_raw(i32::try_from(child.id()).expect("a process id"))
    }

    /// Whether the program ends by itself within [`SOON`].
    pub(super) fn ends(&mut self) -> bool {
        let child = self.running.as_mut().expect("it was started");
        let begin = Instant::now();
        while begin.elapsed() < SOON {
            if child.try_wait().expect("a child").is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends a datagram to the port of fwknop's packets, from the host that this runs on.
pub(super) fn send(packet: &[u8]) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.send_to(packet, (ROUTER, SPA_PORT)).expect("a route");
}
