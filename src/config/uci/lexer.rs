//! Splits a UCI text into words.
//!
//! libuci reads a physical line, cuts it with `strtok`, and rewrites it in place to remove quotes and backslashes.
//! Some of its behaviour follows from that alone. Comments at such places say so.

use super::{Span, SyntaxError, SyntaxFault, Word};

/// The bytes that a name may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameCharacters {
    /// Letters, digits, `_`.
    Plain,
    /// Letters, digits, `_`, `-`.
    Package,
    /// Printable ASCII without space.
    Type,
}

/// A place in the text, and the end of the current line.
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    /// The end of the readable text: the line's end, newline included, or the place where a comment cut it.
    end: usize,
    /// The start of the next line.
    next: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, end: 0, next: 0 }
    }

    /// The text at this place.
    pub(super) fn text(&self, span: Span) -> &'a [u8] {
        &self.text[span.start..span.end]
    }

    /// Goes to the next line. Returns false at the end of the text.
    pub(super) fn next_line(&mut self) -> bool {
        self.at = self.next;
        let rest = &self.text[self.next..];
        self.end = self.next + rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        self.next = self.end;
        self.at < self.end
    }

    /// Skips white space as C's `isspace` defines it.
    pub(super) fn skip_whitespace(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    /// The next command word of this line, which a blank ends. A newline or a `;` belongs to the word, and makes it an
    /// unknown command. `None` at the end of the line or at a comment.
    pub(super) fn command(&mut self) -> Option<Span> {
        let is_blank = |byte| byte == b' ' || byte == b'\t';
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
        let start = self.at;
        if self.peek()? == b'#' {
            return None;
        }
        while self.peek().is_some_and(|byte| !is_blank(byte)) {
            self.at += 1;
        }
        Some(Span { start, end: self.at })
    }

    /// Skips the blank after a command word. Returns false if the text ends there.
    pub(super) fn skip_delimiter(&mut self) -> bool {
        let found = self.at < self.end;
        self.at += usize::from(found);
        found
    }

    /// The next argument of `command`, which must exist and be a name.
    pub(super) fn required(&mut self, name: NameCharacters, command: Span) -> Result<Word, SyntaxError> {
        let word = self.optional(name)?;
        if word.bytes.is_empty() {
            return Err(SyntaxError { reason: SyntaxFault::TooFewArguments, span: command });
        }
        Ok(word)
    }

    /// The next argument, which may be missing and must otherwise be a name.
    pub(super) fn optional(&mut self, name: NameCharacters) -> Result<Word, SyntaxError> {
        let word = self.word()?;
        let fine = |byte: u8| match name {
            NameCharacters::Plain => byte.is_ascii_alphanumeric() || byte == b'_',
            NameCharacters::Package => byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-',
            NameCharacters::Type => byte.is_ascii_graphic(),
        };
        if word.bytes.iter().all(|&byte| fine(byte)) {
            return Ok(word);
        }
        let reason =
            if name == NameCharacters::Type { SyntaxFault::InvalidType } else { SyntaxFault::InvalidName };
        Err(SyntaxError { reason, span: word.span })
    }

    /// Refuses anything but the end of the command: the line's end, a comment or `;`.
    ///
    /// libuci does not read `''` as a word: it ends the command as `;` does.
    pub(super) fn end_of_command(&mut self) -> Result<(), SyntaxError> {
        let word = self.word()?;
        if word.bytes.is_empty() {
            return Ok(());
        }
        Err(SyntaxError { reason: SyntaxFault::TooManyArguments, span: word.span })
    }

    /// The next argument; empty if there is none.
    pub(super) fn word(&mut self) -> Result<Word, SyntaxError> {
        self.skip_whitespace();
        let start = self.at;
        if self.peek() == Some(b';') {
            self.at += 1;
            return Ok(Word { bytes: Vec::new(), span: Span { start, end: start } });
        }
        let mut word = Word { bytes: Vec::new(), span: Span { start, end: start } };
        // Whether every byte of the word stands for itself.
        let mut plain = true;
        while let Some(byte) = self.peek() {
            match byte {
                b'\'' | b'"' => {
                    plain = false;
                    self.quoted(byte, &mut word)?;
                }
                b'#' => {
                    self.end = self.at;
                    break;
                }
                // libuci's zero at the end of a word overwrites a `;` right after it, and the rest of the line is
                // lost. This does not happen if removed quotes or backslashes left room.
                b';' => {
                    if plain {
                        self.end = self.at;
                    }
                    break;
                }
                b'\\' => {
                    plain = false;
                    self.backslash(&mut word);
                }
                _ => {
                    word.push(byte);
                    self.at += 1;
                }
            }
            // The check comes after the first byte: an escaped newline before a word, with white space after it, makes
            // an empty word.
            if self.peek().is_some_and(is_space) {
                word.span = self.span(start, &word.bytes);
                self.at += 1;
                return Ok(word);
            }
        }
        word.span = self.span(start, &word.bytes);
        Ok(word)
    }

    /// A quoted piece, which may span lines.
    fn quoted(&mut self, quote: u8, word: &mut Word) -> Result<(), SyntaxError> {
        let open = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(byte) if byte == quote => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') if quote == b'"' => self.backslash(word),
                Some(byte) => {
                    word.push(byte);
                    self.at += 1;
                }
                None if self.next_line() => {}
                None => {
                    let reason = if quote == b'"' {
                        SyntaxFault::UnterminatedDoubleQuote
                    } else {
                        SyntaxFault::UnterminatedSingleQuote
                    };
                    return Err(SyntaxError { reason, span: Span { start: open, end: open + 1 } });
                }
            }
        }
    }

    /// A backslash. The next byte stands for itself; at the end of a line the next line follows.
    fn backslash(&mut self, word: &mut Word) {
        self.at += 1;
        match &self.text[self.at..self.end] {
            [] | [b'\n'] | [b'\r', b'\n'] => {
                self.next_line();
            }
            rest => {
                word.push(rest[0]);
                self.at += 1;
            }
        }
    }

    /// The place from `start` to here, without the quotes around a single quoted piece.
    fn span(&self, start: usize, bytes: &[u8]) -> Span {
        let span = Span { start, end: self.at };
        match self.text(span) {
            [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] if inner.len() == bytes.len() => {
                Span { start: start + 1, end: self.at - 1 }
            }
            _ => span,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text[self.at..self.end].first().copied()
    }
}

/// C's `isspace`. Unlike Rust's function, it includes the vertical tab.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}
