//! The edge to the kernel: system calls that neither `std` nor `nix` offers. The only `unsafe` of the project is here,
//! in small functions with safe signatures.

pub mod bpf;
pub mod capture;
pub mod cerr;
pub mod clock;
pub mod filter;
pub mod handover;
pub mod landlock;
pub mod line_reader;
pub mod links;
pub mod memory;
pub mod netlink;
pub mod output;
pub mod peer;
pub mod printed;
pub mod privileges;
pub mod process;
pub mod seccomp;
mod socket;
pub mod unix_sockets;
pub mod upper;
pub mod xtables;
