//! ketuk: port knocking for routers.
//!
//! # The packet's way
//! ```text
//!  linux::capture      AF_PACKET sockets; linux::filter keeps everything but knocks in the kernel
//!    -> core::packet   bytes to a Probe, or a reason why not
//!    -> core::engine   a Probe to verdicts: how far this source is at each door
//!    -> core::grants   who is in, until when
//!    -> firewall       an element in an nftables set, or iptables and commands
//! ```
//! [`daemon`] goes this way in one function, `on_packet`. Other modules are not on the way of a packet: [`config`] (UCI text to
//! typed values), [`import`] (configurations of other programs), [`control`] (the Unix socket), [`log`], and the
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
