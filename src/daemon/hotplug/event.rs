//! The events that scripts are called for, and the scripts.

use std::fs;
use std::time::Duration;

use crate::core::passage::Passage;

/// The folder of the scripts.
pub(in crate::daemon) const FOLDER: &str = "/etc/hotplug.d/ketuk";

/// Does the same as OpenWrt's `hotplug-call`: runs each script in a shell of its own, in the order of their names.
const CALL: &str = r#"export ACTION="$1" DOOR="$2" USER="$3" ADDRESS="$4" SECONDS="$5" PORT="$6"
for script in /etc/hotplug.d/ketuk/*; do [ -f "$script" ] && ( . "$script" ); done"#;

/// The event that the scripts are called for.
#[derive(Clone, Copy, Debug)]
pub struct HotplugEvent<'a> {
    /// Whether the door opens; otherwise it shuts.
    pub(crate) is_open: bool,
    /// The door's name.
    pub(crate) door: &'a str,
    /// The address that was let in or shut out, and its port at a door with `any_port`.
    pub(crate) passage: Passage,
    /// The time until it shuts; `None` means until somebody shuts it.
    pub(crate) left: Option<Duration>,
    /// The user, if the knock proved one.
    pub(crate) user: Option<&'a str>,
}

/// Whether there are scripts.
pub fn has_scripts() -> bool {
    fs::read_dir(FOLDER).is_ok_and(|mut scripts| scripts.next().is_some())
}

impl HotplugEvent<'_> {
    /// The program that runs the scripts, and its arguments.
    pub(in crate::daemon) fn argv(&self) -> Vec<String> {
        let action = if self.is_open { "open" } else { "close" };
        let seconds = self.left.map(|left| left.as_secs().to_string()).unwrap_or_default();
        let address = self.passage.address.to_string();
        let port = self.passage.port.map(|port| port.to_string()).unwrap_or_default();
        let user = self.user.unwrap_or_default();
        let words = ["/bin/sh", "-c", CALL, "ketuk", action, self.door, user, &address, &seconds, &port];
        words.map(str::to_owned).to_vec()
    }
}
