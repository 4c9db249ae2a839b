//! Generates the protocol messages from the table in `protocol/` into `OUT_DIR`.
//!
//! Three steps, one module each: `table` reads the notation, `model` resolves names, versions and
//! sizes, `emit` writes Rust. The table is this project's own; its notation is in its README.

#[path = "build/emit.rs"]
mod emit;
#[path = "build/emit_api.rs"]
mod emit_api;
#[path = "build/emit_codec.rs"]
mod emit_codec;
#[path = "build/emit_testing.rs"]
mod emit_testing;
#[path = "build/model.rs"]
mod model;
#[path = "build/table.rs"]
mod table;

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=protocol");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("no manifest dir")?);
    let protocol = root.join("protocol");

    let mut apis = Vec::new();
    let private = sorted_files(&protocol.join("private"))?;
    for file in sorted_files(&protocol.join("api"))?.into_iter().chain(private) {
        let messages = read(&file)?;
        apis.push(model::Module::api(messages).map_err(|e| format!("{}: {e}", file.display()))?);
    }
    apis.sort_by_key(model::Module::api_key);

    let mut stored = Vec::new();
    let mut headers = Vec::new();
    for file in sorted_files(&protocol)? {
        for message in read(&file)? {
            if message.kind == "header" { headers.push(message) } else { stored.push(message) }
        }
    }
    let stored = model::Module::stored(stored)?;
    let headers = model::Module::headers(headers)?;

    std::fs::create_dir_all(out.join("messages"))?;
    for module in &apis {
        std::fs::write(out.join(format!("messages/{}.rs", module.name)), emit::module(module)?)?;
    }
    std::fs::write(out.join("messages.rs"), emit_api::modules(&apis))?;
    std::fs::write(out.join("api_key.rs"), emit_api::api_keys(&apis)?)?;
    std::fs::write(out.join("stored.rs"), emit::module(&stored)?)?;
    std::fs::write(out.join("stored_types.rs"), emit_api::stored_types(&stored)?)?;
    std::fs::write(out.join("header.rs"), emit::module(&headers)?)?;
    std::fs::write(out.join("testing.rs"), emit_testing::testing(&apis, &stored, &headers))?;
    Ok(())
}

/// The `.txt` files of one folder in the order of their names.
fn sorted_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<Vec<table::Message>, Box<dyn Error>> {
    let text = std::fs::read_to_string(file)?;
    table::parse(&text).map_err(|e| format!("{}: {e}", file.display()).into())
}
