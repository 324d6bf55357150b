//! The limit of the log file.

use super::*;
use std::sync::Arc;

/// Keeps the lines.
struct Kept(Arc<Mutex<Vec<String>>>);

impl Courier for Kept {
    fn carry(&mut self, line: &str) -> io::Result<()> {
        self.0.lock().expect("one thread").push(line.to_owned());
        Ok(())
    }
}

#[test]
fn the_lines_of_a_file_are_bounded_and_it_says_how_many_were_left_out() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let way = LogSink::Courier(Box::new(Kept(Arc::clone(&lines))));
    let file = Some(LogFile { path: "/nowhere".into(), way, complained: false });
    let limit = Some(Limit::new(1, 10));
    let syslog = Syslog::Lost(Instant::from_millis(0));
    let mut sinks = Sinks { stderr: Stderr::Shown, syslog, file, limit };
    for number in 0..20 {
        sinks.write_file(&number.to_string());
    }
    assert_eq!(lines.lock().expect("one thread").len(), 10);
    // As if a second had passed.
    sinks.limit.as_mut().expect("a limit").allow(clock::now().after(std::time::Duration::from_secs(2)));
    sinks.write_file("last");
    let lines = lines.lock().expect("one thread");
    assert_eq!(lines[10..], ["10 lines were left out", "last"]);
}
