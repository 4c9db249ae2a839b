//! What `millstream group describe` prints of a group, for people and for pipes.

use super::describe::{Described, Member, Partition};
use crate::output::{Output, Style};

pub(super) fn print(out: Output, group: &Described, members: bool) -> std::io::Result<()> {
    let people = out.style == Style::Table;
    if people {
        for line in summary(group) {
            out.line(&line)?;
        }
    }
    let named = |mut row: Vec<String>| {
        if !people {
            row.insert(0, group.group.clone());
        }
        row
    };
    if members {
        let rows: Vec<Vec<String>> = group.members.iter().map(|m| named(member_row(m))).collect();
        let headings = ["member", "instance", "client", "host", "topics", "partitions"];
        return if rows.is_empty() && people { Ok(()) } else { out.rows(&headings, &rows) };
    }
    let rows: Vec<Vec<String>> = group.partitions.iter().map(|p| named(partition_row(p))).collect();
    if rows.is_empty() && people {
        return out.line("nothing committed, nothing assigned");
    }
    out.rows(&["topic", "partition", "committed", "end", "lag", "member", "host"], &rows)
}

/// What people read before the table.
fn summary(group: &Described) -> Vec<String> {
    let count = match group.members.len() {
        0 => "no members".to_owned(),
        1 => "1 member".to_owned(),
        many => format!("{many} members"),
    };
    let epoch = group.epoch.map_or_else(String::new, |epoch| format!(", epoch {epoch}"));
    let mut lines = vec![format!(
        "group {}: {}, {}{epoch}, {count}, assignor {}, coordinator {}, lag {}",
        group.group,
        group.state,
        group.r#type,
        dash(&group.assignor),
        group.coordinator,
        group.lag
    )];
    if let Some(reason) = &group.rebalance_reason {
        lines.push(format!("last rebalance: {reason}"));
    }
    if !group.unowned.is_empty() {
        lines.push(format!("nobody owns: {}", group.unowned.join(" ")));
    }
    lines
}

fn member_row(member: &Member) -> Vec<String> {
    let mut topics = member.topics.clone();
    topics.extend(member.topic_regex.iter().map(|regex| format!("/{regex}/")));
    let partitions = dash(&member.partitions.join(" "));
    vec![
        member.member.clone(),
        member.instance.as_deref().unwrap_or("-").to_owned(),
        member.client.clone(),
        member.host.clone(),
        dash(&topics.join(" ")),
        match &member.target {
            None => partitions,
            Some(target) => format!("{partitions} -> {}", dash(&target.join(" "))),
        },
    ]
}

fn partition_row(partition: &Partition) -> Vec<String> {
    let shown = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let text = |text: &Option<String>| text.as_deref().unwrap_or("-").to_owned();
    vec![
        partition.topic.clone(),
        partition.partition.to_string(),
        shown(partition.committed),
        shown(partition.end),
        shown(partition.lag),
        text(&partition.member),
        text(&partition.host),
    ]
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described() -> Described {
        Described {
            group: "g".to_owned(),
            state: "Stable".to_owned(),
            r#type: "consumer".to_owned(),
            protocol: "consumer".to_owned(),
            assignor: "uniform".to_owned(),
            coordinator: 1,
            epoch: Some(4),
            rebalance_reason: Some("a member left".to_owned()),
            lag: 7,
            members: vec![Member {
                member: "m".to_owned(),
                instance: None,
                client: "c".to_owned(),
                host: "/127.0.0.1".to_owned(),
                rack: None,
                epoch: Some(3),
                topics: vec!["t".to_owned()],
                topic_regex: Some("u.*".to_owned()),
                partitions: vec!["t-0".to_owned(), "t-1".to_owned()],
                target: Some(vec!["t-0".to_owned()]),
            }],
            partitions: Vec::new(),
            unowned: vec!["t-2".to_owned()],
        }
    }

    #[test]
    fn the_summary_has_the_reason_and_what_nobody_owns() {
        assert_eq!(
            summary(&described()).join("\n"),
            "group g: Stable, consumer, epoch 4, 1 member, assignor uniform, coordinator 1, lag 7\n\
             last rebalance: a member left\n\
             nobody owns: t-2"
        );
    }

    #[test]
    fn a_member_on_its_way_shows_where_to() {
        let group = described();
        assert_eq!(
            member_row(&group.members[0]).join("|"),
            "m|-|c|/127.0.0.1|t /u.*/|t-0 t-1 -> t-0"
        );
    }
}
