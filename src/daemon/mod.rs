//! The daemon: start-up as a list, the loop that waits, and the packet's way through it.

pub mod admission;
pub mod devices;
pub mod gate;
pub mod hotplug;
pub mod jobs;
mod leaving;
mod names;
pub mod one_time;
pub mod porter;
mod reload;
pub mod run;
mod sessions;
pub mod slots;
pub mod start;
pub mod status;
mod systemd;
pub mod users;
mod wait;
pub mod wall;
pub mod wanted;
