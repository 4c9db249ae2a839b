//! `millstream group describe`.

use std::collections::BTreeMap;

use millstream_base::{ErrorCode, TopicPartition};
use millstream_client::{
    Admin, ClientError, CommittedOffsets, GroupDescription, GroupMember, OffsetSpec,
};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Output, Style};

/// Show members, committed offsets and lag of groups
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  millstream group describe billing

COMMITTED is the next record that the group will read, END the next that will be written,
LAG what lies between. In a pipe each line has: group, topic, partition, committed, end,
lag, member, host.")]
pub(crate) struct Args {
    /// The groups' ids
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// Show the members instead of the partitions
    #[arg(short, long)]
    members: bool,
}

#[derive(Serialize)]
struct Described {
    group: String,
    state: String,
    protocol: String,
    assignor: String,
    lag: i64,
    members: Vec<Member>,
    partitions: Vec<Partition>,
}

#[derive(Serialize)]
struct Member {
    member: String,
    instance: Option<String>,
    client: String,
    host: String,
    partitions: Vec<String>,
}

#[derive(Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    end: Option<i64>,
    lag: Option<i64>,
    member: Option<String>,
    host: Option<String>,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    let mut described = Vec::with_capacity(args.groups.len());
    for group in &args.groups {
        let description = admin.describe_group(group).await?;
        let committed = admin.committed_offsets(group).await?;
        described.push(describe(&admin, &description, &committed).await?);
    }
    if context.out.json(&described)? {
        return Ok(());
    }
    for (place, group) in described.iter().enumerate() {
        if place > 0 && context.out.style == Style::Table {
            context.out.line("")?;
        }
        print(context.out, group, args.members)?;
    }
    Ok(())
}

async fn describe(
    admin: &Admin,
    group: &GroupDescription,
    committed: &CommittedOffsets,
) -> Result<Described, ClientError> {
    let mut owners: BTreeMap<&TopicPartition, Option<&GroupMember>> =
        committed.keys().map(|partition| (partition, None)).collect();
    for member in &group.members {
        owners.extend(member.assignment.iter().map(|partition| (partition, Some(member))));
    }
    let mut partitions = Vec::with_capacity(owners.len());
    let ends = ends(admin, owners.keys().copied()).await?;
    for (&partition, &owner) in &owners {
        let committed = committed.get(partition).map(|committed| committed.offset.get());
        let end = ends.get(partition).copied();
        let lag = committed.zip(end).map(|(committed, end)| (end - committed).max(0));
        partitions.push(Partition {
            topic: partition.topic.to_string(),
            partition: partition.partition.get(),
            committed,
            end,
            lag,
            member: owner.map(|member| member.member_id.clone()),
            host: owner.map(|member| member.host.clone()),
        });
    }
    let member = |member: &GroupMember| Member {
        member: member.member_id.clone(),
        instance: member.instance_id.clone(),
        client: member.client_id.clone(),
        host: member.host.clone(),
        partitions: member.assignment.iter().map(ToString::to_string).collect(),
    };
    Ok(Described {
        group: group.group_id.clone(),
        state: group.state.clone(),
        protocol: group.protocol_type.clone(),
        assignor: group.assignor.clone(),
        lag: partitions.iter().filter_map(|partition| partition.lag).sum(),
        members: group.members.iter().map(member).collect(),
        partitions,
    })
}

/// The ends of partitions, topic by topic: a topic that is gone has none.
async fn ends(
    admin: &Admin,
    partitions: impl Iterator<Item = &TopicPartition>,
) -> Result<BTreeMap<TopicPartition, i64>, ClientError> {
    let mut by_topic: BTreeMap<&str, BTreeMap<TopicPartition, OffsetSpec>> = BTreeMap::new();
    for partition in partitions {
        let wanted = by_topic.entry(&partition.topic).or_default();
        wanted.insert(partition.clone(), OffsetSpec::Latest);
    }
    let mut ends = BTreeMap::new();
    for wanted in by_topic.values() {
        match admin.list_offsets(wanted).await {
            Ok(listed) => ends.extend(
                listed.into_iter().filter_map(|(p, listed)| Some((p, listed?.offset.get()))),
            ),
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ends)
}

fn print(out: Output, group: &Described, members: bool) -> std::io::Result<()> {
    let people = out.style == Style::Table;
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    if people {
        out.line(&format!(
            "group {}: {}, {} member(s), assignor {}, lag {}",
            group.group,
            group.state,
            group.members.len(),
            dash(&group.assignor),
            group.lag
        ))?;
    }
    if members {
        let rows: Vec<Vec<String>> = group
            .members
            .iter()
            .map(|m| {
                let instance = m.instance.as_deref().unwrap_or("-").to_owned();
                let partitions = dash(&m.partitions.join(" "));
                vec![m.member.clone(), instance, m.client.clone(), m.host.clone(), partitions]
            })
            .collect();
        return out.rows(&["member", "instance", "client", "host", "partitions"], &rows);
    }
    let shown = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let text = |text: &Option<String>| text.as_deref().unwrap_or("-").to_owned();
    let rows: Vec<Vec<String>> = group
        .partitions
        .iter()
        .map(|p| {
            let mut row = vec![
                p.topic.clone(),
                p.partition.to_string(),
                shown(p.committed),
                shown(p.end),
                shown(p.lag),
                text(&p.member),
                text(&p.host),
            ];
            if !people {
                row.insert(0, group.group.clone());
            }
            row
        })
        .collect();
    if rows.is_empty() && people {
        return out.line("nothing committed, nothing assigned");
    }
    out.rows(&["topic", "partition", "committed", "end", "lag", "member", "host"], &rows)
}
