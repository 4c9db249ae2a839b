//! `millstream group`: one file per verb.

mod delete;
mod describe;
mod list;
mod reset;
pub(crate) mod scope;
mod show;
pub(crate) mod watch;

use clap::Subcommand;
use millstream_base::ErrorCode;
use millstream_client::Admin;

use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// The verbs of `group`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List consumer groups
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show members, committed offsets and lag of groups
    Describe(describe::Args),
    /// Change where a group goes on reading
    #[command(visible_alias = "seek")]
    Reset(reset::Args),
    /// Delete groups with their committed offsets
    #[command(visible_alias = "rm")]
    Delete(delete::Args),
}

pub(crate) async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::List(args) => list::run(context, &args).await,
        Command::Describe(args) => describe::run(context, &args).await,
        Command::Reset(args) => reset::run(context, &args).await,
        Command::Delete(args) => delete::run(context, &args).await,
    }
}

/// Fails while the group has members, and names them; a group that is not there has none.
async fn refuse_members(admin: &Admin, group: &str) -> Result<(), Failure> {
    let described = match admin.describe_group(group).await {
        Ok(described) => described,
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if described.members.is_empty() {
        return Ok(());
    }
    let shown = described.members.iter().take(3);
    let names: Vec<String> =
        shown.map(|member| format!("{} at {}", member.client_id, member.host)).collect();
    let more = if described.members.len() > names.len() { ", ..." } else { "" };
    let count = described.members.len();
    let message = format!(
        "group `{group}` is {} and has {count} member(s) ({}{more})",
        described.state,
        names.join(", ")
    );
    Err(Failure::failed(message)
        .hint("stop the group's consumers first: they would commit over what is set here"))
}
