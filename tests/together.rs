//! Test files that mostly wait, in one program: so they wait side by side. Each can also be run alone, for example by
//! `cargo test --test users`.
#![expect(clippy::duplicate_mod, reason = "each file has `support` as a module, as when it is run alone")]

#[path = "conformance/main.rs"]
mod conformance;
#[path = "field/main.rs"]
mod field;
#[path = "firewalls.rs"]
mod firewalls;
#[path = "own_chain/main.rs"]
mod own_chain;
#[path = "tutorial.rs"]
mod tutorial;
#[path = "users/main.rs"]
mod users;
