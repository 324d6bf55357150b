//! The edge to the kernel, and the only place with `unsafe`.

pub mod process;
