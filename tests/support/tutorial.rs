//! The door of the guides to knockd, imported without a change, on a host whose firewall lets everybody in. The same checks serve
//! for a host without a firewall, and for hosts with one.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::daemon::{Daemon, Start};
use super::host::Host;
use super::{World, ketukd, wait_until};

/// SSH for the knocker, over IPv4 and IPv6, until its time is over.
pub const TIMED: &str = "[options]
	UseSyslog

[ssh]
	sequence        = 7000,8000,9000
	seq_timeout     = 10
	tcpflags        = syn
	start_command   = /usr/sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT
	start_command_6 = /usr/sbin/ip6tables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT
	cmd_timeout     = 4
	stop_command    = /usr/sbin/iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT
	stop_command_6  = /usr/sbin/ip6tables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT
";

/// The longest time that a door of [`TIMED`] may be open: its time, doubled for a slow machine.
const OPEN: Duration = Duration::from_secs(8);

/// The unchanged output of `ketukd import` for a knockd.conf.
pub fn imported(world: &World, knockd: &str) -> String {
    let file = world.scratch.write("knockd.conf", knockd);
    let [program, file] = [ketukd(), &file].map(|path| path.to_str().expect("a plain path"));
    world.router.stdout(program, &["import", file])
}

/// A daemon with an imported configuration. Nothing is loaded before its start, and no backend is named.
pub fn start<'w>(world: &'w World, uci: &str) -> Daemon<'w> {
    let daemon = Start::new(&world.router, &world.scratch, uci).go();
    assert_eq!(daemon.status()["daemon"]["backend"], "own", "{uci}");
    daemon
}

/// The port that a door opens, and the address at which a client knocks.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub knocked: &'static str,
    pub address: &'static str,
    pub port: u16,
}

impl Way {
    pub fn lets_in(self, host: &Host) -> bool {
        host.greeted_by(self.address, self.port).is_some()
    }

    pub fn knock(self, world: &World, ports: &str) {
        world.client.knock(self.knocked, ports);
    }

    /// The opening knock opens it for the knocker, and for nobody else.
    fn opens_for_the_knocker_alone(self, world: &World) {
        self.knock(world, "7000 8000 9000");
        wait_until("the knock opens", || self.lets_in(&world.client));
        assert!(!self.lets_in(&world.stranger), "{self:?}: for the knocker alone");
    }

    /// The door is shut to all, opens for the knocker alone, and shuts on time.
    pub fn is_shut_and_opens(self, world: &World) {
        for host in [&world.client, &world.stranger] {
            assert!(!self.lets_in(host), "{self:?}: shut");
        }
        let knocked = Instant::now();
        self.opens_for_the_knocker_alone(world);
        wait_until("it shuts", || !self.lets_in(&world.client));
        assert!(knocked.elapsed() < OPEN, "{self:?}: on time, not after {:?}", knocked.elapsed());
    }

    /// After `nft flush ruleset` the door is shut again, and opens for the knocker alone.
    pub fn survives_a_flush(self, world: &World) {
        self.is_shut_again_after_a_flush(world);
        self.opens_for_the_knocker_alone(world);
    }

    /// `nft flush ruleset` opens the port for less than a second, which a slow machine may double.
    pub fn is_shut_again_after_a_flush(self, world: &World) {
        world.router.nft("flush ruleset");
        let flushed = Instant::now();
        let mut last = flushed;
        // When the last packet that got in was sent: those that do not get in are waited for.
        wait_until("it is shut again", || {
            let sent = Instant::now();
            let is_in = self.lets_in(&world.stranger);
            last = if is_in { sent } else { last };
            !is_in
        });
        let open = last.duration_since(flushed);
        assert!(open < Duration::from_secs(2), "{self:?}: open for {open:?} after a flush");
    }

    /// SIGKILL of the daemon lets nobody in, and the kernel shuts the knocker out when his time is over.
    pub fn is_shut_without_the_daemon(self, world: &World, daemon: Daemon<'_>) {
        self.knock(world, "7000 8000 9000");
        wait_until("the knock opens", || self.lets_in(&world.client));
        daemon.end(Signal::SIGKILL);
        assert!(!self.lets_in(&world.stranger), "{self:?}: shut without a daemon");
        wait_until("the kernel shuts it on time", || !self.lets_in(&world.client));
    }
}
