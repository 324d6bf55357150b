//! How a decision to open a door becomes rules, set elements or commands.

pub mod commands;
pub mod iptables;
