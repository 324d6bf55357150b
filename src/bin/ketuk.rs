//! The client that knocks: see the library's `client`.

fn main() -> std::process::ExitCode {
    ketuk::client::main(std::env::args_os().skip(1))
}
