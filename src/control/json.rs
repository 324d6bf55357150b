//! Flat JSON objects: the lines on the control socket, and the calls and answers of rpcd.
//!
//! No value of such an object is an object or an array, so the reader needs no stack.

use std::fmt::Write as _;

/// A value that is written.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Flag(bool),
    /// A whole number.
    Number(u64),
    /// A string.
    Text(&'a str),
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u8> for Value<'_> {
    fn from(number: u8) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Value<'_> {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value<'_> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// An object that is being written.
#[derive(Debug, Default)]
pub struct Writer(String);

impl Writer {
    /// Adds a member. An empty option is `null`.
    pub fn add<'a>(&mut self, name: &str, value: impl Into<Value<'a>>) -> &mut Self {
        self.member(name, &value.into());
        self
    }

    /// Adds a member, if there is a value.
    pub fn add_some<'a>(&mut self, name: &str, value: Option<impl Into<Value<'a>>>) -> &mut Self {
        match value {
            Some(value) => self.add(name, value),
            None => self,
        }
    }

    /// The object's text.
    pub fn end(&mut self) -> String {
        let mut text = std::mem::take(&mut self.0);
        text.push_str(if text.is_empty() { "{}" } else { "}" });
        text
    }

    fn member(&mut self, name: &str, value: &Value<'_>) {
        let Self(text) = self;
        text.push(if text.is_empty() { '{' } else { ',' });
        quote(text, name);
        text.push(':');
        match *value {
            Value::Null => text.push_str("null"),
            Value::Flag(flag) => text.push_str(if flag { "true" } else { "false" }),
            Value::Number(number) => write!(text, "{number}").expect("a String takes everything"),
            Value::Text(value) => quote(text, value),
        }
    }
}

/// Appends a string with its quotes, escaped as RFC 8259 asks (section 7).
fn quote(to: &mut String, text: &str) {
    to.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => to.extend(['\\', character]),
            '\x08' => to.push_str("\\b"),
            '\t' => to.push_str("\\t"),
            '\n' => to.push_str("\\n"),
            '\x0c' => to.push_str("\\f"),
            '\r' => to.push_str("\\r"),
            '\0'..' ' => {
                write!(to, "\\u{:04X}", u32::from(character)).expect("a String takes everything");
            }
            _ => to.push(character),
        }
    }
    to.push('"');
}

/// A flat object that is read. Of members with one name the first counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Object<'a>(&'a str);

impl<'a> Object<'a> {
    /// The object in a text. `None` if the text is something else, or a value is an object or an array.
    pub fn parse(json: &'a str) -> Option<Self> {
        let members = json.trim_ascii().strip_prefix('{')?.strip_suffix('}')?.trim_ascii();
        let mut rest = members;
        while !rest.is_empty() {
            let (_, _, after) = member(rest)?;
            rest = match after.strip_prefix(',') {
                Some(next) if !next.is_empty() => next,
                None if after.is_empty() => after,
                _ => return None,
            };
        }
        Some(Self(members))
    }

    /// A value as it is written; `None` if there is no such member or it is `null`.
    pub fn get(self, name: &str) -> Option<&'a str> {
        let mut rest = self.0;
        while let Some((found, value, after)) = member(rest) {
            if found == name {
                return Some(value).filter(|value| *value != "null");
            }
            rest = after.strip_prefix(',')?;
        }
        None
    }

    /// A string as it is written, without its quotes.
    pub fn raw(self, name: &str) -> Option<&'a str> {
        self.get(name)?.strip_prefix('"')?.strip_suffix('"')
    }

    /// A string; `None` also if an escape in it is not valid.
    pub fn text(self, name: &str) -> Option<String> {
        unescaped(self.raw(name)?)
    }

    /// A whole number.
    pub fn number(self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Whether a member is `true`.
    pub fn is(self, name: &str) -> bool {
        self.get(name) == Some("true")
    }
}

/// Splits the first member off: its name, its value as it is written, and the rest.
fn member(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = token(text)?;
    let (value, rest) = token(rest.strip_prefix(':')?)?;
    Some((name.strip_prefix('"')?.strip_suffix('"')?, value, rest))
}

/// Splits a string with its quotes, a number or a word off, and the blanks around it.
fn token(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_ascii_start();
    let mut is_escaped = false;
    let len = if let Some(string) = text.strip_prefix('"') {
        let is_end = |byte: u8| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        };
        string.bytes().position(is_end)? + 2
    } else {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        text.bytes().take_while(is_word).count()
    };
    let (token, rest) = text.split_at_checked(len).filter(|(token, _)| !token.is_empty())?;
    Some((token, rest.trim_ascii_start()))
}

/// The text of a string that is given as it is written; `None` if an escape in it is not valid.
pub fn unescaped(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let mut characters = escape.chars();
        text.push(match characters.next()? {
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (digits, after) = characters.as_str().split_at_checked(4)?;
                characters = after.chars();
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            same @ ('"' | '\\' | '/') => same,
            _ => return None,
        });
        rest = characters.as_str();
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let odd = "\0\u{1f}\u{7f}\u{8}\t\n\u{c}\r\"\\/\u{e9}\u{1f6aa}";
        let mut writer = Writer::default();
        writer.add("text", odd).add("number", u64::MAX).add("flag", true).add("none", None::<u64>);
        let json = writer.add_some("left_out", None::<&str>).add_some("some", Some(7_u8)).end();
        assert_eq!(
            json,
            "{\"text\":\"\\u0000\\u001F\u{7f}\\b\\t\\n\\f\\r\\\"\\\\/\u{e9}\u{1f6aa}\",\
             \"number\":18446744073709551615,\"flag\":true,\"none\":null,\"some\":7}"
        );
        // A reader that knows nothing of this writer.
        let known: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(known["text"], odd);
        let object = Object::parse(&json).expect("an object");
        assert_eq!(object.text("text").as_deref(), Some(odd));
        assert_eq!((object.number("number"), object.number("some")), (Some(u64::MAX), Some(7)));
        assert!(object.is("flag") && !object.is("none") && !object.is("number"));
        assert_eq!((object.get("none"), object.get("left_out")), (None, None));
        assert_eq!(Writer::default().end(), "{}");
    }

    #[test]
    fn what_is_no_flat_object_is_refused() {
        for flat in [
            r"{}",
            " {\t\"a\" : \"{[\", \"b\":1 }\r\n",
            r#"{"a":"\"{"}"#,
            r#"{"a":"\\"}"#,
            r#"{"a":-1.5e+3}"#,
        ] {
            assert!(Object::parse(flat).is_some(), "{flat}");
        }
        for other in [
            "",
            "{",
            "}",
            "[1]",
            "1",
            "[[",
            "null",
            r#"{"a":{}}"#,
            r#"{"a":[]}"#,
            r#"{"a":"\\"}{}"#,
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            r#"{"a":1 "b":2}"#,
            r"{a:1}",
            r#"{"a":"}"#,
            r#"{"a":"\"}"#,
            r#"{"a":1}}"#,
            r#"{"a":1}x"#,
            r#"{"a":1,,"b":2}"#,
        ] {
            assert!(Object::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn escapes() {
        let text = |raw: &str| unescaped(raw);
        assert_eq!(text(r"a\u00e9\/\u0041b").as_deref(), Some("a\u{e9}/Ab"));
        for bad in [r"\x", r"\u12", r"\u12g4", r"\ud83d", "\\"] {
            assert_eq!(text(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_value_has_the_kind_that_is_asked_for() {
        let object = Object::parse(r#"{"a":"1","b":1,"c":null,"d":-1,"b":2}"#).expect("an object");
        assert_eq!((object.number("a"), object.raw("a")), (None, Some("1")));
        assert_eq!((object.number("b"), object.raw("b")), (Some(1), None));
        assert_eq!((object.number("d"), object.get("d")), (None, Some("-1")));
        assert_eq!((object.get("c"), object.get("e")), (None, None));
    }
}
