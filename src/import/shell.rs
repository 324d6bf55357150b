//! Splits a command as `sh -c` does, if it is a list of simple commands.

/// A program and its arguments.
pub(super) type Argv = Vec<String>;

/// The simple commands of a list, in order, between `;`, `&&` and newlines. `None` if the command has anything else: a
/// pipeline, a condition, a substitution, a redirection other than to /dev/null.
pub(super) fn split(command: &str) -> Option<Vec<Argv>> {
    let mut reader = ShellReader { commands: Vec::new(), words: Vec::new(), word: None };
    let mut characters = command.trim().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            quote @ ('"' | '\'') => {
                let word = reader.word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        end if end == quote => break,
                        '$' | '`' | '\\' if quote == '"' => return None,
                        other => word.push(other),
                    }
                }
            }
            ' ' | '\t' => reader.end_word(),
            ';' | '\n' => reader.end_command(),
            '&' => {
                characters.next_if_eq(&'&')?;
                reader.end_command();
            }
            // A comment begins where a word could begin.
            '#' if reader.word.is_none() => while characters.next_if(|c| *c != '\n').is_some() {},
            // Redirections like `>/dev/null 2>&1` do not change what the command does.
            '>' => {
                if reader.word.as_deref() == Some("2") || reader.word.as_deref() == Some("1") {
                    reader.word = None;
                }
                reader.end_word();
                quiet(&mut characters)?;
            }
            '|' | '<' | '$' | '`' | '\\' | '(' | ')' | '*' | '?' | '~' | '!' => return None,
            other => reader.word.get_or_insert_default().push(other),
        }
    }
    reader.end_command();
    Some(reader.commands)
}

/// Reads the rest of a redirection after `>`: to /dev/null or to the other output.
fn quiet(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<()> {
    if characters.next_if_eq(&'&').is_some() {
        characters.next_if(|c| matches!(c, '1' | '2'))?;
        return Some(());
    }
    while characters.next_if_eq(&' ').is_some() {}
    let mut file = String::new();
    while let Some(c) = characters.next_if(|c| c.is_ascii_alphanumeric() || *c == '/') {
        file.push(c);
    }
    (file == "/dev/null").then_some(())
}

struct ShellReader {
    commands: Vec<Argv>,
    words: Argv,
    word: Option<String>,
}

impl ShellReader {
    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }
}

/// The program's name without its folder, and its arguments. `sudo` is removed, because the daemon is root.
pub(super) fn program(words: &[String]) -> Option<(&str, &[String])> {
    let (mut name, mut rest) = words.split_first()?;
    if name.rsplit('/').next()? == "sudo" {
        while let Some((option, behind)) = rest.split_first().filter(|(word, _)| word.starts_with('-')) {
            // `-n` and `--` do not matter here. Other options change the user or the way the command runs.
            if !matches!(option.as_str(), "-n" | "--") {
                return None;
            }
            rest = behind;
        }
        (name, rest) = rest.split_first()?;
    }
    Some((name.rsplit('/').next()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(command: &str) -> Option<Vec<String>> {
        Some(split(command)?.iter().map(|words| words.join("·")).collect())
    }

    #[test]
    fn lists_of_simple_commands() {
        for (command, expected) in [
            ("a  b\t'c d' \"e\"f", &["a·b·c d·ef"][..]),
            ("a; b && c ;", &["a", "b", "c"]),
            ("a b # c; d", &["a·b"]),
            ("a b#c", &["a·b#c"]),
            ("a b >/dev/null 2>&1; c", &["a·b", "c"]),
            ("", &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|&words| words.to_owned()).collect();
            assert_eq!(read(command), Some(expected), "{command}");
        }
        for command in
            ["a | b", "a & b", "a || b", "a $(b)", "a `b`", "a > b", "a < b", "'a", "(a)", "a \"$b\"", "a *"]
        {
            assert_eq!(read(command), None, "{command}");
        }
    }

    #[test]
    fn sudo_is_taken_off() {
        let name = |command: &str| {
            let words = split(command)?.remove(0);
            program(&words).map(|(name, rest)| format!("{name} {}", rest.join(" ")))
        };
        assert_eq!(name("/usr/bin/sudo -n /sbin/iptables -L").as_deref(), Some("iptables -L"));
        assert_eq!(name("/sbin/iptables -L").as_deref(), Some("iptables -L"));
        assert_eq!(name("sudo -u nobody iptables -L"), None);
    }
}
