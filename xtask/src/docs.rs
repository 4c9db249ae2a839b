//! `cargo xtask docs`: writes the reference pages that are made from tables in the code.

use std::path::Path;

/// A page that is written, not edited.
pub(crate) struct Page {
    /// Where it stands, from the root of the repository.
    pub path: &'static str,
    /// What it says.
    pub text: fn() -> String,
}

/// All written pages; `tidy` fails when one is stale.
pub(crate) const PAGES: &[Page] =
    &[Page { path: "docs/reference/settings.md", text: millstream_config::reference_page }];

/// Runs the verb.
pub(crate) fn run(_args: &[String]) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for page in PAGES {
        let path = root.join(page.path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, (page.text)())?;
        println!("wrote {}", page.path);
    }
    Ok(())
}
