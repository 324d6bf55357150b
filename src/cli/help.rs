//! The texts of `--help`, for the program and for each command. The manual pages are made from them.

use super::Failure;

/// The commands with their help: usage, purpose, options with their defaults, an example.
const COMMANDS: &[(&str, &str)] = &[
    ("run", include_str!("help/run.txt")),
    ("check", include_str!("help/check.txt")),
    ("doctor", include_str!("help/doctor.txt")),
    ("status", include_str!("help/status.txt")),
    ("watch", include_str!("help/watch.txt")),
    ("metrics", include_str!("help/metrics.txt")),
    ("open", include_str!("help/open.txt")),
    ("close", include_str!("help/close.txt")),
    ("reload", include_str!("help/reload.txt")),
    ("keygen", include_str!("help/keygen.txt")),
    ("invite", include_str!("help/invite.txt")),
    ("import", include_str!("help/import.txt")),
    ("explain", include_str!("help/explain.txt")),
    ("ruleset", include_str!("help/ruleset.txt")),
    ("unload", include_str!("help/unload.txt")),
    ("rpcd", include_str!("help/rpcd.txt")),
];

/// The text of `ketukd --help`, without the version and the list of commands.
const ALL: &str = include_str!("help/all.txt");

/// The beginning of a usage. Further lines of the usage begin with as many blanks.
const USAGE: &str = "usage: ";

/// The help of the command of this name.
pub(super) fn of(command: &str) -> Option<&'static str> {
    COMMANDS.iter().find(|(name, _)| *name == command).map(|(_, text)| *text)
}

/// All commands, each with the first sentence of its help.
pub(super) fn all() -> String {
    let (head, tail) =
        ALL.split_once("{commands}\n").expect("help/all.txt says where the commands are listed");
    let mut text = format!("ketukd {}{}", env!("CARGO_PKG_VERSION"), head.trim_start_matches("ketukd"));
    for (name, help) in COMMANDS {
        let (_, purpose) = help.split_once("\n\n").unwrap_or_default();
        let purpose = purpose.split(['.', ':']).next().unwrap_or_default();
        text.extend(["  ketukd ", name, &"        "[name.len()..], "  ", purpose, "\n"]);
    }
    text + tail
}

/// The usage of a command.
pub(super) fn usage(command: &str) -> &'static str {
    of(command).and_then(|text| text.split_once("\n\n")).map_or("", |(usage, _)| usage)
}

/// The error for a command that has `given` of `needed` operands.
pub(super) fn missing(command: &str, given: usize, needed: usize) -> String {
    let words = usage(command).trim_start_matches(USAGE).split(['\n', ' ']).skip(2);
    let words: Vec<_> = words.skip(given).take(needed - given).collect();
    format!("{} {} missing", words.join(" and "), if words.len() == 1 { "is" } else { "are" })
}

/// The error for an unknown command, with the command that may be meant, or for an option in its place.
pub(super) fn unknown(command: &str) -> Failure {
    let option = command.split('=').next().unwrap_or_default();
    let is_option = |(_, help): &(&str, &str)| help.split_whitespace().any(|word| word == option);
    if option.starts_with("--") && COMMANDS.iter().any(is_option) {
        return Failure::Usage(format!("option '{option}' must follow the command"));
    }
    let mut names: Vec<_> = COMMANDS.iter().map(|(name, _)| *name).collect();
    names.extend(["--version", "--help"]);
    Failure::unknown(format!("there is no command '{command}'"), command, &names)
}
