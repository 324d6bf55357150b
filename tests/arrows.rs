//! The arrows between the folders of `src` are those of docs/architecture.md, no files import each other in a circle, and no
//! two types have the same name.
//!
//! The first test reads the table in the document, so the document cannot differ from the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Each file of `src` under its module's path (`core::attempts`), with its text. Tests are left out.
fn modules() -> BTreeMap<String, String> {
    fn walk(folder: &Path, path: &str, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("a folder of src") {
            let entry = entry.expect("an entry").path();
            let name = entry.file_stem().expect("a name").to_str().expect("a plain name").to_owned();
            let inner = if path.is_empty() { name.clone() } else { format!("{path}::{name}") };
            if entry.is_dir() && inner != "bin" && name != "tests" {
                walk(&entry, &inner, found);
            } else if entry.extension().is_some_and(|it| it == "rs") {
                let module = if matches!(name.as_str(), "mod" | "lib") { path } else { inner.as_str() };
                if !matches!(name.as_str(), "tests" | "testing") && !module.is_empty() {
                    let text = fs::read_to_string(&entry).expect("a source file");
                    found.insert(module.to_owned(), code(&text));
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    assert!(found.contains_key("core::packet") && found.contains_key("daemon::run"), "{:?}", found.keys());
    found
}

/// The text without comments and without the unit tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().expect("the first part");
    text.lines().map(|line| line.split("//").next().expect("the first part")).collect::<Vec<_>>().join("\n")
}

/// The crates of the workspace as the code names them, each with its folder.
fn crates() -> Vec<(String, &'static str)> {
    let name = |folder| {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder).join("Cargo.toml");
        let text = fs::read_to_string(manifest).ok()?;
        let name = text.lines().find_map(|line| line.strip_prefix("name = "))?;
        Some((name.trim_matches('"').replace('-', "_"), folder))
    };
    ["core", "protocol"].into_iter().filter_map(name).collect()
}

/// The paths in `text` that begin with `root`, with braces expanded.
fn paths(text: &str, root: &str) -> Vec<String> {
    /// Reads one path, and returns its length.
    fn tree(text: &str, prefix: &str, found: &mut Vec<String>) -> usize {
        let Some(braces) = text.strip_prefix('{') else {
            let end = text.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(text.len());
            let path = format!("{prefix}{}", &text[..end]);
            let Some(rest) = text[end..].strip_prefix("::") else {
                found.push(path);
                return end;
            };
            return end + 2 + tree(rest, &format!("{path}::"), found);
        };
        let mut at = 0;
        loop {
            at += braces[at..].len() - braces[at..].trim_start_matches([' ', '\n', '\t', ',']).len();
            if at >= braces.len() || braces[at..].starts_with('}') {
                return at + 2;
            }
            at += tree(&braces[at..], prefix, found);
            // Past `as another_name`.
            at += braces[at..].find([',', '}']).unwrap_or(braces.len() - at);
        }
    }
    let mut found = Vec::new();
    for (at, _) in text.match_indices(root) {
        let before = text[..at].chars().next_back();
        if before.is_none_or(|char| !(char.is_alphanumeric() || char == '_' || char == ':')) {
            tree(&text[at + root.len()..], "", &mut found);
        }
    }
    found
}

/// The imports of each module, by `use` and by paths within the code. A module imports the modules that are declared in
/// it. Imports from a module's own parents do not count.
fn graph() -> Graph {
    let modules = modules();
    let crates = crates();
    let known = |path: &str| {
        let mut path = path;
        loop {
            if modules.contains_key(path) {
                return Some(path.to_owned());
            }
            path = path.rsplit_once("::")?.0;
        }
    };
    let mut graph = Graph::new();
    for (module, text) in &modules {
        let folder = module.split("::").next().expect("a folder");
        let inner = crates.iter().any(|(_, own)| *own == folder).then_some(folder);
        let mut targets: Vec<String> = paths(text, "crate::")
            .into_iter()
            .map(|path| inner.map_or(path.clone(), |folder| format!("{folder}::{path}")))
            .collect();
        for (name, folder) in &crates {
            targets.extend(
                paths(text, &format!("{name}::")).into_iter().map(|path| format!("{folder}::{path}")),
            );
        }
        let mut parent = module.rsplit_once("::").map(|(parent, _)| parent.to_owned());
        let mut root = "super::".to_owned();
        while let Some(above) = parent {
            targets.extend(paths(text, &root).into_iter().map(|path| format!("{above}::{path}")));
            parent = above.rsplit_once("::").map(|(parent, _)| parent.to_owned());
            root.push_str("super::");
        }
        let targets = targets.iter().filter_map(|path| known(path));
        let arrows = targets.filter(|it| it != module && !module.starts_with(&format!("{it}::")));
        graph.entry(module.clone()).or_default().extend(arrows);
        if let Some((parent, _)) = module.rsplit_once("::")
            && modules.contains_key(parent)
        {
            graph.entry(parent.to_owned()).or_default().insert(module.clone());
        }
    }
    graph
}

/// The modules that can be reached from `start`.
fn reached<'g>(graph: &'g Graph, start: &str) -> BTreeSet<&'g str> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&str> = graph[start].iter().map(String::as_str).collect();
    while let Some(next) = waiting.pop() {
        if reached.insert(next) {
            waiting.extend(graph[next].iter().map(String::as_str));
        }
    }
    reached
}

/// The document's table: each folder with the folders that it may import.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let document = fs::read_to_string(document).expect("the document");
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let folder = cells.get(1)?.strip_prefix("`src/")?.strip_suffix('`')?;
        let folder = folder.strip_suffix(".rs").unwrap_or(folder).to_owned();
        let known = cells.get(3)?.split(", ").filter(|it| *it != "nothing").map(str::to_owned);
        Some((folder, known.collect()))
    };
    let table = document.lines().skip_while(|line| !line.starts_with("| folder |"));
    table.take_while(|line| line.starts_with('|')).filter_map(row).collect()
}

#[test]
fn the_folders_know_each_other_as_the_document_says() {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let folder = |module: &str| module.split("::").next().expect("a folder").to_owned();
    for (module, targets) in graph() {
        let own = folder(&module);
        let others = targets.iter().map(|it| folder(it)).filter(|it| *it != own);
        arrows.entry(own.clone()).or_default().extend(others);
    }
    assert_eq!(arrows, allowed(), "left: the code; right: the table in docs/architecture.md");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let graph = graph();
    let circle: Vec<_> =
        graph.keys().filter(|module| reached(&graph, module).contains(module.as_str())).collect();
    assert!(circle.is_empty(), "these import each other: {circle:?}");
}

/// Names that Rust itself gives to types of several modules: the associated type of `Iterator`.
const NAMES_OF_THE_LANGUAGE: [&str; 1] = ["Item"];

/// The name of the type that a line of code declares.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let (keyword, rest) = line.split_once(' ')?;
    let name = rest.split(|char: char| !char.is_alphanumeric()).next()?;
    let is_type = ["struct", "enum", "union", "trait", "type"].contains(&keyword);
    (is_type && name.starts_with(char::is_uppercase)).then_some(name)
}

#[test]
fn no_two_types_have_the_same_name() {
    fn walk(folder: &Path, found: &mut BTreeMap<String, Vec<String>>) {
        for entry in fs::read_dir(folder).expect("a folder of src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                for name in text.lines().filter_map(declared) {
                    found.entry(name.to_owned()).or_default().push(path.display().to_string());
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.contains_key("Doorkeeper") && found.contains_key("ScriptCall"), "{:?}", found.keys());
    found.retain(|name, files| files.len() > 1 && !NAMES_OF_THE_LANGUAGE.contains(&name.as_str()));
    assert!(found.is_empty(), "one name, several types: {found:#?}");
}

#[test]
fn the_reader_of_imports_finds_them() {
    let text = "use crate::{log, core::{self, door::{Door, MAX as M}, time::Instant}};\nfn f() { crate::log::start(); subcrate::x() }";
    assert_eq!(
        paths(text, "crate::"),
        ["log", "core::self", "core::door::Door", "core::door::MAX", "core::time::Instant", "log::start"]
    );
    assert!(graph()["daemon::run"].contains("linux::capture"), "{:?}", graph()["daemon::run"]);
}
