//! The status page has every text of the doctor, for its translation.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// The web page has every text of the doctor, and of the warnings that the doctor repeats, with `%s` for each value.
#[test]
fn the_page_has_the_doctors_texts() {
    let mut files: Vec<_> =
        fs::read_dir("src/cli/doctor").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap() != "mod.rs");
    assert!(files.len() > 6, "{files:?}");
    let others = [
        "src/firewall/absent.rs",
        "src/firewall/exposure/finding.rs",
        "src/config/user.rs",
        "src/config/exposed.rs",
        "src/daemon/account.rs",
        "src/core/weakness.rs",
        "src/linux/upper.rs",
    ];
    files.extend(others.map(PathBuf::from));
    let texts = files.iter().flat_map(|file| literals(&fs::read_to_string(file).unwrap()));
    let mut texts: BTreeSet<_> = texts.filter(|text| text.trim().contains(' ')).collect();
    for text in NOT_SHOWN {
        assert!(texts.remove(text), "no such text: {text}");
    }

    let page = include_str!("../../openwrt/luci-app-ketuk/htdocs/luci-static/resources/ketuk/findings.js");
    let (_, page) = page.split_once("const TEXTS = (_ => [\n").unwrap();
    let found: BTreeSet<_> = page.split("\n])").next().unwrap().lines().map(text).collect();
    let missing: Vec<_> = texts.difference(&found).collect();
    let dead: Vec<_> = found.difference(&texts).collect();
    assert!(missing.is_empty() && dead.is_empty(), "missing: {missing:#?}\nnobody says: {dead:#?}");
}

/// Texts in these files that the page does not show: parts of other texts, commands, the text about VRFs, which is no fault, texts
/// for programmers, and the point `from`, which the page does not ask for.
const NOT_SHOWN: [&str; 25] = [
    "this ketukd was built without the reader of iptables-legacy's rules",
    "%s: %s",
    "%s: fine\\n",
    "%s: %s:%s%s%s%s\\n",
    "not known",
    "it has room",
    "JSON is UTF-8",
    "table %s %s",
    "%s '%s'",
    "10 bits are fewer than 32",
    "service ketuk restart",
    "logread -e ketuk",
    "systemctl start ketukd",
    "journalctl -u ketukd",
    "not 0",
    "ketuk: which secrets a user has",
    "the configuration checks its length",
    "none of the daemon's recent knocks came from %s",
    "knock again and look at once: if nothing comes then, the name leads to another address, something on the way drops \
     the knocks, or a NAT sends them from another address ('ketukd watch' shows from which)",
    "door '%s': ",
    "user %s: ",
    ", %s times",
    "%s%s%s s ago, %s%s",
    "the next knock was not sent, or was lost on the way",
    "the door is shut again: knock once more",
];

/// The strings in a file's code, without its tests, with `%s` for each value.
fn literals(code: &str) -> Vec<String> {
    let code = code.split("#[cfg(test)]").next().unwrap();
    let code: Vec<_> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let (code, mut found) = (code.join("\n"), Vec::new());
    let mut rest = code.as_str();
    while let Some((_, begun)) = rest.split_once('"') {
        let end = begun.match_indices('"').find(|(at, _)| !begun[..*at].ends_with('\\')).unwrap().0;
        // A line that ends with a backslash goes on after the blanks of the next line.
        let lines = begun[..end].split("\\\n").enumerate();
        let text: String = lines.map(|(n, line)| if n > 0 { line.trim_start() } else { line }).collect();
        let values = text.split('{').enumerate();
        found.push(
            values
                .map(
                    |(n, part)| {
                        if n > 0 { format!("%s{}", part.split_once('}').unwrap().1) } else { part.to_owned() }
                    },
                )
                .collect(),
        );
        rest = &begun[end + 1..];
    }
    found
}

/// The text that a line of the page marks for translation: `_('...')`.
fn text(marked: &str) -> String {
    let quoted = marked.trim().trim_end_matches(',').strip_prefix("_('").unwrap();
    quoted.strip_suffix("')").unwrap().replace("\\'", "'")
}
