//! [`paths`]: every path that code names, groups of `use` written out.

/// Path and line of every path in `code` (as [`code_only`](super::source::code_only) returns it). `use a::{b, c::*}` gives `a::b` and
/// `a::c::*`; a lone word is a path too.
pub(crate) fn paths(code: &str) -> Vec<(String, usize)> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = read(&tokens, at, "", &mut found);
    }
    found
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Colons,
    Sign(char),
}

fn tokens(code: &str) -> Vec<(Token<'_>, usize)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(c) = rest.chars().next() {
            let token;
            (token, rest) = if is_word(c) {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                (Token::Word(word), after)
            } else if let Some(after) = rest.strip_prefix("::") {
                (Token::Colons, after)
            } else {
                (Token::Sign(c), rest.get(c.len_utf8()..).unwrap_or_default())
            };
            tokens.push((token, number + 1));
            rest = rest.trim_start();
        }
    }
    tokens
}

/// Reads what begins at `at` below `prefix`; returns where to go on.
fn read(
    tokens: &[(Token<'_>, usize)],
    at: usize,
    prefix: &str,
    found: &mut Vec<(String, usize)>,
) -> usize {
    let Some((Token::Word(word), line)) = tokens.get(at).copied() else { return at + 1 };
    let mut path = match (prefix, word) {
        ("", _) => word.to_owned(),
        (_, "self") => prefix.to_owned(),
        _ => format!("{prefix}::{word}"),
    };
    let mut next = at + 1;
    while let Some((Token::Colons, _)) = tokens.get(next) {
        match tokens.get(next + 1) {
            Some((Token::Word(word), _)) => {
                path = format!("{path}::{word}");
                next += 2;
            }
            Some((Token::Sign('{'), _)) => return read_group(tokens, next + 2, &path, found),
            Some((Token::Sign('*'), _)) => {
                path.push_str("::*");
                next += 2;
            }
            _ => break,
        }
    }
    found.push((path, line));
    next
}

fn read_group(
    tokens: &[(Token<'_>, usize)],
    mut at: usize,
    prefix: &str,
    found: &mut Vec<(String, usize)>,
) -> usize {
    loop {
        match tokens.get(at) {
            None => return at,
            Some((Token::Sign('}'), _)) => return at + 1,
            Some((Token::Word("as"), _)) => at += 2,
            Some(_) => at = read(tokens, at, prefix, found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: &str, expected: &[&str]) {
        let got: Vec<String> = paths(code).into_iter().map(|(path, _)| path).collect();
        assert_eq!(got, expected, "{code}");
    }

    #[test]
    fn groups_are_written_out() {
        check(
            "use std::{fs, io::{self, Read}, net::*};",
            &["use", "std::fs", "std::io", "std::io::Read", "std::net::*"],
        );
        check("use a::{b as c, d};", &["use", "a::b", "a::d"]);
        check("tokio::spawn(x)", &["tokio::spawn", "x"]);
        check("Vec::<u8>::new()", &["Vec", "u8", "new"]);
    }

    #[test]
    fn lines_are_those_of_the_leaf() {
        assert_eq!(paths("use std::{\n  io,\n  fs,\n};").last(), Some(&("std::fs".to_owned(), 3)));
    }
}
