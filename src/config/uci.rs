//! Reads UCI text into sections, options and values, exactly as libuci's file parser does.
//!
//! The parser accepts, refuses and ignores the same as libuci, surprises included. `uci`, LuCI and init scripts read the
//! same file, and must see the same values as the daemon. The grammar is that of libuci's `file.c` (`uci_load`). Where
//! releases differ, the newest one counts. The tests in `tests/libuci` compare both parsers.
//!
//! There is one difference: this parser refuses a NUL byte. libuci uses C strings, and drops an unpredictable part of the
//! file after it.

mod lexer;

use std::fmt;

use lexer::{Cursor, NameCharacters};
use zeroize::Zeroize as _;

/// Bytes of the first buffer of a word. Most words fit.
const MIN_WORD: usize = 16;

/// A range of bytes in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The offset of the first byte.
    pub start: usize,
    /// The offset after the last byte.
    pub end: usize,
}

/// A word and its place. The word may be a secret: its bytes are overwritten when it is dropped, also after a syntax error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word's bytes without quotes and backslashes. They need not be UTF-8.
    pub bytes: Vec<u8>,
    /// The word's place, without the quotes if it is one quoted piece. It is as long as [`Word::bytes`] only if the word has
    /// no other quotes and no backslashes.
    pub span: Span,
}

impl Word {
    /// Appends a byte. A full buffer is copied and overwritten, because growing in place would free it as it is.
    fn push(&mut self, byte: u8) {
        if self.bytes.len() == self.bytes.capacity() {
            let mut larger = Vec::with_capacity((2 * self.bytes.len()).max(MIN_WORD));
            larger.extend_from_slice(&self.bytes);
            self.bytes.zeroize();
            self.bytes = larger;
        }
        self.bytes.push(byte);
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// `config TYPE NAME` and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The section's type.
    pub kind: Word,
    /// The section's name. A section without a name gets libuci's generated name (`cfg01abcd`), with the place of the type.
    pub name: Word,
    /// Whether the name was generated.
    pub anonymous: bool,
    /// The options in order, without duplicates.
    pub options: Vec<UciOption>,
}

/// An option or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UciOption {
    /// The option's name.
    pub name: Word,
    /// The option's value.
    pub value: Value,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Set by `option`, never empty.
    One(Word),
    /// Set by `list`, or by `option` and then `list`. An item may be empty.
    List(Vec<Word>),
}

/// The reason and place of libuci's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The reason.
    pub reason: SyntaxFault,
    /// The place.
    pub span: Span,
}

/// Why libuci refuses a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyntaxFault {
    /// A word other than package, config, option, list or a comment.
    UnknownCommand,
    /// `package` without a name.
    PackageWithoutName,
    /// `config` without a type.
    ConfigWithoutName,
    /// `option` or `list` without a name.
    OptionWithoutName,
    /// The command needs a name or a type.
    TooFewArguments,
    /// Something follows the last argument.
    TooManyArguments,
    /// A name holds other bytes than `[A-Za-z0-9_]`.
    InvalidName,
    /// A section type is empty or holds other bytes than printable ASCII without space.
    InvalidType,
    /// An option stands before the first section.
    NoSection,
    /// A section is repeated with another type.
    TypeDiffers,
    /// A `'` is never closed.
    UnterminatedSingleQuote,
    /// A `"` is never closed.
    UnterminatedDoubleQuote,
    /// A NUL byte.
    Nul,
}

impl fmt::Display for SyntaxFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownCommand => "this is neither config, option nor list",
            Self::PackageWithoutName => "package needs a name",
            Self::ConfigWithoutName => "config needs a type",
            Self::OptionWithoutName => "an option needs a name and a value",
            Self::TooFewArguments => "a name is missing here",
            Self::TooManyArguments => "too many words on this line",
            Self::InvalidName => "a name may only have letters, digits and _",
            Self::InvalidType => "a section type may only have printable ASCII characters",
            Self::NoSection => "this stands before the first section",
            Self::TypeDiffers => "a section of this name and another type stands above",
            Self::UnterminatedSingleQuote => "this ' is never closed",
            Self::UnterminatedDoubleQuote => "this \" is never closed",
            Self::Nul => "a NUL byte",
        })
    }
}

/// Reads a whole file.
///
/// # Errors
/// The first fault, if libuci refuses the text.
pub fn parse(text: &[u8]) -> Result<Vec<Section>, SyntaxError> {
    if let Some(at) = text.iter().position(|&byte| byte == 0) {
        return Err(SyntaxError { reason: SyntaxFault::Nul, span: Span { start: at, end: at + 1 } });
    }
    let mut file = File { sections: Vec::new(), current: None };
    let mut cursor = Cursor::new(text);
    while cursor.next_line() {
        cursor.skip_whitespace();
        while let Some(word) = cursor.command() {
            file.command(&mut cursor, word)?;
        }
    }
    Ok(file.sections)
}

/// The sections so far.
struct File {
    sections: Vec<Section>,
    /// The index of the section that options go to.
    current: Option<usize>,
}

impl File {
    fn command(&mut self, cursor: &mut Cursor<'_>, word: Span) -> Result<(), SyntaxError> {
        let refuse = |reason| Err(SyntaxError { reason, span: word });
        match cursor.text(word) {
            b"package" | b"p" => {
                if !cursor.skip_delimiter() {
                    return refuse(SyntaxFault::PackageWithoutName);
                }
                // `uci_load` checks the line and then ignores it.
                cursor.required(NameCharacters::Package, word)?;
                cursor.end_of_command()
            }
            b"config" | b"c" => {
                if !cursor.skip_delimiter() {
                    return refuse(SyntaxFault::ConfigWithoutName);
                }
                self.config(cursor, word)
            }
            command @ (b"option" | b"o" | b"list" | b"l") => {
                let Some(section) = self.current else { return refuse(SyntaxFault::NoSection) };
                if !cursor.skip_delimiter() {
                    return refuse(SyntaxFault::OptionWithoutName);
                }
                let name = cursor.required(NameCharacters::Plain, word)?;
                let value = cursor.word()?;
                cursor.end_of_command()?;
                let options = &mut self.sections[section].options;
                if command[0] == b'l' {
                    add_list(options, name, value);
                } else {
                    set(options, name, value);
                }
                Ok(())
            }
            _ => refuse(SyntaxFault::UnknownCommand),
        }
    }

    fn config(&mut self, cursor: &mut Cursor<'_>, word: Span) -> Result<(), SyntaxError> {
        let kind = cursor.required(NameCharacters::Type, word)?;
        let name = cursor.optional(NameCharacters::Plain)?;
        cursor.end_of_command()?;
        let anonymous = name.bytes.is_empty();
        if !anonymous
            && let Some(at) = self.sections.iter().position(|section| section.name.bytes == name.bytes)
        {
            if self.sections[at].kind.bytes != kind.bytes {
                return Err(SyntaxError { reason: SyntaxFault::TypeDiffers, span: kind.span });
            }
            self.current = Some(at);
            return Ok(());
        }
        let name = if anonymous { generated_name(self.sections.len() + 1, &kind) } else { name };
        self.current = Some(self.sections.len());
        self.sections.push(Section { kind, name, anonymous, options: Vec::new() });
        Ok(())
    }
}

/// Sets an `option`. A later value replaces an earlier one in its place, and an empty one changes nothing.
fn set(options: &mut Vec<UciOption>, name: Word, value: Word) {
    if value.bytes.is_empty() {
        return;
    }
    match options.iter_mut().find(|entry| entry.name.bytes == name.bytes) {
        Some(entry) => *entry = UciOption { name, value: Value::One(value) },
        None => options.push(UciOption { name, value: Value::One(value) }),
    }
}

/// Appends to a `list`, also to a value that `option` has set.
fn add_list(options: &mut Vec<UciOption>, name: Word, value: Word) {
    match options.iter_mut().find(|entry| entry.name.bytes == name.bytes) {
        Some(UciOption { value: Value::List(items), .. }) => items.push(value),
        Some(UciOption { value: one @ Value::One(_), .. }) => {
            if let Value::One(first) = std::mem::replace(one, Value::List(Vec::new())) {
                *one = Value::List(vec![first, value]);
            }
        }
        None => options.push(UciOption { name, value: Value::List(vec![value]) }),
    }
}

/// libuci's name for the `number`th section if it has none. A later section may be written with that name, and is then
/// the same one.
fn generated_name(number: usize, kind: &Word) -> Word {
    let hash =
        kind.bytes.iter().fold(5381_u32, |hash, &byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)));
    Word { bytes: format!("cfg{number:02x}{:04x}", hash & 0xffff).into_bytes(), span: kind.span }
}

#[cfg(test)]
mod tests;
