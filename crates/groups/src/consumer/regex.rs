//! Subscriptions by regular expression, matched by the broker in linear time.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::RegexBuilder;

use super::topics::Topics;

/// What a compiled expression may take, so that a client cannot fill the memory with one line.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// How deep groups may be nested.
const MAX_NESTING: u32 = 50;
/// How long an expression may be.
const MAX_LEN: usize = 8 * 1024;

/// An expression that matches whole names, as Kafka's does.
pub(crate) fn compile(expression: &str) -> Result<regex::Regex, String> {
    if expression.len() > MAX_LEN {
        return Err(format!("it is longer than {MAX_LEN} bytes"));
    }
    RegexBuilder::new(&format!("^(?:{expression})$"))
        .size_limit(MAX_COMPILED_BYTES)
        .nest_limit(MAX_NESTING)
        .build()
        .map_err(|error| error.to_string())
}

/// The topics that an expression matches now.
pub(crate) fn resolve(expression: &regex::Regex, topics: &dyn Topics) -> BTreeSet<Arc<str>> {
    let mut found = BTreeSet::new();
    topics.each_name(&mut |name| {
        if expression.is_match(name) {
            found.insert(Arc::clone(name));
        }
    });
    found
}
