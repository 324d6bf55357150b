//! The daemon's sleep. It ends at packets, signals, requests, and news of links, firewall and connections.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use log::error;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::monitor::Monitor;
use super::state::Daemon;
use crate::config::MAX_DEVICES;
use crate::control::server::{MAX_CLIENTS, Server};
use crate::core::time::Instant;
use crate::linux::clock::now;

/// The most descriptors: two sockets a device, the control socket and its clients, links, firewall, connections,
/// signals, the monitor.
const MAX_DESCRIPTORS: usize = 2 * MAX_DEVICES + 1 + MAX_CLIENTS + 5;

/// The sources that have something to read.
#[expect(clippy::struct_excessive_bools, reason = "each is a descriptor of its own")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) signals: bool,
    pub(super) links: bool,
    pub(super) firewall: bool,
    pub(super) connections: bool,
    pub(super) packets: bool,
}

impl Daemon<'_> {
    /// Sleeps until a source can be read, or until `deadline`.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Ready {
        let mut fds = heapless::Vec::<PollFd<'_>, MAX_DESCRIPTORS>::new();
        let firewall = self.porter.gate.backend().events().map(AsFd::as_fd);
        let connections = self.porter.gate.connections.announcements();
        // An absent source keeps its place in the list.
        let signals = self.signals.as_fd();
        let monitor = self.porter.gate.monitor().map(Monitor::descriptor);
        let fixed = [
            signals,
            self.links.as_fd(),
            firewall.unwrap_or(signals),
            connections.unwrap_or(signals),
            monitor.unwrap_or(signals),
        ];
        fds.extend(fixed.map(polled));
        let server = self.porter.audience.server();
        fds.extend(self.devices.descriptors().map(polled));
        fds.extend(server.into_iter().flat_map(Server::descriptors).map(polled));
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            // If this wakes too early, the loop only sleeps again.
            let ms = deadline.since(now()).as_millis();
            PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => {
                // Only a lack of memory can cause this. A pause keeps the loop from running at full speed.
                error!("poll: {}", io::Error::from(errno));
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        let (fixed, rest) = fds.split_at(5);
        Ready {
            signals: ready(&fixed[0]),
            links: ready(&fixed[1]),
            firewall: firewall.is_some() && ready(&fixed[2]),
            connections: connections.is_some() && ready(&fixed[3]),
            packets: rest.iter().take(self.devices.descriptors().count()).any(ready),
        }
    }
}

/// An entry for `poll` that waits for input.
pub(super) fn polled(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}

/// Blocks the signals, and returns a descriptor that delivers them.
pub(super) fn block_signals() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGHUP, Signal::SIGCHLD] {
        mask.add(signal);
    }
    mask.thread_block()?;
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}
