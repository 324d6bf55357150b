use super::*;

/// The result on one line: `type.name option=value list=[value,value]`.
fn show(text: &str) -> String {
    let sections = match parse(text.as_bytes()) {
        Ok(sections) => sections,
        Err(SyntaxError { reason, span }) => return format!("{reason:?} {}..{}", span.start, span.end),
    };
    let read = |word: &Word| String::from_utf8_lossy(&word.bytes).into_owned();
    let mut shown = Vec::new();
    for section in &sections {
        shown.push(format!("{}.{}", read(&section.kind), read(&section.name)));
        for UciOption { name, value } in &section.options {
            shown.push(match value {
                Value::One(word) => format!("{}={}", read(name), read(word)),
                Value::List(words) => {
                    format!("{}=[{}]", read(name), words.iter().map(read).collect::<Vec<_>>().join(","))
                }
            });
        }
    }
    shown.join(" ")
}

#[track_caller]
fn table(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(show(text), *expected, "{text:?}");
    }
}

#[test]
fn words_quotes_and_escapes() {
    table(&[
        ("", ""),
        ("# nothing\n\n\t # at all\n", ""),
        ("config t n\n\toption a b\n", "t.n a=b"),
        ("c t n\no a b\nl c d\nl c e", "t.n a=b c=[d,e]"),
        ("config 't' \"n\"\noption 'a' 'b c'", "t.n a=b c"),
        ("c t n\no a b'c d'\"e f\"g", "t.n a=bc de fg"),
        ("c t n\no a \"\\n\\\"\\\\\"", "t.n a=n\"\\"),
        ("c t n\no a '\\n'", "t.n a=\\n"),
        ("c t n\no a 'b\n# c'", "t.n a=b\n# c"),
        ("c t n\no a b#c\no d '#'", "t.n a=b d=#"),
        ("c t n\no a b\\\nc\no d e\\\r\nf", "t.n a=bc d=ef"),
        ("c t n\r\no a b\r\n", "t.n a=b"),
        ("package p-q\nc t n", "t.n"),
    ]);
}

#[test]
fn repetition_and_emptiness() {
    table(&[
        ("c t n\no a b\no c d\no a e", "t.n a=e c=d"),
        ("c t n\no a b\no a ''", "t.n a=b"),
        ("c t n\no a", "t.n"),
        ("c t n\nl a", "t.n a=[]"),
        ("c t n\nl a b\nl a ''\nl a b", "t.n a=[b,,b]"),
        ("c t n\no a b\nl a c", "t.n a=[b,c]"),
        ("c t n\nl a b\no a c", "t.n a=c"),
        ("c t n\no a b\nc u m\nc t n\nl a c", "t.n a=[b,c] u.m"),
        ("c t n\nc t n\nc t n\no a b", "t.n a=b"),
        ("c t\nc t cfg01b619\no a b", "t.cfg01b619 a=b"),
        ("c t\nc t\nc u", "t.cfg01b619 t.cfg02b619 u.cfg03b61a"),
    ]);
}

#[test]
fn semicolons() {
    table(&[
        ("c t n ; o a b ; o c d", "t.n a=b c=d"),
        ("c t n\no a 'b';o c d", "t.n a=b c=d"),
        // Surprises: libuci does these by accident.
        ("c t n\no a b;o c d", "t.n a=b"),
        ("c t n\no a b '' o c d", "t.n a=b c=d"),
        ("c t n\no a 'b' ;\n", "UnknownCommand 15..16"),
        ("c t ; o a b", "TooManyArguments 6..7"),
    ]);
}

#[test]
fn refusals_and_their_places() {
    table(&[
        ("config", "ConfigWithoutName 0..6"),
        ("config\n", "UnknownCommand 0..7"),
        ("config ", "TooFewArguments 0..6"),
        ("config t\u{fc}r", "InvalidType 7..11"),
        ("c t 'my-nas'", "InvalidName 5..11"),
        ("c t n x", "TooManyArguments 6..7"),
        ("c t n\nc u n", "TypeDiffers 8..9"),
        ("o a b", "NoSection 0..1"),
        ("c t n\noption", "OptionWithoutName 6..12"),
        ("c t n\no a-b c", "InvalidName 8..11"),
        ("c t n\no a b c", "TooManyArguments 12..13"),
        ("c t n\no a 'b\nc", "UnterminatedSingleQuote 10..11"),
        ("c t n\no a b\"c", "UnterminatedDoubleQuote 11..12"),
        ("p", "PackageWithoutName 0..1"),
        ("conf t n", "UnknownCommand 0..4"),
        ("'config' t n", "UnknownCommand 0..8"),
        ("c t n\0", "Nul 5..6"),
    ]);
}

#[test]
fn words_know_where_they_stand() {
    let text = b"config door 'ssh'\n\tlist a \"b c\"\n\toption d e'f'\n";
    let sections = parse(text).unwrap();
    let written = |word: &Word| String::from_utf8_lossy(&text[word.span.start..word.span.end]).into_owned();
    assert_eq!([&sections[0].kind, &sections[0].name].map(written), ["door", "ssh"]);
    let words: Vec<_> = sections[0]
        .options
        .iter()
        .flat_map(|entry| match &entry.value {
            Value::One(word) => [&entry.name, word],
            Value::List(words) => [&entry.name, &words[0]],
        })
        .map(written)
        .collect();
    assert_eq!(words, ["a", "b c", "d", "e'f'"]);
}
