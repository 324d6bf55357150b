//! A folder with a configuration and a socket, where the plugin is called.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

/// A configuration with one door.
pub(crate) const DOOR: &str = "config globals 'globals'\n\toption enabled '1'\n\nconfig door 'ssh'\n\tlist sequence '7000'\n\toption dest_port '22'\n";

/// A directory for one test, with a configuration in it.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ketuk-rpcd-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("rpcd")).unwrap();
        fs::write(path.join("config"), DOOR).unwrap();
        Self(path)
    }

    pub(crate) fn call(&self, method: &str, input: &[u8]) -> Output {
        let (config, socket) = (self.0.join("config"), self.0.join("socket"));
        let options = ["--config", config.to_str().unwrap(), "--socket", socket.to_str().unwrap()];
        plugin(Path::new(env!("CARGO_BIN_EXE_ketukd")), &["rpcd", "call", method], &options, input)
    }

    /// The answer to a call, which must be one JSON object on one line.
    pub(crate) fn answer(&self, method: &str, input: impl AsRef<[u8]>) -> String {
        let output = self.call(method, input.as_ref());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{method}: {:?}, {text}", output.status);
        assert!(output.stderr.is_empty(), "{method}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(
            text.starts_with('{') && text.ends_with("}\n") && text.lines().count() == 1,
            "{method}: {text}"
        );
        text
    }

    /// A stand-in for the daemon. It answers one request with these lines, and returns the request.
    pub(crate) fn daemon(&self, lines: &'static str) -> mpsc::Receiver<String> {
        let _ = fs::remove_file(self.0.join("socket"));
        let listener = UnixListener::bind(self.0.join("socket")).unwrap();
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut request).unwrap();
            stream.write_all(lines.as_bytes()).unwrap();
            sender.send(request).unwrap();
        });
        requests
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `program` as rpcd does.
pub(crate) fn plugin(program: &Path, arguments: &[&str], options: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A plugin that has read enough may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}
