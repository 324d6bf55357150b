//! ketuk: port knocking for routers.
//!
//! # The packet's way
//! ```text
//!  linux::capture      AF_PACKET sockets; linux::filter keeps everything but knocks in the kernel
//!    -> core::packet   turns bytes into a Probe, or gives the reason why not
//!    -> core::engine   turns a Probe into verdicts: the progress of this source at each door
//!    -> core::access   decides: opens, shuts or refuses
//!    -> firewall       adds an element to an nftables set, or runs iptables or commands
//! ```
//! One function of [`daemon`] goes this way: `on_packet`. Other modules are not on the way of a packet: [`config`] (typed
//! values from UCI text), [`import`] (configurations of other programs), [`control`] (the Unix socket), [`log`], and the
//! [`client`].

#[cfg(target_os = "linux")]
pub use ketuk_core as core;
pub use ketuk_protocol as protocol;

pub mod client;
pub mod profile;

#[cfg(target_os = "linux")]
pub mod cli;
#[cfg(target_os = "linux")]
pub mod config;
#[cfg(target_os = "linux")]
pub mod control;
#[cfg(target_os = "linux")]
pub mod daemon;
#[cfg(target_os = "linux")]
pub mod firewall;
#[cfg(all(target_os = "linux", feature = "import"))]
pub mod import;
#[cfg(target_os = "linux")]
pub mod linux;
#[cfg(target_os = "linux")]
pub mod log;
