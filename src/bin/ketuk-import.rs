//! The program behind `ketukd import`: other programs' configuration as UCI. See the library.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    ketuk::cli::import(std::env::args())
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("ketuk-import runs on Linux only; the client, ketuk, runs here");
    std::process::ExitCode::FAILURE
}
