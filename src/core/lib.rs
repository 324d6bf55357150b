//! The core: it judges packets, and decides which doors open.
//!
//! Nothing here opens a socket, reads a clock, allocates or needs an operating system: `now` is an argument, and a decision
//! is a value of fixed size. So the same code runs in the daemon, under a fuzzer, and in a test that plays a day of traffic
//! in a second.
//!
//! The packet's order is the order to read in: [`packet`], [`engine`] (with [`ports`] and [`attempts`]) or, for users'
//! knocks, [`auth`] (with [`tags`], [`totp_knocks`] and [`replay`]), and then [`access`] (with [`grants`]).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod access;
pub mod address_ranges;
pub mod attempt;
pub mod attempts;
pub mod auth;
pub mod counters;
pub mod door;
pub mod doorkeeper;
pub mod engine;
pub mod event;
#[cfg(feature = "fwknop")]
pub mod failures;
pub mod fifo_table;
pub mod first_knock;
pub mod first_knocks;
pub mod flow;
pub mod grants;
pub mod hash_index;
pub mod hours;
pub mod limit;
mod listening;
pub mod moment;
pub mod network;
pub mod packet;
pub mod passage;
pub mod place;
pub mod ports;
pub mod reason;
pub mod recent;
pub mod replay;
pub mod sequence;
pub mod session;
pub mod tags;
#[cfg(test)]
pub(crate) mod testing;
pub mod time;
pub mod totp_knocks;
pub mod user;
mod verdict;
pub mod weakness;
