//! Writes `Encode` and `Decode` of one struct.
//!
//! The work is in the helpers of `Encoder` and `Decoder`; what is written here is the order of the
//! fields and the versions that carry them, so that the code stays small.

use crate::emit::{Code, base_type, plain_default};
use crate::model::{Base, Field, Item};
use crate::table::Range;

/// The expression for "this version is flexible" in an item: a literal where it is always the same.
fn flexible(item: &Item) -> &'static str {
    match item.flexible_from() {
        None => "false",
        Some(from) if from <= item.versions.lo => "true",
        Some(from) if from > item.versions.hi => "false",
        Some(_) => "flex",
    }
}

/// The condition "`version` is in `range`" within `context`; `None` when it always is.
pub fn condition(range: Range, context: Range) -> Option<String> {
    let (lo, hi) = (range.lo.max(context.lo), range.hi.min(context.hi));
    match (lo > context.lo, hi < context.hi) {
        (false, false) => None,
        _ if lo == hi => Some(format!("version == {lo}")),
        (true, false) => Some(format!("version >= {lo}")),
        (false, true) => Some(format!("version <= {hi}")),
        (true, true) => Some(format!("({lo}..={hi}).contains(&version)")),
    }
}

/// The opposite of [`condition`].
fn outside(range: Range, context: Range) -> Option<String> {
    let inside = condition(range, context)?;
    Some(if let Some(lo) = inside.strip_prefix("version >= ") {
        format!("version < {lo}")
    } else if let Some(hi) = inside.strip_prefix("version <= ") {
        format!("version > {hi}")
    } else if let Some(only) = inside.strip_prefix("version == ") {
        format!("version != {only}")
    } else {
        format!("!{inside}")
    })
}

/// Tagged fields in the order of their tags.
fn tagged(item: &Item) -> Vec<(u32, &Field)> {
    let mut fields: Vec<_> =
        item.fields.iter().filter_map(|field| field.tag.map(|tag| (tag, field))).collect();
    fields.sort_by_key(|(tag, _)| *tag);
    fields
}

pub fn codec(code: &mut Code, item: &Item) -> Result<(), String> {
    let (encode, decode) = (encode_body(item)?, decode_body(item));
    let name = |body: &str, name: &str| {
        if uses(body, name) { name.to_owned() } else { format!("_{name}") }
    };
    code.line("");
    code.block(format!("impl Encode for {}", item.name), |code| {
        let (e, version) = (name(&encode, "e"), name(&encode, "version"));
        let head = format!(
            "fn encode(&self, {e}: &mut Encoder, {version}: i16) -> Result<(), EncodeError>"
        );
        code.block(head, |code| code.lines(&encode));
    });
    code.line("");
    code.block(format!("impl Decode for {}", item.name), |code| {
        code.line(format!("const NAME: &'static str = \"{}\";", item.name));
        code.line(format!("const MIN_BYTES: usize = {};", item.min_bytes));
        code.line("");
        let (d, version) = (name(&decode, "d"), name(&decode, "version"));
        let head =
            format!("fn decode({d}: &mut Decoder, {version}: i16) -> Result<Self, DecodeError>");
        code.block(head, |code| code.lines(&decode));
    });
    Ok(())
}

/// Whether `code` names the variable `name` (and not a field or a longer name).
fn uses(code: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        let after = code.get(at + name.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(|c| part(c) || c == '.' || c == '"') && !after.is_some_and(part)
    })
}

impl Code {
    fn lines(&mut self, text: &str) {
        for line in text.lines() {
            self.line(line);
        }
    }
}

fn encode_body(item: &Item) -> Result<String, String> {
    let mut code = Code::default();
    let flex = flexible(item);
    if item.top {
        let range = item.versions;
        code.line(format!(
            "check_encode(\"{}\", version, {}, {})?;",
            item.name, range.lo, range.hi
        ));
    }
    if let ("flex", Some(from)) = (flex, item.flexible_from()) {
        code.line(format!("let flex = version >= {from};"));
    }
    for field in &item.fields {
        let not_default = not_default(field)?;
        let refuse = format!(
            "return Err(EncodeError::field(\"{}.{}\", version));",
            item.name,
            field.name.trim_start_matches("r#")
        );
        if field.tag.is_some() {
            if let (Some(outside), false) =
                (outside(field.versions, item.versions), field.ignorable)
            {
                code.block(format!("if {outside} && {not_default}"), |code| code.line(&refuse));
            }
            continue;
        }
        let flex = if field.never_flexible { "false" } else { flex };
        match condition(field.versions, item.versions) {
            None => put(&mut code, item, field, flex),
            Some(inside) => {
                code.line(format!("if {inside} {{"));
                code.indented(|code| put(code, item, field, flex));
                if !field.ignorable {
                    code.line(format!("}} else if {not_default} {{"));
                    code.indented(|code| code.line(&refuse));
                }
                code.line("}");
            }
        }
    }
    encode_tags(&mut code, item, flex)?;
    code.line("Ok(())");
    Ok(code.finish())
}

fn encode_tags(code: &mut Code, item: &Item, flex: &str) -> Result<(), String> {
    let fields = tagged(item);
    let mut body = Code::default();
    if fields.is_empty() {
        body.line("e.no_tags();");
    } else {
        body.line("let tags = e.tags();");
    }
    for (tag, field) in fields {
        let mut condition = condition(field.versions, flexible_range(item))
            .map_or_else(String::new, |inside| format!("{inside} && "));
        condition.push_str(&not_default(field)?);
        body.block(format!("if {condition}"), |code| {
            code.line(format!("let tag = e.tag(tags, {tag});"));
            put(code, item, field, "true");
            code.line("e.end_tag(tag)?;");
        });
    }
    let body = body.finish();
    match flex {
        "true" => code.lines(&body),
        "flex" => code.block("if flex", |code| code.lines(&body)),
        _ => {}
    }
    Ok(())
}

/// The versions of an item that are flexible.
fn flexible_range(item: &Item) -> Range {
    let from = item.flexible_from().unwrap_or(i16::MAX);
    Range { lo: item.versions.lo.max(from), hi: item.versions.hi }
}

/// Writes the statement that puts a field on the wire.
fn put(code: &mut Code, item: &Item, field: &Field, flex: &str) {
    let place = format!("self.{}", field.name);
    let Some(null) = field.null else {
        let by_value = !field.array && matches!(field.base, Base::Plain(..) | Base::Uuid);
        let value = if by_value { place } else { format!("&{place}") };
        code.line(put_value(field, &value, flex));
        return;
    };
    let nullable = put_nullable(field, &place, flex);
    match condition(null, field.versions.intersect(item.versions).unwrap_or(null)) {
        None => code.line(nullable),
        Some(may_be_null) => {
            let name = field.name.trim_start_matches("r#");
            code.line(format!("if {may_be_null} {{"));
            code.indented(|code| code.line(nullable));
            code.line("} else {");
            code.indented(|code| {
                let name = format!("\"{}.{name}\"", item.name);
                code.line(format!("let value = required({place}.as_ref(), {name}, version)?;"));
                code.line(put_value(field, "value", flex));
            });
            code.line("}");
        }
    }
}

fn put_value(field: &Field, value: &str, flex: &str) -> String {
    if field.array {
        return format!("e.array({value}, {flex}, version)?;");
    }
    match &field.base {
        Base::Plain(ty, _) => format!("e.{ty}({value});"),
        Base::Uuid => format!("e.uuid({value});"),
        Base::Str => format!("e.string({value}, {flex})?;"),
        Base::Bytes => format!("e.bytes({value}, {flex})?;"),
        Base::Records => format!("e.records({value}, {flex})?;"),
        Base::Struct(_) => format!("{}.encode(e, version)?;", value.trim_start_matches('&')),
    }
}

fn put_nullable(field: &Field, place: &str, flex: &str) -> String {
    if field.array {
        return format!("e.nullable_array({place}.as_deref(), {flex}, version)?;");
    }
    match &field.base {
        Base::Bytes => format!("e.nullable_bytes({place}.as_ref(), {flex})?;"),
        Base::Records => format!("e.nullable_records({place}.as_ref(), {flex})?;"),
        Base::Struct(_) => format!("e.nullable_struct({place}.as_ref(), version)?;"),
        _ => format!("e.nullable_string({place}.as_ref(), {flex})?;"),
    }
}

/// The condition that a field does not have its default.
fn not_default(field: &Field) -> Result<String, String> {
    let place = format!("self.{}", field.name);
    if field.default_is_null() {
        return Ok(format!("{place}.is_some()"));
    }
    if field.nullable() {
        return Ok(format!("{place}.as_ref().is_none_or(|value| !value.is_empty())"));
    }
    if field.array {
        return Ok(format!("!{place}.is_empty()"));
    }
    Ok(match &field.base {
        Base::Plain("bool", _) if field.default.as_deref() == Some("true") => format!("!{place}"),
        Base::Plain("bool", _) => place,
        Base::Plain(ty, _) => {
            format!("{place} != {}", plain_default(ty, field.default.as_deref())?)
        }
        Base::Uuid => format!("{place} != Uuid::ZERO"),
        Base::Struct(_) => format!("{place} != {}::default()", base_type(&field.base)),
        Base::Str | Base::Bytes | Base::Records => format!("!{place}.is_empty()"),
    })
}

fn decode_body(item: &Item) -> String {
    let mut code = Code::default();
    let flex = flexible(item);
    if item.top {
        let range = item.versions;
        code.line(format!(
            "check_decode(\"{}\", version, {}, {})?;",
            item.name, range.lo, range.hi
        ));
    }
    if let ("flex", Some(from)) = (flex, item.flexible_from()) {
        code.line(format!("let flex = version >= {from};"));
    }
    if item.fields.is_empty() {
        decode_tags(&mut code, item, flex);
        code.line("Ok(Self {})");
        return code.finish();
    }
    let always = |field: &Field| condition(field.versions, item.versions).is_none();
    if item.fields.iter().all(|field| field.tag.is_none() && always(field)) {
        code.line("let out = Self {");
        code.indented(|code| {
            for field in &item.fields {
                let flex = if field.never_flexible { "false" } else { flex };
                code.line(format!("{}: {},", field.name, get(item, field, flex)));
            }
        });
        code.line("};");
        decode_tags(&mut code, item, flex);
        code.line("Ok(out)");
        return code.finish();
    }
    code.line("let mut out = Self::default();");
    for field in item.fields.iter().filter(|field| field.tag.is_none()) {
        let flex = if field.never_flexible { "false" } else { flex };
        let set = format!("out.{} = {};", field.name, get(item, field, flex));
        match condition(field.versions, item.versions) {
            None => code.line(set),
            Some(inside) => code.block(format!("if {inside}"), |code| code.line(set)),
        }
    }
    decode_tags(&mut code, item, flex);
    code.line("Ok(out)");
    code.finish()
}

fn decode_tags(code: &mut Code, item: &Item, flex: &str) {
    let fields = tagged(item);
    let mut body = Code::default();
    if fields.is_empty() {
        body.line("d.skip_tags()?;");
    } else {
        body.line("d.tags(&mut |d, tag| {");
        body.indented(|body| {
            body.line("match tag {");
            body.indented(|body| {
                for (tag, field) in fields {
                    let guard = condition(field.versions, flexible_range(item))
                        .map_or_else(String::new, |inside| format!(" if {inside}"));
                    let value = get(item, field, "true");
                    body.line(format!("{tag}{guard} => out.{} = {value},", field.name));
                }
                body.line("_ => return Ok(false),");
            });
            body.line("}");
            body.line("Ok(true)");
        });
        body.line("})?;");
    }
    let body = body.finish();
    match flex {
        "true" => code.lines(&body),
        "flex" => code.block("if flex", |code| code.lines(&body)),
        _ => {}
    }
}

/// The expression that takes a field from the wire.
fn get(item: &Item, field: &Field, flex: &str) -> String {
    let value = get_value(field, flex);
    let Some(null) = field.null else { return value };
    let nullable = get_nullable(field, flex);
    match condition(null, field.versions.intersect(item.versions).unwrap_or(null)) {
        None => nullable,
        Some(may_be_null) => format!("if {may_be_null} {{ {nullable} }} else {{ Some({value}) }}"),
    }
}

fn get_value(field: &Field, flex: &str) -> String {
    if field.array {
        return format!("d.array({flex}, version)?");
    }
    match &field.base {
        Base::Plain(ty, _) => format!("d.{ty}()?"),
        Base::Uuid => "d.uuid()?".to_owned(),
        Base::Str => format!("d.string({flex})?"),
        Base::Bytes => format!("d.bytes({flex})?"),
        Base::Records => format!("d.records({flex})?"),
        Base::Struct(_) => "d.read(version)?".to_owned(),
    }
}

fn get_nullable(field: &Field, flex: &str) -> String {
    if field.array {
        return format!("d.nullable_array({flex}, version)?");
    }
    match &field.base {
        Base::Bytes => format!("d.nullable_bytes({flex})?"),
        Base::Records => format!("d.nullable_records({flex})?"),
        Base::Struct(_) if field.tag.is_some() => "d.nullable_tagged_struct(version)?".to_owned(),
        Base::Struct(_) => "d.nullable_struct(version)?".to_owned(),
        _ => format!("d.nullable_string({flex})?"),
    }
}
