//! Writes the Rust module of one group of messages: struct definitions, defaults, and (through
//! `emit_codec`) their codec. The code is laid out as rustfmt would, because people read it.

use std::fmt::Write as _;

use crate::emit_codec;
use crate::model::{Base, Field, Item, Module};

/// Text with indentation.
#[derive(Default)]
pub struct Code {
    text: String,
    depth: usize,
}

impl Code {
    pub fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        if !line.is_empty() {
            for _ in 0..self.depth {
                self.text.push_str("    ");
            }
            self.text.push_str(line);
        }
        self.text.push('\n');
    }

    /// `head {`, what `body` writes, `}`.
    pub fn block(&mut self, head: impl AsRef<str>, body: impl FnOnce(&mut Self)) {
        self.line(format!("{} {{", head.as_ref()));
        self.indented(body);
        self.line("}");
    }

    pub fn indented(&mut self, body: impl FnOnce(&mut Self)) {
        self.depth += 1;
        body(self);
        self.depth -= 1;
    }

    pub fn finish(self) -> String {
        self.text
    }
}

/// The source of one module.
pub fn module(module: &Module) -> Result<String, String> {
    let mut code = Code::default();
    code.line("use crate::prelude::*;");
    for item in &module.items {
        code.line("");
        definition(&mut code, item)?;
        emit_codec::codec(&mut code, item)?;
    }
    Ok(code.finish())
}

fn definition(code: &mut Code, item: &Item) -> Result<(), String> {
    for line in item_doc(item) {
        code.line(format!("/// {line}"));
    }
    let defaults: Vec<String> = item.fields.iter().map(default).collect::<Result<_, _>>()?;
    let plain = item.fields.iter().all(default_is_rusts);
    let derive = if plain { "Clone, Debug, Default, PartialEq" } else { "Clone, Debug, PartialEq" };
    code.line(format!("#[derive({derive})]"));
    if item.fields.is_empty() {
        code.line(format!("pub struct {} {{}}", item.name));
        return Ok(());
    }
    code.block(format!("pub struct {}", item.name), |code| {
        for field in &item.fields {
            code.line(format!("/// {}", field_doc(field)));
            code.line(format!("pub {}: {},", field.name, rust_type(field)));
        }
    });
    if !plain {
        code.line("");
        code.block(format!("impl Default for {}", item.name), |code| {
            code.block("fn default() -> Self", |code| {
                code.line("Self {");
                code.indented(|code| {
                    for (field, default) in item.fields.iter().zip(&defaults) {
                        code.line(format!("{}: {default},", field.name));
                    }
                });
                code.line("}");
            });
        });
    }
    Ok(())
}

fn item_doc(item: &Item) -> Vec<String> {
    let message = &item.message;
    let versions = format!("versions {}", item.versions);
    if !item.top {
        return vec![format!("Part of [`{}`], {versions}.", message.name)];
    }
    let mut head = format!("{} `{}`", capital(&message.kind), message.name);
    if let Some(key) = message.key {
        let what = if message.listeners.is_empty() && message.kind != "response" {
            "type"
        } else {
            "API key"
        };
        let _ = write!(head, ", {what} {key}");
    }
    let flexible = match message.flexible {
        Some(from) => format!("flexible from {from}"),
        None => "never flexible".to_owned(),
    };
    let mut lines = vec![format!("{head}: {versions}, {flexible}.")];
    if message.latest_unstable {
        lines.push(String::new());
        lines.push(format!("Version {} is not stable yet.", message.versions.hi));
    }
    lines
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

fn field_doc(field: &Field) -> String {
    let mut doc = format!("`{}`: versions {}", field.table_name, field.versions);
    if let Some(tag) = field.tag {
        let _ = write!(doc, ", tag {tag}");
    }
    if let Some(null) = field.null {
        let _ = if null == field.versions {
            write!(doc, ", nullable")
        } else {
            write!(doc, ", null in {null}")
        };
    }
    if let Some(default) = &field.default {
        let _ = write!(doc, ", default `{default}`");
    }
    if let Some(entity) = &field.entity {
        let _ = write!(doc, ", a {entity}");
    }
    if field.ignorable {
        doc.push_str(", ignorable");
    }
    doc.push('.');
    doc
}

/// The type of one element, or of the value when it is no array.
pub fn base_type(base: &Base) -> &str {
    match base {
        Base::Plain(name, _) => name,
        Base::Uuid => "Uuid",
        Base::Str => "Str",
        Base::Bytes => "Bytes",
        Base::Records => "Records",
        Base::Struct(name) => name,
    }
}

fn rust_type(field: &Field) -> String {
    let base = base_type(&field.base);
    let inner = if field.array { format!("Vec<{base}>") } else { base.to_owned() };
    if field.nullable() { format!("Option<{inner}>") } else { inner }
}

/// Whether the table's default is what `Default` gives for the field's type.
fn default_is_rusts(field: &Field) -> bool {
    if field.nullable() {
        return field.default_is_null();
    }
    field.array
        || !matches!(field.base, Base::Plain(..))
        || matches!(field.default.as_deref(), None | Some("0" | "false"))
}

/// The default as an expression.
fn default(field: &Field) -> Result<String, String> {
    if field.default_is_null() {
        return Ok("None".to_owned());
    }
    let value = if field.array {
        "Vec::new()".to_owned()
    } else {
        match &field.base {
            Base::Plain(ty, _) => plain_default(ty, field.default.as_deref())?,
            Base::Uuid => "Uuid::ZERO".to_owned(),
            Base::Bytes => "Bytes::new()".to_owned(),
            Base::Str if !matches!(field.default.as_deref(), None | Some("\"\"")) => {
                return Err(format!("{}: a default that is not empty", field.table_name));
            }
            other => format!("{}::default()", base_type(other)),
        }
    };
    Ok(if field.nullable() { format!("Some({value})") } else { value })
}

/// The default of a number or a bool.
pub fn plain_default(ty: &str, text: Option<&str>) -> Result<String, String> {
    if ty == "bool" {
        return Ok(text.unwrap_or("false").to_owned());
    }
    if ty == "f64" {
        return Ok(text.map_or_else(|| "0.0".to_owned(), |t| format!("{t}f64")));
    }
    let text = text.unwrap_or("0");
    let number: i64 = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).map_err(|e| format!("{text}: {e}"))?,
        None => text.parse().map_err(|e| format!("{text}: {e}"))?,
    };
    Ok(match (ty, number) {
        ("i64", i64::MAX) => "i64::MAX".to_owned(),
        ("i64", i64::MIN) => "i64::MIN".to_owned(),
        ("i32", 0x7fff_ffff) => "i32::MAX".to_owned(),
        ("i32", -0x8000_0000) => "i32::MIN".to_owned(),
        _ => number.to_string(),
    })
}
