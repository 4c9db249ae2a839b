//! How long nobody acknowledges while a leader goes: in order, or as a kill would.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millstream_base::ErrorCode as E;
use millstream_wire::messages::metadata::MetadataRequest;
use millstream_wire::messages::produce::PartitionProduceResponse;

use super::support::{Node, Plan, Role, take};
use crate::support::batch::batch;
use crate::support::client::{Client, PRODUCE, Topic, code, produce as produce_one};

/// What a producer saw.
#[derive(Debug, Default)]
struct Seen {
    acks: usize,
    longest: Duration,
    around: Vec<String>,
}

/// A producer that sends one record after the other with acks=all, and follows the leader as answers tell it.
fn produce(plan: &Plan, topic: &Topic, partition: i32, stop: &AtomicBool) -> Seen {
    let mut leader = leader_of(plan, topic, partition).expect("a leader");
    let mut client: Option<Client> = None;
    let (mut seen, mut last, began) = (Seen::default(), Instant::now(), Instant::now());
    while !stop.load(Ordering::SeqCst) {
        let now = match send(plan, &mut client, leader, topic, partition) {
            Ok(answer) if code(answer.error_code) == E::None => {
                let now = Instant::now();
                if now - last > seen.longest {
                    seen.longest = now - last;
                    seen.around.push(format!("{:?} ack after {:?}", now - began, now - last));
                }
                (last, seen.acks) = (now, seen.acks + 1);
                continue;
            }
            Ok(answer) => {
                let to = answer.current_leader.leader_id;
                let what = format!("{:?} of {leader}, leader {to}", code(answer.error_code));
                seen.around.push(format!("{:?} {what}", began.elapsed()));
                Some(to).filter(|to| *to > 0)
            }
            Err(error) => {
                seen.around.push(format!("{:?} {error} at {leader}", began.elapsed()));
                client = None;
                None
            }
        };
        // As a client would: any node that answers.
        if let Some(to) =
            now.or_else(|| leader_of(plan, topic, partition)).filter(|to| *to != leader)
        {
            (leader, client) = (to, None);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    seen
}

fn send(
    plan: &Plan,
    client: &mut Option<Client>,
    leader: i32,
    topic: &Topic,
    partition: i32,
) -> io::Result<PartitionProduceResponse> {
    let client = match client {
        Some(client) => client,
        None => client.insert(Client::try_connect(plan.address(leader))?),
    };
    let request = produce_one(topic, partition, -1, batch(&["v"]));
    let mut answer = client.try_call(PRODUCE, &request)?;
    Ok(answer.responses.remove(0).partition_responses.remove(0))
}

/// The leader as the first node tells it that answers.
fn leader_of(plan: &Plan, topic: &Topic, partition: i32) -> Option<i32> {
    plan.ids().into_iter().find_map(|id| {
        let mut client = Client::try_connect(plan.address(id)).ok()?;
        let all = MetadataRequest { topics: None, ..Default::default() };
        let topics = client.try_call(12, &all).ok()?.topics;
        let found = topics.into_iter().find(|it| it.topic_id == topic.id)?;
        let found = found.partitions.into_iter().find(|it| it.partition_index == partition)?;
        (found.leader_id > 0).then_some(found.leader_id)
    })
}

/// The longest time without an acknowledgement while `go` happens to the leader of partition 0.
fn gap(go: fn(Node)) -> Duration {
    let plan = Arc::new(Plan::new(&[Role::Combined; 3]).set("min.insync.replicas", "2"));
    let mut nodes = plan.start(&[1, 2, 3]);
    plan.create_topic(1, "t", 3, 3);
    let topic = Topic { name: "t".into(), id: plan.topic(1, "t").topic_id };
    let stop = Arc::new(AtomicBool::new(false));
    let producer = {
        let (plan, topic, stop) = (Arc::clone(&plan), topic.clone(), Arc::clone(&stop));
        std::thread::spawn(move || produce(&plan, &topic, 0, &stop))
    };
    std::thread::sleep(Duration::from_millis(1000));
    let leader = leader_of(&plan, &topic, 0).unwrap();
    go(take(&mut nodes, leader));
    std::thread::sleep(Duration::from_millis(1000));
    stop.store(true, Ordering::SeqCst);
    let seen = producer.join().unwrap();
    println!("{} acknowledgements; longest gap {:?}", seen.acks, seen.longest);
    seen.around.iter().for_each(|line| println!("  {line}"));
    nodes.into_iter().for_each(Node::end);
    seen.longest
}

#[test]
fn a_leader_that_stops_is_hardly_missed() {
    let longest = gap(Node::end);
    // 100 ms are wanted; a machine that is busy with other tests is given more.
    assert!(longest < Duration::from_millis(1000), "{longest:?}");
}

#[test]
fn a_leader_that_dies_is_missed_for_a_moment() {
    let longest = gap(Node::crash);
    assert!(longest < Duration::from_secs(4), "{longest:?}");
}
