//! The texts of `--help`, for the program and for each command. The manual page is made from them.

use std::ffi::OsString;

/// The text of `ketuk --help`.
pub const ALL: &str = include_str!("help/all.txt");

/// Each command's name, and the text of `ketuk NAME --help`.
pub const COMMANDS: [(&str, &str); 7] = [
    ("open", include_str!("help/open.txt")),
    ("connect", include_str!("help/connect.txt")),
    ("add", include_str!("help/add.txt")),
    ("list", include_str!("help/list.txt")),
    ("show", include_str!("help/show.txt")),
    ("remove", include_str!("help/remove.txt")),
    ("keygen", include_str!("help/keygen.txt")),
];

/// The help to point to after a mistake in these arguments.
pub(super) fn hint(arguments: &[OsString]) -> String {
    let word = arguments.iter().find(|argument| !argument.to_string_lossy().starts_with('-'));
    match COMMANDS.iter().find(|(name, _)| word.is_some_and(|word| word == name)) {
        Some((name, _)) => format!("try 'ketuk {name} --help'"),
        None => "try 'ketuk --help'".to_owned(),
    }
}
