//! The daemon: start-up as a list, the loop that waits, and the packet's way through it.

mod audience;
mod clock_trust;
mod clocks;
mod device_names;
pub mod devices;
mod gate;
pub mod hotplug;
pub mod household;
pub mod jobs;
mod look;
pub mod one_time;
mod opening;
mod packets;
mod porter;
pub(crate) mod reload;
mod requests;
mod restore;
pub mod run;
pub mod slots;
pub mod start;
mod state;
mod status;
mod systemd;
pub mod users;
mod wait;
mod watch;
