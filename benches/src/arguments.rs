//! `name=value` on the command line.

use std::collections::HashMap;
use std::str::FromStr;

use crate::Result;

/// The values by their names.
pub struct Arguments(HashMap<String, String>);

impl Arguments {
    /// Reads the words after the command.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self> {
        let pair = |word: String| match word.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!("{word:?} is not NAME=VALUE").into()),
        };
        words.map(pair).collect::<Result<_>>().map(Self)
    }

    /// The value as it was written.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A value that must be given.
    pub fn get<T: FromStr>(&self, name: &str) -> Result<T> {
        let text = self.text(name).ok_or_else(|| format!("{name}= is missing"))?;
        text.parse().map_err(|_| format!("{name}={text} cannot be read").into())
    }

    /// A value with a default.
    pub fn or<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        if self.text(name).is_some() { self.get(name) } else { Ok(default) }
    }
}
