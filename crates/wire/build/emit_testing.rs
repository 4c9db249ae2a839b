//! Writes the builders that make arbitrary valid messages, and the list of all messages: for tests only.

use crate::emit::Code;
use crate::emit_codec::condition;
use crate::model::{Field, Item, Module};

pub fn testing(apis: &[Module], stored: &Module, headers: &Module) -> String {
    let mut code = Code::default();
    let modules: Vec<(String, &Module)> = apis
        .iter()
        .map(|module| (format!("crate::messages::{}", module.name), module))
        .chain([("crate::stored".to_owned(), stored), ("crate::header".to_owned(), headers)])
        .collect();
    for (path, module) in &modules {
        for item in &module.items {
            code.line("");
            builder(&mut code, path, item);
        }
    }
    code.line("");
    code.line("/// Every message that the table knows.");
    code.line("pub static CASES: &[Case] = &[");
    code.indented(|code| {
        for (path, module) in &modules {
            for item in module.messages() {
                case(code, path, item);
            }
        }
    });
    code.line("];");
    code.finish()
}

fn builder(code: &mut Code, path: &str, item: &Item) {
    code.block(format!("impl Arbitrary for {path}::{}", item.name), |code| {
        if item.fields.is_empty() {
            code.block("fn arbitrary(_g: &mut Gen<'_>, _version: i16) -> Self", |code| {
                code.line("Self {}");
            });
            return;
        }
        code.block("fn arbitrary(g: &mut Gen<'_>, version: i16) -> Self", |code| {
            code.line("let mut out = Self::default();");
            for field in &item.fields {
                let set = format!("out.{} = {};", field.name, value(item, field));
                match condition(field.versions, item.versions) {
                    None => code.line(set),
                    Some(inside) => code.block(format!("if {inside}"), |code| code.line(set)),
                }
            }
            code.line("out");
        });
    });
}

fn value(item: &Item, field: &Field) -> String {
    let Some(null) = field.null else { return "g.any(version)".to_owned() };
    match condition(null, field.versions.intersect(item.versions).unwrap_or(null)) {
        None => "g.nullable(true, version)".to_owned(),
        Some(may_be_null) => format!("g.nullable({may_be_null}, version)"),
    }
}

fn case(code: &mut Code, path: &str, item: &Item) {
    let message = &item.message;
    code.line(format!(
        "Case::of::<{path}::{}>(\"{}\", \"{}\", {:?}, {}, {}),",
        item.name, item.name, message.kind, message.key, message.versions.lo, message.versions.hi
    ));
}
