//! Writes the builders that make arbitrary valid messages, for tests only.

use crate::model::Module;

pub fn testing(_apis: &[Module], _stored: &Module, _headers: &Module) -> Result<String, String> {
    Ok(String::new())
}
