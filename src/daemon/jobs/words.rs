//! The output of a command, as lines for the log.

/// The most lines of one command. The last lines are kept, because a program names the reason for its end last.
const MAX_LINES: usize = 8;

/// The last lines of a command's output, without empty ones.
pub(super) fn lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    // A carriage return ends a line too, because programs redraw a progress bar after it. Otherwise all states of the bar
    // would be one line.
    let lines = text.split(['\n', '\r']).map(str::trim_end).filter(|line| !line.is_empty());
    let mut last: Vec<String> = lines.rev().take(MAX_LINES).map(escaped).collect();
    last.reverse();
    last
}

/// The text with escapes for characters that would move a terminal's cursor, change its colour, or reverse the order of
/// words.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(' '),
            c if c.is_control() || is_format(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Line separators, and the marks that change the direction of text (`Bidi_Control` of Unicode).
const fn is_format(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_without_empty_ones() {
        assert_eq!(lines(b""), [""; 0]);
        assert_eq!(lines(b"one\n\n  \ntwo\r\n10%\r20%"), ["one", "two", "10%", "20%"]);
        let many = (0..20).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        assert_eq!(lines(many.as_bytes()), ["12", "13", "14", "15", "16", "17", "18", "19"]);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(lines(b"a\tb\x1b[31m\x07\0"), ["a b\\u{1b}[31m\\u{7}\\u{0}"]);
        assert_eq!(lines("\u{202e}\u{9b}\u{e9}".as_bytes()), ["\\u{202e}\\u{9b}\u{e9}"]);
        assert_eq!(lines(b"\xff"), ["\u{fffd}"]);
    }
}
