//! Stage five of the packet's way: changes the kernel's firewall when a door opens or shuts.
#![forbid(unsafe_code)]

pub mod absent;
pub mod backend;
pub mod commands;
pub mod conntrack;
pub mod error;
pub mod events;
pub mod exposure;
pub mod flows;
pub mod fw4;
pub mod iptables;
pub mod listeners;
pub mod loaded;
pub mod nft;
pub mod own;
pub mod own_chain;
pub mod ruleset;
pub mod set_name;
pub mod sets;
pub mod sweep;
pub mod through;
