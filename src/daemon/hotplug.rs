//! The scripts of /etc/hotplug.d/ketuk, run when a door opens or shuts, as OpenWrt runs those of its own events.
//!
//! They get ACTION (`open` or `close`), DOOR, USER (empty if nobody proved who he is), ADDRESS and SECONDS (until it
//! shuts; empty for until it is shut) in their environment. One event after the other, apart from the doors' own
//! commands: a script that hangs holds up other scripts, never a door.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use heapless::Deque;
use log::{debug, warn};

use crate::core::time::Instant;
use crate::linux::process::{self, Child};

/// Where the scripts are.
const FOLDER: &str = "/etc/hotplug.d/ketuk";

/// Most events that wait. Doors open [some fifty times a second](super::gate) at most; who knows a sequence and
/// forges addresses must not fill the memory.
const MAX_WAITING: usize = 128;

/// How long all scripts together may take for one event.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// What OpenWrt's `hotplug-call` does: each script in a shell of its own, in the order of their names.
const CALL: &str = r#"export ACTION="$1" DOOR="$2" USER="$3" ADDRESS="$4" SECONDS="$5"
for script in /etc/hotplug.d/ketuk/*; do [ -f "$script" ] && ( . "$script" ); done"#;

/// The events that wait, and the one whose scripts run.
#[derive(Debug, Default)]
pub struct Hotplug {
    waiting: Deque<Vec<String>, MAX_WAITING>,
    /// Without a deadline they have been killed, and end as soon as the kernel lets them.
    running: Option<(Child, Option<Instant>)>,
    /// Events have been left out, and that has been said.
    complained: bool,
}

impl Hotplug {
    /// A door opened or shut, if `event` is one of the two; other events have no scripts.
    pub fn call(
        &mut self,
        now: Instant,
        event: &str,
        (door, address): (&str, IpAddr),
        seconds: Option<u64>,
        user: Option<&str>,
    ) {
        let has_scripts = || fs::read_dir(FOLDER).is_ok_and(|mut scripts| scripts.next().is_some());
        if !matches!(event, "open" | "close") || !has_scripts() {
            return;
        }
        let seconds = seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
        let address = address.to_string();
        let words =
            ["/bin/sh", "-c", CALL, "ketuk", event, door, user.unwrap_or_default(), &address, &seconds];
        if self.waiting.push_back(words.map(str::to_owned).to_vec()).is_err() {
            if !std::mem::replace(&mut self.complained, true) {
                warn!("{FOLDER}: scripts are too slow, events are left out");
            }
            return;
        }
        self.tend(now);
    }

    /// Looks after the scripts that run, and starts those of the next event. To be called on SIGCHLD and at
    /// [`Self::next_deadline`].
    pub fn tend(&mut self, now: Instant) {
        if let Some((child, deadline)) = &mut self.running {
            match child.try_wait() {
                Ok(None) => {
                    if deadline.is_some_and(|deadline| deadline <= now) {
                        warn!("{FOLDER}: killed after {} s", TIME_LIMIT.as_secs());
                        child.kill_group();
                        *deadline = None;
                    }
                    return;
                }
                Ok(Some(exit)) => debug!("{FOLDER}: {exit}"),
                Err(error) => warn!("{FOLDER}: {error}"),
            }
            self.running = None;
        }
        // An event whose scripts cannot be started is lost, and must not hold up those behind it.
        while let Some(argv) = self.waiting.pop_front() {
            match process::spawn(&argv) {
                Ok(child) => {
                    self.running = Some((child, Some(now.after(TIME_LIMIT))));
                    return;
                }
                Err(error) => warn!("{FOLDER}: {error}"),
            }
        }
        self.complained = false;
    }

    /// When [`Self::tend`] must be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.running.as_ref()?.1
    }

    /// Whether scripts wait or run.
    pub fn is_busy(&self) -> bool {
        self.running.is_some() || !self.waiting.is_empty()
    }
}
