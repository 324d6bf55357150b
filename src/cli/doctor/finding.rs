//! The doctor's findings, for people and for programs.

use std::io;

use serde::Serialize;

/// The result of looking at one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing is wrong.
    Fine,
    /// Something is wrong.
    Wrong {
        /// The fault.
        what: String,
        /// The advice; empty if the fault says it already.
        advice: String,
    },
    /// It could not be looked at.
    NotKnown {
        /// The reason.
        what: String,
        /// The advice; empty if the reason says it already.
        advice: String,
    },
}

impl Finding {
    pub(super) fn wrong(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Wrong { what: what.into(), advice: advice.into() }
    }

    pub(super) fn not_known(why: impl Into<String>) -> Self {
        Self::NotKnown { what: why.into(), advice: String::new() }
    }

    /// The finding if `what` cannot be read.
    pub(super) fn unreadable(what: &str, error: &io::Error) -> Self {
        Self::not_known(match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                format!("{what} cannot be read without privilege: run it as root")
            }
            _ => format!("{what} cannot be read: {error}"),
        })
    }

    /// The word for programs.
    const fn state(&self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Wrong { .. } => "wrong",
            Self::NotKnown { .. } => "not_known",
        }
    }

    /// The fault or the reason.
    fn text(&self) -> &str {
        match self {
            Self::Fine => "",
            Self::Wrong { what, .. } | Self::NotKnown { what, .. } => what,
        }
    }

    fn advice(&self) -> &str {
        match self {
            Self::Fine => "",
            Self::Wrong { advice, .. } | Self::NotKnown { advice, .. } => advice,
        }
    }
}

/// A point that was looked at. It has at least one finding.
#[derive(Clone, Debug)]
pub(super) struct Point {
    name: &'static str,
    findings: Vec<Finding>,
}

impl Point {
    /// A point with its findings; none means that it is fine.
    pub(super) fn new(name: &'static str, mut findings: Vec<Finding>) -> Self {
        if findings.is_empty() {
            findings.push(Finding::Fine);
        }
        Self { name, findings }
    }

    /// Whether anything is wrong.
    pub(super) fn is_wrong(&self) -> bool {
        self.findings.iter().any(|finding| matches!(finding, Finding::Wrong { .. }))
    }

    /// A line for each finding. A fault of several lines, such as one of the configuration with its caret, begins on a
    /// line of its own.
    pub(super) fn text(&self) -> String {
        let (name, findings) = (self.name.replace('_', " "), &self.findings);
        let line = |finding: &Finding| {
            let (text, advice) = (finding.text(), finding.advice());
            let state = match finding {
                Finding::Fine => return format!("{name}: fine\n"),
                Finding::Wrong { .. } => "WRONG",
                Finding::NotKnown { .. } => "not known",
            };
            let before = if text.contains('\n') { '\n' } else { ' ' };
            format!("{name}: {state}:{before}{text}{}{advice}\n", if advice.is_empty() { "" } else { ": " })
        };
        findings.iter().map(line).collect()
    }

    /// A JSON object for each finding, with commas between them.
    pub(super) fn json(&self) -> String {
        let objects = self.findings.iter().map(|finding| {
            let row = Row {
                point: self.name,
                state: finding.state(),
                text: finding.text(),
                advice: finding.advice(),
            };
            // JSON takes up to six bytes for one byte of a string. The 128 bytes are for the rest.
            let mut buffer = vec![0; 128 + 6 * (row.text.len() + row.advice.len())];
            let len = serde_json_core::to_slice(&row, &mut buffer).expect("it has room");
            buffer.truncate(len);
            String::from_utf8(buffer).expect("JSON is UTF-8")
        });
        objects.collect::<Vec<_>>().join(",")
    }
}

/// A finding for programs.
#[derive(Debug, Serialize)]
struct Row<'a> {
    /// The point's name, which stays the same.
    point: &'a str,
    /// `fine`, `wrong` or `not_known`.
    state: &'a str,
    /// The fault, or the reason why nothing is known.
    text: &'a str,
    /// The advice.
    advice: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_line_and_an_object() {
        let point = Point::new(
            "devices",
            vec![Finding::wrong("'wan0' is down", "set it up"), Finding::not_known("no \"rights\"")],
        );
        assert!(point.is_wrong());
        assert_eq!(
            point.text(),
            "devices: WRONG: 'wan0' is down: set it up\ndevices: not known: no \"rights\"\n"
        );
        assert_eq!(
            point.json(),
            concat!(
                r#"{"point":"devices","state":"wrong","text":"'wan0' is down","advice":"set it up"},"#,
                r#"{"point":"devices","state":"not_known","text":"no \"rights\"","advice":""}"#
            )
        );
        let fine = Point::new("clock", Vec::new());
        assert_eq!((fine.is_wrong(), fine.text().as_str()), (false, "clock: fine\n"));
        let caret = Point::new("configuration", vec![Finding::wrong("ketuk:1:2: bad\n  1 | x", "")]);
        assert_eq!(caret.text(), "configuration: WRONG:\nketuk:1:2: bad\n  1 | x\n");
    }

    #[test]
    fn what_may_not_be_read_is_no_fault() {
        let said = |errno| Finding::unreadable("the rules", &io::Error::from_raw_os_error(errno));
        assert_eq!(
            said(libc::EPERM),
            Finding::not_known("the rules cannot be read without privilege: run it as root")
        );
        assert!(matches!(said(libc::EPROTONOSUPPORT), Finding::NotKnown { .. }));
    }
}
