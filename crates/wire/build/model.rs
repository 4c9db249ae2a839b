//! Turns the table into what Rust needs: names, types, the versions of each struct, and the least
//! number of bytes that a value takes on the wire. Key type: [`Module`].

use std::collections::BTreeMap;

use crate::table::{self, Message, Range};

/// What becomes one Rust module.
pub struct Module {
    pub name: String,
    pub items: Vec<Item>,
}

/// What becomes one Rust struct.
pub struct Item {
    /// The Rust name.
    pub name: String,
    /// The head of the message that it belongs to.
    pub message: Message,
    /// Whether this is the message itself and not a struct inside it.
    pub top: bool,
    /// The versions in which a value of this struct can stand on the wire.
    pub versions: Range,
    pub fields: Vec<Field>,
    /// The least number of bytes on the wire over all versions, at least 1.
    pub min_bytes: usize,
}

pub struct Field {
    /// The Rust name, raw where it is a keyword.
    pub name: String,
    /// The table's name.
    pub table_name: String,
    pub base: Base,
    pub array: bool,
    pub versions: Range,
    /// Within `versions`.
    pub null: Option<Range>,
    pub tag: Option<u32>,
    pub default: Option<String>,
    pub ignorable: bool,
    pub never_flexible: bool,
    pub entity: Option<String>,
}

/// The type of a value, or of an array's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// A type of fixed size that Rust has: its name and its size.
    Plain(&'static str, usize),
    Uuid,
    Str,
    Bytes,
    Records,
    Struct(String),
}

impl Field {
    pub fn nullable(&self) -> bool {
        self.null.is_some()
    }

    /// Whether the default is null. Records are null by default whenever they may be.
    pub fn default_is_null(&self) -> bool {
        self.nullable() && (self.default.as_deref() == Some("null") || self.base == Base::Records)
    }
}

impl Item {
    /// Whether `version` has compact types and tagged fields.
    pub fn flexible_from(&self) -> Option<i16> {
        self.message.flexible
    }
}

impl Module {
    pub fn api(messages: Vec<Message>) -> Result<Self, String> {
        let name = messages
            .iter()
            .find_map(|m| m.name.strip_suffix("Request"))
            .ok_or("no request in the file")?;
        Self::new(snake(name), messages, |message| {
            if message.kind == "request" { "Request".to_owned() } else { "Response".to_owned() }
        })
    }

    pub fn stored(messages: Vec<Message>) -> Result<Self, String> {
        Self::new("stored".to_owned(), messages, |message| {
            let name = message.name.as_str();
            let cut = ["Value", "Key", "Record"].iter().find_map(|end| name.strip_suffix(end));
            cut.unwrap_or(name).to_owned()
        })
    }

    pub fn headers(messages: Vec<Message>) -> Result<Self, String> {
        Self::new("header".to_owned(), messages, |message| message.name.clone())
    }

    pub fn api_key(&self) -> i16 {
        self.items.first().and_then(|item| item.message.key).unwrap_or(-1)
    }

    /// The items that are messages themselves.
    pub fn messages(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.top)
    }

    /// Names stay the table's where they are the only one in the module; `prefix` goes before the
    /// others.
    fn new(
        name: String,
        messages: Vec<Message>,
        prefix: impl Fn(&Message) -> String,
    ) -> Result<Self, String> {
        let mut uses: BTreeMap<String, usize> = BTreeMap::new();
        for message in &messages {
            *uses.entry(message.name.clone()).or_default() += 1;
            for inner in &message.structs {
                *uses.entry(inner.name.clone()).or_default() += 1;
            }
        }
        let mut items = Vec::new();
        for message in messages {
            let rust_name = |table_name: &str| {
                if uses.get(table_name) == Some(&1) {
                    table_name.to_owned()
                } else {
                    format!("{}{table_name}", prefix(&message))
                }
            };
            add_message(&mut items, &message, &rust_name)?;
        }
        let mut names: Vec<&str> = items.iter().map(|item: &Item| item.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(format!("name clash in {name}: {twice:?}"));
        }
        Ok(Self { name, items })
    }
}

/// Adds a message and its structs to `items`.
fn add_message(
    items: &mut Vec<Item>,
    message: &Message,
    rust_name: &dyn Fn(&str) -> String,
) -> Result<(), String> {
    let mut versions: BTreeMap<&str, Range> = BTreeMap::new();
    spread_versions(message, &message.fields, message.versions, &mut versions);
    let top = std::iter::once((message.name.as_str(), &message.fields, message.versions));
    let inner = message.structs.iter().filter_map(|s| {
        // A struct that no valid version reaches is left out.
        versions.get(s.name.as_str()).map(|&range| (s.name.as_str(), &s.fields, range))
    });
    for (name, fields, range) in top.chain(inner) {
        let mut rust_fields = Vec::new();
        for field in fields {
            rust_fields.extend(resolve(message, field, range, rust_name)?);
        }
        let is_top = name == message.name;
        items.push(Item {
            name: if is_top { name.to_owned() } else { rust_name(name) },
            message: message.clone(),
            top: is_top,
            versions: range,
            fields: rust_fields,
            min_bytes: min_bytes(message, fields, range, 0)?,
        });
    }
    Ok(())
}

/// Notes for each struct the hull of the versions of its uses.
fn spread_versions<'m>(
    message: &'m Message,
    fields: &'m [table::Field],
    context: Range,
    versions: &mut BTreeMap<&'m str, Range>,
) {
    for field in fields {
        let Some(range) = present(field).intersect(context) else { continue };
        let Some(inner) = message.structs.iter().find(|s| s.name == field.ty) else { continue };
        let hull = versions.get(field.ty.as_str()).map_or(range, |known| Range {
            lo: known.lo.min(range.lo),
            hi: known.hi.max(range.hi),
        });
        versions.insert(field.ty.as_str(), hull);
        spread_versions(message, &inner.fields, hull, versions);
    }
}

/// The versions in which a field is on the wire. A tagged field exists from where it is tagged.
fn present(field: &table::Field) -> Range {
    field.tag.map_or(field.versions, |(_, tagged)| tagged)
}

/// The field as Rust has it; `None` when no version of its struct carries it.
fn resolve(
    message: &Message,
    field: &table::Field,
    context: Range,
    rust_name: &dyn Fn(&str) -> String,
) -> Result<Option<Field>, String> {
    let Some(versions) = present(field).intersect(context) else { return Ok(None) };
    let base = match field.ty.as_str() {
        ty if message.structs.iter().any(|s| s.name == ty) => Base::Struct(rust_name(ty)),
        ty => plain(ty).ok_or_else(|| format!("{}.{}: type {ty}", message.name, field.name))?,
    };
    Ok(Some(Field {
        name: field_name(&field.name),
        table_name: field.name.clone(),
        base,
        array: field.array,
        versions,
        null: field.null.and_then(|null| null.intersect(versions)),
        tag: field.tag.map(|(tag, _)| tag),
        default: field.default.clone(),
        ignorable: field.ignorable,
        never_flexible: field.never_flexible,
        entity: field.entity.clone(),
    }))
}

fn plain(ty: &str) -> Option<Base> {
    Some(match ty {
        "bool" => Base::Plain("bool", 1),
        "int8" => Base::Plain("i8", 1),
        "int16" => Base::Plain("i16", 2),
        "uint16" => Base::Plain("u16", 2),
        "int32" => Base::Plain("i32", 4),
        "uint32" => Base::Plain("u32", 4),
        "int64" => Base::Plain("i64", 8),
        "float64" => Base::Plain("f64", 8),
        "uuid" => Base::Uuid,
        "string" => Base::Str,
        "bytes" => Base::Bytes,
        "records" => Base::Records,
        _ => return None,
    })
}

/// The least bytes that `fields` take in any version of `context`, at least 1: what bounds the
/// number of elements that a frame can hold.
fn min_bytes(
    message: &Message,
    fields: &[table::Field],
    context: Range,
    depth: usize,
) -> Result<usize, String> {
    if depth > 16 {
        return Err(format!("{}: a struct holds itself", message.name));
    }
    let mut least = usize::MAX;
    for version in context.lo..=context.hi {
        let flexible = message.flexible.is_some_and(|from| version >= from);
        let mut sum = usize::from(flexible);
        for field in fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version)) {
            let flexible = flexible && !field.never_flexible;
            let inner = message.structs.iter().find(|s| s.name == field.ty);
            sum += match (field.array, inner, plain(&field.ty)) {
                (false, Some(_), _) if field.null.is_some() => 1,
                (false, Some(s), _) => {
                    let only = Range { lo: version, hi: version };
                    min_bytes(message, &s.fields, only, depth + 1)?
                }
                (false, _, Some(Base::Plain(_, size))) => size,
                (false, _, Some(Base::Uuid)) => 16,
                _ if flexible => 1,
                (false, _, Some(Base::Str)) => 2,
                _ => 4,
            };
        }
        least = least.min(sum);
    }
    Ok(least.max(1))
}

/// `TopicData` -> `topic_data`; a run of capitals counts as one word with what follows it.
pub fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            if !out.is_empty() {
                out.push('_');
            }
            out.push(c.to_ascii_lowercase());
        } else {
            out.push(c);
        }
    }
    out
}

fn field_name(name: &str) -> String {
    let snake = snake(name);
    match snake.as_str() {
        "type" | "match" | "move" | "ref" | "use" => format!("r#{snake}"),
        _ => snake,
    }
}
