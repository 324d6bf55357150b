//! Hides secrets in errors, because people post errors and logs when they ask for help.

/// Replaces the hidden part of a line.
pub(super) const HIDDEN: &str = "(not shown)";

/// Options that hold secrets, in any section.
const SECRET: &[&[u8]] = &[b"key", b"totp", b"fwknop_key", b"fwknop_hmac_key"];

/// Options of a user that hold no secret. Any other name may be a misspelt option with a secret.
const OPEN: &[&[u8]] = &[b"enabled", b"door", b"expires", b"other_address"];

/// The number of bytes of `line` that may be shown. `above` is the text above it.
pub(super) fn shown(above: &[u8], line: &[u8]) -> usize {
    let words: Vec<(usize, &[u8])> = words(line).collect();
    let named = words.iter().find(|(_, word)| SECRET.contains(word));
    if let Some((at, word)) = named {
        return at + word.len();
    }
    if !in_user(above) {
        return line.len();
    }
    match words[..] {
        [] | [(_, b"config" | b"c"), ..] => line.len(),
        [(_, b"option" | b"o" | b"list" | b"l"), (_, name), ..] if OPEN.contains(&name) => line.len(),
        [(_, b"option" | b"o" | b"list" | b"l"), (at, name), ..] => at + name.len(),
        // The line continues a value, or is unknown.
        [(at, _), ..] => at,
    }
}

/// Whether the last section that begins in `text` is a user.
fn in_user(text: &[u8]) -> bool {
    let sections = text.split(|byte| matches!(byte, b'\n' | b';')).rev().filter_map(|line| {
        let mut words = words(line).map(|(_, word)| word);
        matches!(words.next(), Some(b"config" | b"c")).then(|| words.next() == Some(b"user"))
    });
    sections.into_iter().next().unwrap_or(false)
}

/// The words of a line without quotes, and their offsets.
fn words(line: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let separates = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'\'' | b'"' | b';');
    let mut at = 0;
    line.split(separates).filter_map(move |word| {
        let begins = at;
        at += word.len() + 1;
        (!word.is_empty()).then_some((begins, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        let user = "config user 'alice'\n\toption enabled '1'\n";
        let door = "config user 'alice'\nconfig door 'ssh'\n";
        for (above, line, expected) in [
            (user, "\toption key 'c2VjcmV0'", "\toption key"),
            (user, "\toption 'kye' 'c2VjcmV0'", "\toption 'kye"),
            (user, "\tlist totp \"JBSW\" 'JBSW'", "\tlist totp"),
            (user, "\toption expires 'never'", "\toption expires 'never'"),
            (user, "\tlist door 'shh'", "\tlist door 'shh'"),
            (user, "  JBSWY3DP'", "  "),
            (user, "config door 'x", "config door 'x"),
            (door, "\toption dest_port '22x'", "\toption dest_port '22x'"),
            (door, "\toption fwknop_hmac_key 'x'", "\toption fwknop_hmac_key"),
            ("", "option key c2VjcmV0", "option key"),
            (user, "", ""),
        ] {
            let shown = shown(above.as_bytes(), line.as_bytes());
            assert_eq!(&line[..shown], expected, "{line}");
        }
    }
}
