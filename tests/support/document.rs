//! The user's documents and their blocks.

use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The paths of the user's documents.
pub fn documents() -> Vec<String> {
    let mut paths = vec!["README.md".to_owned(), "README.id.md".to_owned()];
    for folder in ["docs", "docs/id"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = PathBuf::from(folder).join(entry.unwrap().file_name());
            if path.extension().is_some_and(|it| it == "md") {
                paths.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    assert!(paths.len() > 20, "{paths:?}");
    paths
}

/// A fenced block of a document.
#[derive(Clone, Debug)]
pub struct Block {
    pub document: String,
    /// The line of its fence, from 1.
    pub line: usize,
    /// The words after the fence.
    pub info: String,
    pub text: String,
}

impl Block {
    pub fn place(&self) -> String {
        format!("{}:{}", self.document, self.line)
    }

    /// The block without comments, which are translated.
    pub fn without_comments(&self) -> String {
        let lines = self.text.lines().map(|line| match line.find('#') {
            Some(at) if line[..at].ends_with([' ', '\t']) || at == 0 => line[..at].trim_end(),
            _ => line,
        });
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

pub fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_inside = false;
    for (at, line) in read(document).lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            if !is_inside {
                let info = info.trim().to_owned();
                blocks.push(Block { document: document.to_owned(), line: at + 1, info, text: String::new() });
            }
            is_inside = !is_inside;
        } else if is_inside {
            let block = blocks.last_mut().expect("a fence came first");
            block.text.push_str(line);
            block.text.push('\n');
        }
    }
    assert!(!is_inside, "{document}: the last block does not end");
    blocks
}
