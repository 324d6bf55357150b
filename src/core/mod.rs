//! The part that decides: packets in, verdicts out.
//!
//! Nothing here opens a socket, reads a clock, allocates or needs an operating system: `now` is an
//! argument and a decision is a value of fixed size. That is what lets the same code run in the
//! daemon, under a fuzzer, and in a test that plays a day of traffic in a second.
#![forbid(unsafe_code)]
#![deny(clippy::std_instead_of_core, clippy::std_instead_of_alloc, clippy::alloc_instead_of_core)]

pub mod door;
pub mod packet;
pub mod sequence;
pub mod time;
