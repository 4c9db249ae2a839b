//! `cargo xtask tidy`: the rules of the house that the compiler does not know.
//!
//! Every rule is a function from the tree to [`Finding`]s; each finding names a place, what is wrong and what to do. All rules run,
//! so that one call shows everything. What must stay as it is says so with a comment `tidy: allow`, and why, on its line or the line above.

mod docs;
mod layers;
mod paths;
mod rust;
mod settings;
mod source;
mod tree;
mod words;

use tree::Tree;

/// One thing that is wrong.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The file, from the root of the repository.
    pub file: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into(), advice: advice.into() }
    }
}

/// What the rules found: `errors` fail, `warnings` are shown.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub errors: Vec<Finding>,
    pub warnings: Vec<Finding>,
}

/// Runs the verb.
pub(crate) fn run(_args: &[String]) -> anyhow::Result<()> {
    let tree = Tree::load()?;
    let mut report = Report::default();
    layers::check(&tree, &mut report)?;
    rust::check(&tree, &mut report);
    words::check(&tree, &mut report);
    docs::check(&tree, &mut report);
    settings::check(&tree, &mut report);
    show("warning", &report.warnings);
    show("error", &report.errors);
    if report.errors.is_empty() {
        println!("tidy: {} files are in order", tree.files.len());
        return Ok(());
    }
    anyhow::bail!("tidy: {} to mend", report.errors.len())
}

fn show(kind: &str, findings: &[Finding]) {
    for Finding { file, line, what, advice } in findings {
        let place = if *line == 0 { file.clone() } else { format!("{file}:{line}") };
        println!("{place}: {kind}: {what}\n    {advice}");
    }
}
