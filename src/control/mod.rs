//! The Unix socket through which `ketukd status` and other commands speak to the daemon.
//!
//! Each connection carries one request: a line of JSON. Each line of the answer is a word and a JSON value, such as
//! `grant {"door":"ssh","address":"192.0.2.1",...}`. The last line is `ok null` or `error {"code":1,"message":"..."}`. The
//! answer to `watch` begins with `watching null` and has no last line.
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

/// The socket's path if `ketukd run` has no `--socket`.
pub const DEFAULT_SOCKET: &str = "/var/run/ketuk.sock";

/// The paths at which the packages place the socket, in the order in which commands try them.
pub const SOCKETS: [&str; 2] = ["/run/ketuk/ketuk.sock", DEFAULT_SOCKET];

/// If this group exists, its members may speak to the daemon. Root always may.
pub const GROUP: &str = "ketuk";
