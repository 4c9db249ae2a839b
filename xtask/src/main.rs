//! All automation of the workspace: `cargo xtask tidy | test | bench`.

fn main() {}
