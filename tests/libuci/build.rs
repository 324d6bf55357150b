//! Compiles libuci from the C files in the crate `libuci-sys`. It needs only a C compiler.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// libuci's files without blob.c, which needs libubox and is not called here.
const FILES: [&str; 5] = ["libuci.c", "file.c", "util.c", "delta.c", "parse.c"];

fn main() {
    let source = source().join("uci");
    // libuci's build makes this file from uci_config.h.in. The crate has one too, but it is for another machine.
    let made = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR"));
    fs::write(made.join("uci_config.h"), "").expect("OUT_DIR can be written");
    cc::Build::new()
        .include(made)
        .include(&source)
        .files(FILES.map(|file| source.join(file)))
        .std("gnu99")
        .define("UCI_PREFIX", "\"/usr\"")
        .warnings(false)
        .compile("uci");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=Cargo.lock");
}

/// The folder in which Cargo keeps the crate. Cargo downloads the crate if it is missing.
fn source() -> PathBuf {
    let cargo = env::var_os("CARGO").expect("Cargo sets CARGO");
    let target = env::var("TARGET").expect("Cargo sets TARGET");
    let arguments =
        ["metadata", "--format-version=1", "--locked", "--features=source", "--filter-platform", &target];
    let output = Command::new(cargo).args(arguments).output().expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("Cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("Cargo lists packages");
    let found =
        packages.iter().find(|package| package["name"] == "libuci-sys").expect("a dependency is listed");
    let mut path = PathBuf::from(found["manifest_path"].as_str().expect("every package has a manifest"));
    path.pop();
    path
}
