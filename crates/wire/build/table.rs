//! Reads the protocol table's notation. Key type: [`Message`].
//!
//! Only syntax is handled here: what a line says, not what it means. Unknown words are errors, so
//! that the table cannot grow an attribute that the generator ignores.

/// An inclusive range of versions; `hi` is `i16::MAX` for an open end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub lo: i16,
    pub hi: i16,
}

impl Range {
    pub fn intersect(self, other: Self) -> Option<Self> {
        let both = Self { lo: self.lo.max(other.lo), hi: self.hi.min(other.hi) };
        (both.lo <= both.hi).then_some(both)
    }

    pub fn contains(self, version: i16) -> bool {
        self.lo <= version && version <= self.hi
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self { lo, hi: i16::MAX } => write!(f, "{lo}+"),
            Self { lo, hi } if lo == hi => write!(f, "{lo}"),
            Self { lo, hi } => write!(f, "{lo}-{hi}"),
        }
    }
}

/// One request, response, header, stored record or control record.
#[derive(Clone, Debug)]
pub struct Message {
    pub kind: String,
    pub name: String,
    pub key: Option<i16>,
    pub versions: Range,
    /// The first version with compact types and tagged fields; `None`: never.
    pub flexible: Option<i16>,
    pub latest_unstable: bool,
    pub listeners: Vec<String>,
    pub fields: Vec<Field>,
    /// Every struct of the message, in the order of the table.
    pub structs: Vec<Struct>,
}

#[derive(Clone, Debug)]
pub struct Struct {
    pub name: String,
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    /// The type's name without `[]`.
    pub ty: String,
    pub array: bool,
    pub versions: Range,
    pub null: Option<Range>,
    pub tag: Option<(u32, Range)>,
    pub default: Option<String>,
    pub ignorable: bool,
    pub never_flexible: bool,
    pub entity: Option<String>,
}

struct Line<'a> {
    number: usize,
    depth: usize,
    text: &'a str,
}

/// All messages of one file.
pub fn parse(text: &str) -> Result<Vec<Message>, String> {
    let mut messages = Vec::new();
    let lines: Vec<Line<'_>> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| Line {
            number: index + 1,
            depth: (line.len() - line.trim_start().len()) / 2,
            text: line.trim(),
        })
        .collect();
    let mut rest = lines.as_slice();
    while let Some((head, after)) = rest.split_first() {
        let end = after.iter().position(|line| line.depth == 0).unwrap_or(after.len());
        let (body, next) = after.split_at(end);
        let mut message =
            parse_head(head.text).map_err(|e| format!("line {}: {e}", head.number))?;
        message.fields = parse_fields(body, 1, &mut message.structs)?;
        messages.push(message);
        rest = next;
    }
    Ok(messages)
}

fn parse_head(text: &str) -> Result<Message, String> {
    let mut words = text.split_whitespace();
    let (Some(kind), Some(name)) = (words.next(), words.next()) else {
        return Err(format!("head without kind and name: {text}"));
    };
    let mut message = Message {
        kind: kind.to_owned(),
        name: name.to_owned(),
        key: None,
        versions: Range { lo: 0, hi: -1 },
        flexible: None,
        latest_unstable: false,
        listeners: Vec::new(),
        fields: Vec::new(),
        structs: Vec::new(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("key", value)) => message.key = Some(number(value)?),
            Some(("versions", value)) => message.versions = range(value)?,
            Some(("flexible", "none")) => {}
            Some(("flexible", value)) => message.flexible = Some(range(value)?.lo),
            Some(("listeners", value)) => {
                message.listeners = value.split(',').map(str::to_owned).collect();
            }
            None if word == "latest-unstable" => message.latest_unstable = true,
            _ => return Err(format!("unknown word in a head: {word}")),
        }
    }
    if message.versions.lo > message.versions.hi {
        return Err(format!("{name} has no versions"));
    }
    Ok(message)
}

/// The fields at `depth`; deeper lines go to the struct of the field before them, and `struct`
/// blocks to `structs`.
fn parse_fields(
    lines: &[Line<'_>],
    depth: usize,
    structs: &mut Vec<Struct>,
) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    let mut rest = lines;
    while let Some((line, after)) = rest.split_first() {
        if line.depth != depth {
            return Err(format!("line {}: indented too far", line.number));
        }
        let end = after.iter().position(|l| l.depth <= depth).unwrap_or(after.len());
        let (inner, next) = after.split_at(end);
        let owner = if let Some(head) = line.text.strip_prefix("struct ") {
            head.split_whitespace().next().map(str::to_owned)
        } else {
            let field = parse_field(line.text).map_err(|e| format!("line {}: {e}", line.number))?;
            let ty = field.ty.clone();
            fields.push(field);
            Some(ty)
        };
        if !inner.is_empty() {
            let name =
                owner.ok_or_else(|| format!("line {}: struct without a name", line.number))?;
            if structs.iter().any(|s| s.name == name) {
                return Err(format!("line {}: struct {name} twice", line.number));
            }
            // The place is taken first, so that outer structs come before inner ones.
            let place = structs.len();
            structs.push(Struct { name, fields: Vec::new() });
            let inner_fields = parse_fields(inner, depth + 1, structs)?;
            if let Some(slot) = structs.get_mut(place) {
                slot.fields = inner_fields;
            }
        }
        rest = next;
    }
    Ok(fields)
}

fn parse_field(text: &str) -> Result<Field, String> {
    let (name, rest) = text.split_once(": ").ok_or_else(|| format!("not a field: {text}"))?;
    let mut words = rest.split_whitespace();
    let (Some(ty), Some(versions)) = (words.next(), words.next()) else {
        return Err(format!("field without type and versions: {text}"));
    };
    let mut field = Field {
        name: name.to_owned(),
        ty: ty.trim_start_matches("[]").to_owned(),
        array: ty.starts_with("[]"),
        versions: range(versions)?,
        null: None,
        tag: None,
        default: None,
        ignorable: false,
        never_flexible: false,
        entity: None,
    };
    for word in words {
        match word.split_once('=') {
            Some(("null", value)) => field.null = Some(range(value)?),
            Some(("tag", value)) => {
                let (tag, versions) = value.split_once('@').ok_or("tag without @")?;
                field.tag = Some((number(tag)?, range(versions)?));
            }
            Some(("default", value)) => field.default = Some(value.to_owned()),
            Some(("entity", value)) => field.entity = Some(value.to_owned()),
            Some(("flexible", "none")) => field.never_flexible = true,
            None if word == "ignorable" => field.ignorable = true,
            None if word == "key" || word == "zero-copy" => {}
            _ => return Err(format!("unknown attribute: {word}")),
        }
    }
    Ok(field)
}

fn range(text: &str) -> Result<Range, String> {
    if let Some(lo) = text.strip_suffix('+') {
        return Ok(Range { lo: number(lo)?, hi: i16::MAX });
    }
    match text.split_once('-') {
        Some((lo, hi)) => Ok(Range { lo: number(lo)?, hi: number(hi)? }),
        None => number(text).map(|only| Range { lo: only, hi: only }),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}
