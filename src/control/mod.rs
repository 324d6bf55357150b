//! The Unix socket through which `ketukd status` and other commands speak to the daemon.
//!
//! One connection, one request: a line of JSON. The answer is lines, each a word and a JSON value:
//! `grant {"door":"ssh","address":"192.0.2.1",...}`. The last is `ok null` or `error {"code":1,"message":"..."}`;
//! after `watch` the first is `watching null`, and there is no last line.
#![forbid(unsafe_code)]

pub mod client;
mod fields;
mod group;
pub mod message;
pub mod row;
pub mod server;
pub mod show;

/// The first word of the answer to `watch`: from now on every knock is told.
pub const WATCHING: &str = "watching";

/// Where `ketukd run` makes the socket unless `--socket` says otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/ketuk.sock";

/// The paths at which the packages place the socket, in the order in which commands try them.
pub const SOCKETS: [&str; 2] = ["/run/ketuk/ketuk.sock", DEFAULT_SOCKET];

/// If this group exists, its members may speak to the daemon. Root always may.
pub const GROUP: &str = "ketuk";
