//! [`Tree`]: the text files of the repository: tracked ones, and new ones that git does not ignore.

use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of the repository.
pub(crate) struct Tree {
    pub root: PathBuf,
    pub files: Vec<File>,
}

/// One text file.
pub(crate) struct File {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
}

impl Tree {
    pub(crate) fn load() -> anyhow::Result<Self> {
        let root = root();
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .context("git lists the files to check; is it installed?")?;
        anyhow::ensure!(
            listed.status.success(),
            "git ls-files: {}",
            String::from_utf8_lossy(&listed.stderr)
        );
        let names = String::from_utf8(listed.stdout).context("a file name is not UTF-8")?;
        let mut files: Vec<File> = names
            .split('\0')
            .filter(|name| !name.is_empty())
            // Binary files are no text, and a file that was just deleted is listed and not there: neither is checked.
            .filter_map(|name| {
                let text = std::fs::read_to_string(root.join(name)).ok()?;
                Some(File { path: name.to_owned(), text })
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        Ok(Self { root, files })
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}
