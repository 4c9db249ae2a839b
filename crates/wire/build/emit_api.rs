//! Writes what spans modules: the list of message modules, `ApiKey` with its table, the `Request`
//! impls, and the stored records' types.

use crate::emit::Code;
use crate::model::{Item, Module};

/// `messages.rs`: one `pub mod` for each API.
pub fn modules(apis: &[Module]) -> String {
    let mut code = Code::default();
    for module in apis {
        let Some(message) = module.messages().next() else { continue };
        code.line(format!(
            "/// {}: API key {}, versions {}.",
            message.message.name.trim_end_matches("Request"),
            module.api_key(),
            message.versions
        ));
        code.block(format!("pub mod {}", module.name), |code| {
            let path = format!("/messages/{}.rs", module.name);
            code.line(format!("include!(concat!(env!(\"OUT_DIR\"), \"{path}\"));"));
        });
    }
    code.finish()
}

fn request_and_response(module: &Module) -> Result<(&Item, &Item), String> {
    let find = |kind: &str| module.messages().find(|item| item.message.kind == kind);
    match (find("request"), find("response")) {
        (Some(request), Some(response)) => Ok((request, response)),
        _ => Err(format!("{}: no pair of request and response", module.name)),
    }
}

/// `api_key.rs`: the enum, its table, and `impl Request` for each request.
pub fn api_keys(apis: &[Module]) -> Result<String, String> {
    let mut code = Code::default();
    code.line("/// The key of an API: what a request asks for.");
    code.line("#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]");
    code.line("#[repr(i16)]");
    let mut names = Vec::new();
    for module in apis {
        let (request, _) = request_and_response(module)?;
        names.push((request.name.trim_end_matches("Request"), module.api_key()));
    }
    code.block("pub enum ApiKey", |code| {
        for (name, key) in &names {
            code.line(format!("/// Key {key}."));
            code.line(format!("{name} = {key},"));
        }
    });
    code.line("");
    code.line("/// One line for each API, in the order of their keys.");
    code.line(format!("static INFO: [Info; {}] = [", names.len()));
    let mut result = Ok(());
    code.indented(|code| {
        for module in apis {
            result = result.clone().and(info(code, module));
        }
    });
    result?;
    code.line("];");
    code.line("");
    code.line("/// Where `INFO` holds the API of a key.");
    code.block("const fn index_of(key: i16) -> Option<usize>", |code| {
        code.block("match key", |code| {
            for (index, (_, key)) in names.iter().enumerate() {
                code.line(format!("{key} => Some({index}),"));
            }
            code.line("_ => None,");
        });
    });
    for module in apis {
        let (request, response) = request_and_response(module)?;
        let path = format!("crate::messages::{}", module.name);
        let range = request.versions;
        let stable = range.hi - i16::from(request.message.latest_unstable);
        code.line("");
        code.block(format!("impl Request for {path}::{}", request.name), |code| {
            let key = request.name.trim_end_matches("Request");
            code.line(format!("const KEY: ApiKey = ApiKey::{key};"));
            code.line(format!("const MIN: i16 = {};", range.lo));
            code.line(format!("const MAX: i16 = {stable};"));
            code.line(format!("type Response = {path}::{};", response.name));
        });
    }
    Ok(code.finish())
}

fn info(code: &mut Code, module: &Module) -> Result<(), String> {
    let (request, response) = request_and_response(module)?;
    if request.versions != response.versions || request.flexible_from() != response.flexible_from()
    {
        return Err(format!("{}: request and response differ in versions", module.name));
    }
    let name = request.name.trim_end_matches("Request");
    let range = request.versions;
    let listens = |listener: &str| request.message.listeners.iter().any(|l| l == listener);
    code.line("Info {");
    code.indented(|code| {
        code.line(format!("key: ApiKey::{name},"));
        code.line(format!("name: \"{name}\","));
        code.line(format!("min: {},", range.lo));
        code.line(format!("max: {},", range.hi));
        code.line(format!(
            "latest_stable: {},",
            range.hi - i16::from(request.message.latest_unstable)
        ));
        code.line(match request.flexible_from() {
            Some(from) => format!("flexible_from: {from},"),
            None => "flexible_from: i16::MAX,".to_owned(),
        });
        code.line(format!("broker: {},", listens("broker")));
        code.line(format!("controller: {},", listens("controller")));
    });
    code.line("},");
    Ok(())
}

/// `stored_types.rs`: `impl Stored` for the records with a type number, and the enum over all
/// metadata records.
pub fn stored_types(stored: &Module) -> Result<String, String> {
    let mut code = Code::default();
    for item in stored.messages() {
        let range = item.versions;
        code.line("");
        code.block(format!("impl Stored for {}", item.name), |code| {
            code.line(match item.message.key {
                Some(key) => format!("const TYPE: Option<i16> = Some({key});"),
                None => "const TYPE: Option<i16> = None;".to_owned(),
            });
            code.line(format!("const MIN: i16 = {};", range.lo));
            code.line(format!("const MAX: i16 = {};", range.hi));
        });
    }
    let mut metadata: Vec<(i16, &Item)> = stored
        .messages()
        .filter(|item| item.message.kind == "metadata")
        .filter_map(|item| item.message.key.map(|key| (key, item)))
        .collect();
    metadata.sort_by_key(|(key, _)| *key);
    metadata_record(&mut code, &metadata);
    Ok(code.finish())
}

fn metadata_record(code: &mut Code, records: &[(i16, &Item)]) {
    let short = |item: &Item| item.name.trim_end_matches("Record").to_owned();
    code.line("");
    code.line("/// Any record of the cluster's metadata log.");
    code.line("#[derive(Clone, Debug, PartialEq)]");
    code.block("pub enum MetadataRecord", |code| {
        for (key, item) in records {
            code.line(format!("/// Type {key}, versions {}.", item.versions));
            code.line(format!("{}({}),", short(item), item.name));
        }
    });
    code.line("");
    code.block("impl MetadataRecord", |code| {
        code.line("/// The number of the record's type.");
        code.block("pub const fn record_type(&self) -> i16", |code| {
            code.block("match self", |code| {
                for (key, item) in records {
                    code.line(format!("Self::{}(_) => {key},", short(item)));
                }
            });
        });
        code.line("");
        code.line("/// The newest version of the record's type.");
        code.line("#[allow(clippy::match_same_arms)]");
        code.block("pub const fn latest_version(&self) -> i16", |code| {
            code.block("match self", |code| {
                for (_, item) in records {
                    code.line(format!("Self::{}(_) => {},", short(item), item.versions.hi));
                }
            });
        });
        code.line("");
        code.line(
            "/// Appends the record's fields, without the frame that names type and version.",
        );
        let head =
            "pub fn encode_body(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError>";
        code.block(head, |code| {
            code.block("match self", |code| {
                for (_, item) in records {
                    code.line(format!(
                        "Self::{}(record) => record.encode(e, version),",
                        short(item)
                    ));
                }
            });
        });
        code.line("");
        code.line(
            "/// Takes the fields of a record of `record_type`; `None` for a type unknown here.",
        );
        code.line("pub fn decode_body(");
        code.line("    d: &mut Decoder,");
        code.line("    record_type: i16,");
        code.line("    version: i16,");
        code.block(") -> Result<Option<Self>, DecodeError>", |code| {
            code.line("Ok(Some(match record_type {");
            code.indented(|code| {
                for (key, item) in records {
                    code.line(format!("{key} => Self::{}(d.read(version)?),", short(item)));
                }
                code.line("_ => return Ok(None),");
            });
            code.line("}))");
        });
    });
    for (_, item) in records {
        code.line("");
        code.block(format!("impl From<{}> for MetadataRecord", item.name), |code| {
            code.block(format!("fn from(record: {}) -> Self", item.name), |code| {
                code.line(format!("Self::{}(record)", short(item)));
            });
        });
    }
}
