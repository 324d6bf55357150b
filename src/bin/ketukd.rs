//! The daemon and its command line: see the library.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    ketuk::cli::main(std::env::args())
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("ketukd runs on Linux only; the client, ketuk, runs here");
    std::process::ExitCode::FAILURE
}
