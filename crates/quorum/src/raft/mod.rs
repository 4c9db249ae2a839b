//! Several nodes, one log: openraft behind the handle.
//!
//! Key type: [`node::Node`]. What openraft needs: `types` (its type configuration), `runtime`, `log`, `entries` and `vote` (what
//! is on disk), `machine` and `difference` (what is applied), `network`, `places` and `message` (what is sent, and where to).
//! What it is driven by: `elections` (when to ask for votes), `campaign` (asking), `handover` (a leader that stops), `propose`
//! (commands), `members` (who takes part), `receive` (messages of others).

use std::time::Duration;

pub(crate) mod campaign;
pub(crate) mod control;
pub(crate) mod difference;
pub(crate) mod elections;
pub(crate) mod entries;
pub(crate) mod handover;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod members;
pub(crate) mod message;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod open;
pub(crate) mod places;
pub(crate) mod propose;
pub(crate) mod receive;
pub(crate) mod runtime;
pub(crate) mod types;
pub(crate) mod vote;

/// How long openraft itself keeps voters from voting after they heard a leader. Next to nothing: the probe before an election
/// sees to it that a leader which is alive is not unseated, and one that is gone can be replaced at once.
const LEASE: Duration = Duration::from_millis(2);
