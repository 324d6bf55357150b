//! ketuk: port knocking for routers.
pub mod client;
#[cfg(target_os = "linux")]
pub mod config;
#[cfg(target_os = "linux")]
pub mod core;
