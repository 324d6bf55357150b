//! The daemon.

pub mod jobs;
pub mod sweep;
