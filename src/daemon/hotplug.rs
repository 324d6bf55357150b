//! Runs the scripts of /etc/hotplug.d/ketuk when a door opens or shuts, as OpenWrt does for its own events.
//!
//! The scripts get ACTION (`open` or `close`), DOOR, USER (empty without a user), ADDRESS, SECONDS (until the door
//! shuts; empty if it has no end) and PORT (of a door with `any_port`) in their environment. The scripts of one event run
//! before those of the next, apart from the doors' own commands. A script that hangs holds up other scripts, never a door.

pub mod event;

use std::time::Duration;

use heapless::Deque;
use log::{debug, warn};

use self::event::{FOLDER, HotplugEvent, has_scripts};
use super::jobs::Running as _;
use super::monitor::{Caller, RemoteProgram, ScriptCall};
use crate::core::time::Instant;

/// The most events that wait. An attacker who knows a sequence and forges addresses must not fill the memory.
const MAX_WAITING: usize = 128;

/// The time limit for all scripts of one event together.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The events that wait, and the event whose scripts run.
#[derive(Debug, Default)]
pub struct Hotplug {
    waiting: Deque<ScriptCall, MAX_WAITING>,
    /// The scripts that run, and their deadline. `None` as deadline means that they have been killed and have not
    /// ended yet.
    running: Option<(RemoteProgram, Option<Instant>)>,
    /// Whether the log says already that events were dropped.
    complained: bool,
    /// The way to the monitor; `None` if there is none, since there were no scripts when the daemon started.
    caller: Option<Caller>,
}

impl Hotplug {
    /// Lets the monitor run the scripts.
    pub(super) fn set_caller(&mut self, caller: Option<Caller>) {
        self.caller = caller;
    }

    /// Queues the scripts for a door that opened or shut.
    pub fn call(&mut self, now: Instant, event: &HotplugEvent<'_>) {
        if !has_scripts() {
            return;
        }
        let Some(caller) = &self.caller else {
            if !std::mem::replace(&mut self.complained, true) {
                warn!("{FOLDER}: the folder was empty when ketukd started: its scripts run after a restart");
            }
            return;
        };
        let Some(call) = caller.about(event) else { return };
        if self.waiting.push_back(call).is_err() {
            if !std::mem::replace(&mut self.complained, true) {
                warn!("{FOLDER}: scripts are too slow, events are left out");
            }
            return;
        }
        self.tend(now);
    }

    /// Checks the running scripts, and starts those of the next event. Call it on SIGCHLD and at
    /// [`Self::next_deadline`].
    pub fn tend(&mut self, now: Instant) {
        if let Some((child, deadline)) = &mut self.running {
            match child.try_wait() {
                Ok(None) => {
                    if deadline.is_some_and(|deadline| deadline <= now) {
                        warn!("{FOLDER}: killed after {} s", TIME_LIMIT.as_secs());
                        child.kill();
                        *deadline = None;
                    }
                    return;
                }
                Ok(Some(exit)) => debug!("{FOLDER}: {exit}"),
                Err(error) => warn!("{FOLDER}: {error}"),
            }
            self.running = None;
        }
        // An event whose scripts cannot be started is dropped. It must not hold up the events behind it.
        while let (Some(caller), Some(call)) = (&self.caller, self.waiting.pop_front()) {
            match caller.spawn(call) {
                Ok(child) => {
                    self.running = Some((child, Some(now.after(TIME_LIMIT))));
                    return;
                }
                Err(error) => warn!("{FOLDER}: {error}"),
            }
        }
        // A daemon that starts no scripts logs it once.
        self.complained &= self.caller.is_none();
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn scripts_that_run_too_long_are_killed_and_waited_for() {
        let (caller, _monitor) = Caller::to_nobody();
        let passage = IpAddr::from([192, 0, 2, 1]).into();
        let event = HotplugEvent { is_open: true, door: "a", passage, left: None, user: None };
        let call = caller.about(&event).expect("a known door");
        let mut hotplug = Hotplug { caller: Some(caller), ..Hotplug::default() };
        let state = |hotplug: &Hotplug| (hotplug.is_busy(), hotplug.next_deadline());
        assert_eq!(state(&hotplug), (false, None));
        hotplug.waiting.push_back(call).expect("room");
        assert_eq!(state(&hotplug), (true, None), "an event waits");
        let now = Instant::from_millis(1000);
        let deadline = now.after(TIME_LIMIT);
        hotplug.tend(now);
        assert_eq!(state(&hotplug), (true, Some(deadline)));
        hotplug.tend(deadline);
        assert_eq!(state(&hotplug), (true, None), "killed, and not ended yet");
    }
}
