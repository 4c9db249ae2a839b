//! [`ServerProperties`]: the text of a Java properties file, as name and value pairs.
//!
//! The format is Java's: `#` and `!` start a comment line; a name ends at the first `=`, `:` or blank that is not escaped; a
//! line that ends in an odd number of backslashes goes on in the next one, whose leading blanks do not count; `\t \n \r \f` and
//! `\uXXXX` stand for characters, and a backslash before anything else for that thing itself; the last of two equal names wins.
//! Nothing is judged here beyond the format.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;
use thiserror::Error;

/// What a properties file says, and what was set over it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerProperties {
    values: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    value: String,
    /// Where the file says it; none for what was set over the file.
    line: Option<usize>,
}

/// Why a text is not a properties file or an override not `name=value`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PropertiesError {
    /// `\u` without four hexadecimal digits.
    #[error(
        "line {line}: `\\u` needs four hexadecimal digits; write `\\\\u` for a backslash and a u"
    )]
    Unicode {
        /// The line on which the escape stands, from 1.
        line: usize,
    },
    /// A line with a value and no name.
    #[error("line {line}: there is no name before `{separator}`")]
    NoName {
        /// The line, from 1.
        line: usize,
        /// What stands in its place.
        separator: char,
    },
    /// An override without `=`.
    #[error("`{0}` is not an override: write name=value")]
    NotAnAssignment(String),
}

impl ServerProperties {
    /// Reads the text of a properties file.
    ///
    /// # Errors
    /// With the line number, when an escape is broken or a line has no name.
    pub fn parse(text: &str) -> Result<Self, PropertiesError> {
        let mut values = BTreeMap::new();
        for (line, logical) in logical_lines(text) {
            let mut chars = logical.chars().peekable();
            let name = read_name(&mut chars, line)?;
            let separator = skip_separator(&mut chars);
            if name.is_empty() {
                return Err(PropertiesError::NoName { line, separator: separator.unwrap_or('=') });
            }
            let value = read_rest(&mut chars, line)?;
            values.insert(name, Entry { value, line: Some(line) });
        }
        Ok(Self { values })
    }

    /// Sets `name` to `value`, over what the file says.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.values.insert(name.into(), Entry { value: value.into(), line: None });
    }

    /// Sets what an override of the form `name=value` says.
    ///
    /// # Errors
    /// [`PropertiesError::NotAnAssignment`] when there is no `=` or no name before it.
    pub fn set_assignment(&mut self, assignment: &str) -> Result<(), PropertiesError> {
        match assignment.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                self.set(name.trim(), value.trim());
                Ok(())
            }
            _ => Err(PropertiesError::NotAnAssignment(assignment.to_owned())),
        }
    }

    /// The value of `name`, if it is set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|entry| entry.value.as_str())
    }

    /// The line of the file that sets `name`; `None` when the file does not, or was overridden.
    #[must_use]
    pub fn line(&self, name: &str) -> Option<usize> {
        self.values.get(name)?.line
    }

    /// All names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, entry)| (name.as_str(), entry.value.as_str()))
    }
}

/// Lines with their continuations joined and comments and blank lines left out, each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    for (i, raw) in text.split(['\n', '\r']).enumerate() {
        let content = raw.trim_start_matches(is_blank);
        if open.is_none() && (content.is_empty() || content.starts_with(['#', '!'])) {
            continue;
        }
        let (number, mut joined) = open.take().unwrap_or((i + 1, String::new()));
        let backslashes = content.chars().rev().take_while(|c| *c == '\\').count();
        if backslashes % 2 == 1 {
            joined.push_str(content.strip_suffix('\\').unwrap_or(content));
            open = Some((number, joined));
        } else {
            joined.push_str(content);
            lines.push((number, joined));
        }
    }
    lines.extend(open.filter(|(_, joined)| !joined.is_empty()));
    lines
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

fn read_name(chars: &mut Peekable<Chars<'_>>, line: usize) -> Result<String, PropertiesError> {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| !is_blank(*c) && !matches!(c, '=' | ':')) {
        name.push(unescape(c, chars, line)?);
    }
    Ok(name)
}

/// Skips blanks, one `=` or `:`, and blanks again.
fn skip_separator(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    while chars.next_if(|c| is_blank(*c)).is_some() {}
    let separator = chars.next_if(|c| matches!(c, '=' | ':'));
    while chars.next_if(|c| is_blank(*c)).is_some() {}
    separator
}

fn read_rest(chars: &mut Peekable<Chars<'_>>, line: usize) -> Result<String, PropertiesError> {
    let mut value = String::new();
    while let Some(c) = chars.next() {
        value.push(unescape(c, chars, line)?);
    }
    Ok(value)
}

fn unescape(
    c: char,
    chars: &mut Peekable<Chars<'_>>,
    line: usize,
) -> Result<char, PropertiesError> {
    if c != '\\' {
        return Ok(c);
    }
    match chars.next() {
        Some('t') => Ok('\t'),
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('f') => Ok('\x0c'),
        Some('u') => {
            let high = read_unit(chars, line)?;
            unicode(high, chars, line)
        }
        Some(other) => Ok(other),
        None => Ok('\\'),
    }
}

/// One UTF-16 code unit of four hexadecimal digits.
fn read_unit(chars: &mut Peekable<Chars<'_>>, line: usize) -> Result<u32, PropertiesError> {
    let broken = PropertiesError::Unicode { line };
    let mut unit = 0;
    for _ in 0..4 {
        let digit = chars.next().and_then(|c| c.to_digit(16)).ok_or_else(|| broken.clone())?;
        unit = unit * 16 + digit;
    }
    Ok(unit)
}

/// The character of a code unit, or of it and the `\uXXXX` that follows when it is the first half of a pair.
fn unicode(
    high: u32,
    chars: &mut Peekable<Chars<'_>>,
    line: usize,
) -> Result<char, PropertiesError> {
    let broken = PropertiesError::Unicode { line };
    if !(0xd800..0xdc00).contains(&high) {
        return char::from_u32(high).ok_or(broken);
    }
    if chars.next() != Some('\\') || chars.next() != Some('u') {
        return Err(broken);
    }
    let low = read_unit(chars, line)?;
    if !(0xdc00..0xe000).contains(&low) {
        return Err(broken);
    }
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let properties = ServerProperties::parse(text).unwrap();
        assert_eq!(properties.iter().collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn the_format_is_javas() {
        check("", &[]);
        check("# c\n ! c\n\n  \t\n", &[]);
        check(
            "a=1\nb:2\nc 3\nd = 4\ne\t:\t5\nf",
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5"), ("f", "")],
        );
        check("a=b=c:d", &[("a", "b=c:d")]);
        check("a==b", &[("a", "=b")]);
        check("  a  =  b  ", &[("a", "b  ")]);
        check("a=1\r\nb=2\rc=3", &[("a", "1"), ("b", "2"), ("c", "3")]);
        check("a=1\na=2", &[("a", "2")]);
        check("a=x,\\\n   y,\\\n   z\nb=1", &[("a", "x,y,z"), ("b", "1")]);
        check("a=x\\\\\nb=1", &[("a", "x\\"), ("b", "1")]);
        check("a=x\\", &[("a", "x")]);
        check("a=\\\n# not a comment", &[("a", "# not a comment")]);
        check("a=\\\n\nb=1", &[("a", ""), ("b", "1")]);
        check("a\\=b\\ c=d", &[("a=b c", "d")]);
        check("a=\\t\\n\\r\\f\\q\\\\", &[("a", "\t\n\r\x0cq\\")]);
        check("a=\\u0041\\u00e4\\ud83d\\ude00", &[("a", "Aä😀")]);
        check("\u{feff}a=1", &[("a", "1")]);
        check("a=b # not a comment", &[("a", "b # not a comment")]);
    }

    #[test]
    fn what_is_broken_is_said_with_its_line() {
        let cases = [
            (
                "a=1\nb=\\u12",
                "line 2: `\\u` needs four hexadecimal digits; write `\\\\u` for a backslash and a u",
            ),
            (
                "a=\\ud83d",
                "line 1: `\\u` needs four hexadecimal digits; write `\\\\u` for a backslash and a u",
            ),
            ("# c\n\n=x", "line 3: there is no name before `=`"),
            ("a=x\\\n y\n:z", "line 3: there is no name before `:`"),
        ];
        for (text, expected) in cases {
            assert_eq!(ServerProperties::parse(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn overrides_win() {
        let mut properties = ServerProperties::parse("a=1\nb=2").unwrap();
        properties.set_assignment("a = 3=4").unwrap();
        assert_eq!(properties.get("a"), Some("3=4"));
        assert!(properties.set_assignment("novalue").is_err());
        assert!(properties.set_assignment("=x").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ab=:\\\\u0-9d\n\r \t#!\u{1F600}]{0,60}") {
            let _ = ServerProperties::parse(&text);
        }

        #[test]
        fn any_value_survives_escaping(value in ".{0,40}") {
            let mut escaped = String::new();
            for unit in value.encode_utf16() {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
            let properties = ServerProperties::parse(&format!("name={escaped}")).unwrap();
            prop_assert_eq!(properties.get("name"), Some(value.as_str()));
        }
    }
}
