//! [`code_only`]: Rust source with comments, literals and unit tests blanked out, line for line as it was.

/// Blanks comments and the insides of literals. Lines keep their numbers.
pub(crate) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let end = skipped(&chars, at);
        if end == at {
            out.push(c);
            at += 1;
        } else {
            let gone = chars.get(at..end).unwrap_or_default();
            out.extend(gone.iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn skipped(chars: &[char], at: usize) -> usize {
    let get = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let before = if at == 0 { ' ' } else { get(at - 1) };
    match (get(at), get(at + 1)) {
        ('/', '/') => (at..chars.len()).find(|&i| get(i) == '\n').unwrap_or(chars.len()),
        ('/', '*') => block_comment_end(chars, at),
        ('"', _) => string_end(chars, at),
        ('r', '"' | '#') if !is_word(before) || before == 'b' => raw_string_end(chars, at),
        ('\'', '\\') => {
            (at + 3..chars.len()).find(|&i| get(i) == '\'').map_or(chars.len(), |i| i + 1)
        }
        ('\'', _) if get(at + 2) == '\'' => at + 3,
        _ => at,
    }
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0usize;
    let mut i = at;
    while i < chars.len() {
        match (chars.get(i), chars.get(i + 1)) {
            (Some('/'), Some('*')) => (depth, i) = (depth + 1, i + 2),
            (Some('*'), Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while let Some(c) = chars.get(i) {
        match c {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars.iter().skip(at + 1).take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return at;
    }
    let closes = |i: usize| {
        chars.get(i) == Some(&'"') && (1..=hashes).all(|h| chars.get(i + h) == Some(&'#'))
    };
    (open + 1..chars.len()).find(|&i| closes(i)).map_or(chars.len(), |i| i + 1 + hashes)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks each `#[cfg(test)] mod ... { ... }` of what [`code_only`] returned.
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) = out.get(from..).and_then(|rest| rest.find(MARK)) {
        let start = from + found;
        let end = item_end(&out, start + MARK.len());
        let blank: String = out
            .get(start..end)
            .unwrap_or_default()
            .chars()
            .map(|c| if c == '\n' { "\n".to_owned() } else { " ".repeat(c.len_utf8()) })
            .collect();
        out.replace_range(start..end, &blank);
        from = end;
    }
    out
}

/// Where the item after `at` ends: behind its closing brace, or its semicolon when it has no body.
fn item_end(code: &str, at: usize) -> usize {
    let mut depth = 0usize;
    for (i, c) in code.char_indices().skip_while(|(i, _)| *i < at) {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return i + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return i + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("f(\"std::fs \\\" x\") g", "f(              ) g"),
            ("r#\"a\"b\"# c", "         c"),
            ("'x' '\\'' 'a &'b", "         'a &'b"),
            ("for r in x", "for r in x"),
        ];
        for (text, expected) in cases {
            assert_eq!(code_only(text), expected);
        }
    }

    #[test]
    fn unit_tests_are_blank() {
        let code = "a;\n#[cfg(test)]\nmod tests { fn f() { std::fs } }\nb;";
        let left = without_tests(code);
        assert!(left.contains("a;") && left.contains("b;") && !left.contains("std"), "{left}");
        assert_eq!(left.lines().count(), code.lines().count());
        assert!(!without_tests("#[cfg(test)]\nmod tests;\nx").contains("mod"));
    }
}
