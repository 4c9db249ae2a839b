//! `millstream group describe`: gathers what is known of groups.
//!
//! Key type: [`Described`]; `show` prints it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_base::{ErrorCode, TopicPartition};
use millstream_client::{
    Admin, ClientError, CommittedOffsets, GroupDescription, GroupMember, OffsetSpec,
};
use serde::Serialize;

use super::show;
use super::watch::Watch;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::Style;

/// Show members, committed offsets and lag of groups
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream group describe billing
  millstream group describe billing --members
  millstream group describe billing --watch=5s

COMMITTED is the next record that the group will read, END the next that will be written,
LAG what lies between. In a pipe each line has: group, topic, partition, committed, end,
lag, member, host; with --members: group, member, instance, client, host, topics, partitions.")]
pub(crate) struct Args {
    /// The groups' ids
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// Show the members instead of the partitions
    #[arg(short, long)]
    members: bool,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Serialize)]
pub(super) struct Described {
    pub(super) group: String,
    pub(super) state: String,
    pub(super) r#type: String,
    pub(super) protocol: String,
    pub(super) assignor: String,
    pub(super) coordinator: i32,
    /// Under the consumer protocol.
    pub(super) epoch: Option<i32>,
    pub(super) rebalance_reason: Option<String>,
    pub(super) lag: i64,
    pub(super) members: Vec<Member>,
    pub(super) partitions: Vec<Partition>,
    /// Partitions of subscribed topics that no member has, while there are members.
    pub(super) unowned: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Member {
    pub(super) member: String,
    pub(super) instance: Option<String>,
    pub(super) client: String,
    pub(super) host: String,
    pub(super) rack: Option<String>,
    pub(super) epoch: Option<i32>,
    pub(super) topics: Vec<String>,
    pub(super) topic_regex: Option<String>,
    pub(super) partitions: Vec<String>,
    /// What it shall have, where that is not yet what it has.
    pub(super) target: Option<Vec<String>>,
}

#[derive(Serialize)]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) committed: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) lag: Option<i64>,
    pub(super) member: Option<String>,
    pub(super) host: Option<String>,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    args.watch.run(context, async || look(context, args).await).await
}

async fn look(context: &Context, args: &Args) -> Outcome {
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
        show::print(context.out, group, args.members)?;
    }
    Ok(())
}

async fn describe(
    admin: &Admin,
    group: &GroupDescription,
    committed: &CommittedOffsets,
) -> Result<Described, ClientError> {
    let subscribed = subscribed(admin, group).await?;
    let mut owners: BTreeMap<&TopicPartition, Option<&GroupMember>> =
        subscribed.iter().chain(committed.keys()).map(|partition| (partition, None)).collect();
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
    let nobody = |partition: &&TopicPartition| owners.get(*partition) == Some(&None);
    Ok(Described {
        group: group.group_id.clone(),
        state: group.state.clone(),
        r#type: group.group_type.clone(),
        protocol: group.protocol_type.clone(),
        assignor: group.assignor.clone(),
        coordinator: group.coordinator.0,
        epoch: group.epoch,
        rebalance_reason: group.rebalance_reason.clone(),
        lag: partitions.iter().filter_map(|partition| partition.lag).sum(),
        members: group.members.iter().map(member).collect(),
        unowned: subscribed.iter().filter(nobody).map(ToString::to_string).collect(),
        partitions,
    })
}

fn member(member: &GroupMember) -> Member {
    let names = |partitions: &BTreeSet<TopicPartition>| -> Vec<String> {
        partitions.iter().map(ToString::to_string).collect()
    };
    Member {
        member: member.member_id.clone(),
        instance: member.instance_id.clone(),
        client: member.client_id.clone(),
        host: member.host.clone(),
        rack: member.rack.clone(),
        epoch: member.epoch,
        topics: member.topics.iter().cloned().collect(),
        topic_regex: member.topic_regex.clone(),
        partitions: names(&member.assignment),
        target: (member.target != member.assignment).then(|| names(&member.target)),
    }
}

/// The partitions of every topic that the members read or name; a topic that is not there has none.
async fn subscribed(
    admin: &Admin,
    group: &GroupDescription,
) -> Result<BTreeSet<TopicPartition>, ClientError> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for member in &group.members {
        names.extend(member.topics.iter().map(String::as_str));
        names.extend(member.assignment.iter().map(|partition| &*partition.topic));
    }
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let mut partitions = BTreeSet::new();
    for topic in admin.describe_topics(&names).await?.into_values().flatten() {
        let name: &Arc<str> = &topic.name;
        let each = topic.partitions.iter();
        partitions.extend(each.map(|info| TopicPartition::new(Arc::clone(name), info.index)));
    }
    Ok(partitions)
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
