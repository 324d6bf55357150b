//! The edge to the kernel: what neither `std` nor `nix` offers. The only `unsafe` of the project is here,
//! in small functions with safe signatures.

pub mod bpf;
pub mod capture;
pub mod cerr;
pub mod clock;
pub mod filter;
pub mod links;
pub mod netlink;
pub mod peer;
pub mod process;
mod socket;
