//! The repository's files as one value, so that every check is a function of text and a test brings its own tree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Endings of files that are read as text; `.ci/run` has none and is named.
const TEXT: [&str; 5] = [".rs", ".md", ".toml", ".sh", ".ci/run"];

/// Paths relative to the root, with `/`.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Every file and folder.
    pub paths: BTreeSet<String>,
    /// The text of the files that are text to us.
    pub texts: BTreeMap<String, String>,
}

impl Tree {
    /// Reads everything below `root` but build output and hidden folders other than `.ci` and `.cargo`.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let mut tree = Self::default();
        tree.folder(root, "")?;
        Ok(tree)
    }

    fn folder(&mut self, dir: &Path, prefix: &str) -> Result<(), String> {
        let unreadable = |e: std::io::Error| format!("cannot read `{}`: {e}", dir.display());
        for entry in fs::read_dir(dir).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_dir() {
                let hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
                if hidden || name == "target" {
                    continue;
                }
                self.folder(&entry.path(), &format!("{path}/"))?;
            } else if TEXT.iter().any(|end| path.ends_with(end)) {
                let bytes = fs::read(entry.path()).map_err(|e| format!("cannot read `{path}`: {e}"))?;
                self.texts.insert(path.clone(), String::from_utf8_lossy(&bytes).into_owned());
            }
            self.paths.insert(path);
        }
        Ok(())
    }

    /// The texts whose path ends in `end`.
    pub(crate) fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts.iter().filter(move |(path, _)| path.ends_with(end)).map(|(p, t)| (p.as_str(), t.as_str()))
    }

    /// A tree of a test.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            let mut folder = String::new();
            for part in path.split('/') {
                folder = if folder.is_empty() { part.to_owned() } else { format!("{folder}/{part}") };
                tree.paths.insert(folder.clone());
            }
            tree.texts.insert((*path).to_owned(), (*text).to_owned());
        }
        tree
    }
}
