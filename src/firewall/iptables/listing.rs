//! Reads the listings of `iptables -S`.

use super::COMMENT;
use crate::config::MAX_NAME;

/// Splits each line into words, as `iptables -S` quotes them (`xtables_save_string`): double quotes around anything
/// unusual, and inside them a backslash makes the next character literal. A quoted comment may contain a line break,
/// so a rule may span lines.
pub(in crate::firewall) fn split_rules(listing: &str) -> Vec<Vec<String>> {
    let mut rules = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut characters = listing.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                // A pair of quotes with nothing between is an empty word.
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(characters.next()),
            ' ' | '\n' if !quoted => {
                let rule = rules.last_mut().expect("it begins with one, and only grows");
                rule.extend(word.take());
                if character == '\n' {
                    rules.push(Vec::new());
                }
            }
            _ => word.get_or_insert_default().push(character),
        }
    }
    // Text after the last line break is an incomplete rule.
    rules.pop();
    rules
}

/// Whether one of the rule's comments is ketuk's.
///
/// `--comment` could be the value of another option. But a value is followed by an option, which begins with a dash.
pub(super) fn is_ours(rule: &[String]) -> bool {
    rule.windows(2).any(|pair| {
        let name = if pair[0] == "--comment" { pair[1].strip_prefix(COMMENT) } else { None };
        name.is_some_and(|name| {
            (1..=MAX_NAME).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    })
}
