//! Writes UCI text. Every option is one line, so that an error's line leads back to the option.

use std::fmt::Write as _;

use super::outcome::Note;
use crate::config::{self, Error};

/// Longest comment taken from a foreign file, in characters.
const MAX_COMMENT: usize = 200;

/// A section to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewSection {
    /// Comments before it.
    pub(super) comments: Vec<String>,
    /// `globals`, `door` or `user`.
    pub(super) kind: &'static str,
    /// The section's name, of letters, digits and underscores.
    pub(super) name: String,
    /// The line of the foreign file that it came from, from 1.
    pub(super) line: usize,
    /// The options in order.
    pub(super) options: Vec<UciLine>,
    /// Whether the section is disabled, because a setting of the foreign file is not carried over.
    is_shut: bool,
}

/// A line of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UciLine {
    /// Whether the line is an entry of a list.
    pub(super) list: bool,
    /// The option's name.
    pub(super) name: &'static str,
    /// The option's value.
    pub(super) value: String,
    /// The line of the foreign file that it came from, from 1.
    pub(super) line: usize,
}

impl NewSection {
    /// A section without options.
    pub(super) fn new(kind: &'static str, name: &str, line: usize) -> Self {
        Self { comments: Vec::new(), kind, name: name.to_owned(), line, options: Vec::new(), is_shut: false }
    }

    /// Adds `option NAME 'VALUE'`.
    pub(super) fn option(&mut self, line: usize, name: &'static str, value: impl Into<String>) {
        self.options.push(UciLine { list: false, name, value: value.into(), line });
    }

    /// Adds `list NAME 'VALUE'`.
    pub(super) fn list(&mut self, line: usize, name: &'static str, value: impl Into<String>) {
        self.options.push(UciLine { list: true, name, value: value.into(), line });
    }

    /// Adds a comment before the section.
    pub(super) fn comment(&mut self, text: &str) {
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let mut comment: String = text.chars().take(MAX_COMMENT).map(printable).collect();
        if comment.len() < text.len() {
            comment.push_str("...");
        }
        self.comments.push(comment);
    }

    /// Disables the section, and says why in a comment.
    pub(super) fn shut(&mut self, why: &str) {
        self.comment(&format!("Shut, since {why}"));
        self.is_shut = true;
    }

    /// Whether the section is disabled.
    pub(super) fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// Appends the section to `out`.
    pub(super) fn write(&self, out: &mut String) {
        let mut line = |text: std::fmt::Arguments<'_>| {
            writeln!(out, "{text}").expect("a String takes everything");
        };
        for comment in &self.comments {
            line(format_args!("# {comment}"));
        }
        line(format_args!("config {} '{}'", self.kind, self.name));
        if self.is_shut {
            line(format_args!("\toption enabled '0'"));
        }
        for UciLine { list, name, value, .. } in &self.options {
            let keyword = if *list { "list" } else { "option" };
            line(format_args!("\t{keyword} {name} '{}'", value.replace('\'', r"'\''")));
        }
    }
}

/// The text of these sections. Parts that the daemon would refuse are removed and noted.
pub(super) fn settle(sections: &mut Vec<NewSection>) -> (String, Vec<Note>) {
    let mut warnings = Vec::new();
    loop {
        let mut text = String::new();
        for (n, section) in sections.iter().enumerate() {
            if n > 0 {
                text.push('\n');
            }
            section.write(&mut text);
        }
        let Err(error) = config::parse("", text.as_bytes()) else { return (text, warnings) };
        let Some((fault, line)) = refused(&error) else {
            // The text is too large, so the last door is removed.
            let Some(last) = sections.pop() else { return (String::new(), warnings) };
            warnings.push(Note { line: last.line, message: format!("{}: left out: {error}", last.name) });
            continue;
        };
        let (at, option) = place(sections, line);
        let section = &mut sections[at];
        let is_knock = |option: usize| section.options[option].name == "sequence";
        if let Some(option) = option.filter(|option| !is_knock(*option)) {
            let UciLine { name, line, .. } = section.options.remove(option);
            warnings.push(Note { line, message: format!("{name} is left out: {fault}") });
            // The removed option may have kept some people out.
            if section.kind != "globals" {
                section.shut(&format!("{name} is left out: {fault}"));
            }
        } else {
            let section = sections.remove(at);
            let line = option.map_or(section.line, |option| section.options[option].line);
            warnings.push(Note { line, message: format!("{} is left out: {fault}", section.name) });
        }
    }
}

/// The daemon's error for a text, and its line.
fn refused(error: &Error) -> Option<(String, usize)> {
    let Error::Wrong(wrong) = error else { return None };
    Some((wrong.message().to_owned(), wrong.line()))
}

/// The section of a line, and the index of its option; `None` for the section's own line.
fn place(sections: &[NewSection], line: usize) -> (usize, Option<usize>) {
    // Lines count from 1. An empty line separates sections.
    let mut left = line - 1;
    for (at, section) in sections.iter().enumerate() {
        let head = section.comments.len() + 1 + usize::from(section.is_shut);
        let len = head + section.options.len() + 1;
        if left < len {
            return (at, left.checked_sub(head));
        }
        left -= len;
    }
    (sections.len() - 1, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> NewSection {
        let mut door = NewSection::new("door", "a", 7);
        door.list(8, "sequence", "7000");
        door.option(9, "start_command", "echo 'x'");
        door
    }

    #[test]
    fn quotes_and_comments_survive() {
        let mut door = door();
        door.comment("from\ta\nb");
        let mut text = String::new();
        door.write(&mut text);
        assert_eq!(
            text,
            "# from a b\nconfig door 'a'\n\tlist sequence '7000'\n\toption start_command 'echo '\\''x'\\'''\n"
        );
        let config = config::parse("", text.as_bytes()).unwrap();
        assert_eq!(config.doors[0].commands.start.as_deref(), Some("echo 'x'"));
    }

    #[test]
    fn what_is_refused_is_taken_out() {
        let (mut good, mut bad) = (door(), door());
        good.comment("first");
        good.option(10, "seq_timeout", "never");
        bad.name = "b".to_owned();
        bad.line = 20;
        bad.list(21, "sequence", "x");
        let mut sections = vec![good, bad];
        let (text, warnings) = settle(&mut sections);
        let warnings: Vec<_> =
            warnings.iter().map(|warning| (warning.line, warning.message.as_str())).collect();
        assert_eq!(
            warnings,
            [
                (10, "seq_timeout is left out: 'never' is not a number of seconds"),
                (21, "b is left out: 'x' is not a port")
            ]
        );
        assert_eq!(config::parse("", text.as_bytes()).unwrap().doors.len(), 1);
    }
}
