//! Errors in a configuration, shown at their place in the file.

use std::str::Utf8Chunk;
use std::{error, fmt, io};

use super::MAX_FILE;
use super::secret;
use super::uci::{Span, SyntaxError};

/// Longest piece of a line that is shown, in characters. Errors go to syslog too.
const MAX_SHOWN: usize = 120;

/// Longest piece of the file that a message repeats, in characters.
const MAX_QUOTED: usize = 40;

/// Why a configuration is refused. Nothing of the file takes effect.
#[derive(Debug)]
pub enum Error {
    /// The file cannot be read.
    Read {
        /// The file.
        file: String,
        /// The system's error.
        cause: io::Error,
    },
    /// The file is larger than [`MAX_FILE`].
    TooLarge {
        /// The file.
        file: String,
    },
    /// Something in the file is wrong.
    Wrong(Box<Diagnostic>),
}

/// A fault in the file. Printed, it is several lines: the place and the fault, the line, a caret
/// under the fault, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file.
    file: String,
    /// The line, from 1.
    line: usize,
    /// The column, from 1, in characters. A tab is one.
    column: usize,
    /// The fault.
    message: String,
    /// The advice, unless it is obvious.
    help: Option<String>,
    /// The line, or the part around the fault, without control characters.
    source: String,
    /// Characters of `source` before the caret.
    before_caret: usize,
    /// Characters of `source` that carets stand under.
    under_carets: usize,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { file, cause } if cause.kind() == io::ErrorKind::NotFound => {
                write!(f, "there is no configuration {file}: write it, or name another with --config FILE")
            }
            Self::Read { file, cause } => write!(f, "cannot read {file}: {cause}"),
            Self::TooLarge { file } => {
                write!(f, "{file}: larger than {} KiB, the most a configuration may have", MAX_FILE / 1024)
            }
            Self::Wrong(diagnostic) => diagnostic.fmt(f),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Read { cause, .. } => Some(cause),
            Self::TooLarge { .. } | Self::Wrong(_) => None,
        }
    }
}

impl Diagnostic {
    /// The line, from 1.
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The column, from 1, in characters. A tab is one.
    pub const fn column(&self) -> usize {
        self.column
    }

    /// The fault, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The first line of the printed error, for a log: `file:line:column: message`.
    pub fn summary(&self) -> String {
        format!("{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, under) = (self.before_caret, self.under_carets);
        // Tabs are kept, so that the caret is at the right place whatever their width.
        let indent = self.source.chars().take(before).map(|c| if c == '\t' { c } else { ' ' });
        writeln!(f, "{}", self.summary())?;
        writeln!(f, "{:>5} | {}", self.line, self.source)?;
        write!(f, "      | {}^{}", indent.collect::<String>(), "~".repeat(under.saturating_sub(1)))?;
        if let Some(help) = &self.help {
            write!(f, "\n      = {help}")?;
        }
        Ok(())
    }
}

/// A fault with its range of bytes. Its line is found later.
///
/// It is one pointer. Every reader of an option returns either a fault or a value, and each return copies the larger of the
/// two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault(Box<FaultDetails>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct FaultDetails {
    span: Span,
    message: String,
    help: Option<String>,
}

impl Fault {
    /// A fault at `span`.
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Self(Box::new(FaultDetails { span, message: message.into(), help: None }))
    }

    /// Adds what to do about it.
    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// The error for a fault in `text`, the content of `file`.
    pub(super) fn into_error(self, file: &str, text: &[u8]) -> Error {
        let FaultDetails { span, message, help } = *self.0;
        // For a fault after the last newline the last line is shown.
        let start = span.start.min(text.len());
        let line_start = text[..start].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let line_end =
            text[start..].iter().position(|&byte| byte == b'\n').map_or(text.len(), |at| start + at);
        let end = span.end.clamp(start, line_end);
        let column = characters(&text[line_start..start]) + 1;

        // A secret is not shown. The caret stands under its replacement.
        let shown_end = line_start + secret::shown(&text[..line_start], &text[line_start..line_end]);
        let (shown_start, under_end) = (start.min(shown_end), end.min(shown_end));
        let before = printable(&text[line_start..shown_start]);
        let mut under = printable(&text[shown_start..under_end]);
        let mut after = printable(&text[under_end..shown_end]);
        if shown_end < line_end {
            let hidden = if start < shown_end { &mut after } else { &mut under };
            hidden.push_str(secret::HIDDEN);
        }
        let caret_column = before.chars().count() + 1;

        // Only the part of a long line around the fault is shown.
        let whole = [before, under.clone(), after].concat();
        let skip = match whole.chars().count() {
            0..=MAX_SHOWN => 0,
            _ => (caret_column - 1).saturating_sub(MAX_SHOWN / 2),
        };
        let source = whole.chars().skip(skip).take(MAX_SHOWN).collect();
        let before = caret_column - 1 - skip;
        let under = under.chars().count().clamp(1, MAX_SHOWN - before);

        Error::Wrong(Box::new(Diagnostic {
            file: file.to_owned(),
            line: text[..line_start].split(|&byte| byte == b'\n').count(),
            column,
            message,
            help,
            source,
            before_caret: before,
            under_carets: under,
        }))
    }
}

impl From<SyntaxError> for Fault {
    fn from(refusal: SyntaxError) -> Self {
        use super::uci::SyntaxFault;
        let fault = Self::new(refusal.span, refusal.reason.to_string());
        match refusal.reason {
            SyntaxFault::TooManyArguments => fault.help("put quotes around a value that has spaces in it"),
            SyntaxFault::UnknownCommand => fault.help("a comment begins with #"),
            _ => fault,
        }
    }
}

/// A piece of the file in quotes for a message: short, and on one line.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let text = printable(bytes);
    let mut short: String = text.chars().take(MAX_QUOTED).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("'{short}'")
}

/// Bytes as text of one line without control characters but tabs.
fn printable(bytes: &[u8]) -> String {
    let replace = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(bytes)).chars().map(replace).collect()
}

/// The number of characters of [`printable`]. The bytes may be a secret, of which no copy is made.
fn characters(bytes: &[u8]) -> usize {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let count =
        |chunk: Utf8Chunk<'_>| chunk.valid().chars().count() + usize::from(!chunk.invalid().is_empty());
    bytes.utf8_chunks().map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_those_that_are_printed() {
        for bytes in
            ["", "a\r", "a\r\r", "\té\u{7}x"].map(str::as_bytes).into_iter().chain([&b"a\xffb\xc3"[..]])
        {
            assert_eq!(characters(bytes), printable(bytes).chars().count(), "{bytes:?}");
        }
    }

    fn show(text: &str, start: usize, end: usize, help: Option<&str>) -> String {
        let mut fault = Fault::new(Span { start, end }, "it is wrong");
        fault.0.help = help.map(str::to_owned);
        fault.into_error("f", text.as_bytes()).to_string()
    }

    #[test]
    fn the_caret_stands_under_the_fault() {
        let text = "config door 'a'\n\toption x 'y'\n";
        assert_eq!(
            show(text, 24, 25, Some("do this")),
            "f:2:9: it is wrong\n    2 | \toption x 'y'\n      | \t       ^\n      = do this"
        );
        assert_eq!(
            show(text, 7, 11, None),
            "f:1:8: it is wrong\n    1 | config door 'a'\n      |        ^~~~"
        );
    }

    #[test]
    fn columns_are_characters() {
        assert_eq!(show("é' x\n", 4, 5, None), "f:1:4: it is wrong\n    1 | é' x\n      |    ^");
    }

    #[test]
    fn a_fault_over_several_lines_is_marked_on_the_first() {
        assert_eq!(show("a 'b\nc'\n", 2, 7, None), "f:1:3: it is wrong\n    1 | a 'b\n      |   ^~");
    }

    #[test]
    fn the_end_of_the_text_is_a_place() {
        assert_eq!(show("", 0, 0, None), "f:1:1: it is wrong\n    1 | \n      | ^");
        assert_eq!(show("a\n", 2, 2, None), "f:2:1: it is wrong\n    2 | \n      | ^");
    }

    #[test]
    fn a_terminal_is_safe() {
        assert_eq!(show("a\x1b[2J\r\n", 1, 2, None), "f:1:2: it is wrong\n    1 | a\u{fffd}[2J\n      |  ^");
        assert_eq!(quoted(b"a\nb"), "'a\u{fffd}b'");
    }

    #[test]
    fn long_lines_are_cut_around_the_fault() {
        let text = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let shown = show(&text, 500, 501, None);
        let expected = format!(
            "f:1:501: it is wrong\n    1 | {}X{}\n      | {}^",
            "a".repeat(60),
            "b".repeat(59),
            " ".repeat(60)
        );
        assert_eq!(shown, expected);
        assert_eq!(quoted("é".repeat(99).as_bytes()), format!("'{}...'", "é".repeat(40)));
    }
}
