//! Who votes in the metadata quorum, as far as that must be known before the metadata log is opened.
//!
//! Key function: [`voters`]. The settings name the voters, or servers that know them (`controller.quorum.bootstrap.servers`). A
//! node that was there before has the voters in its log and asks nobody.

use std::time::Duration;

use millstream_base::{ErrorCode, NodeId, Uuid};
use millstream_client::{ClientConfig, Connection};
use millstream_config::{BrokerConfig, Formation, HostPort};
use millstream_env::task::{self, Instant};
use millstream_metadata::names::CLUSTER_METADATA;
use millstream_quorum::{Peer, Voter};
use millstream_wire::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Node, RequestPartitionData, RequestTopicData,
};
use tracing::{info, warn};

use super::controllers::nameless;

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(250);
/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two complaints; it doubles up to [`LONGEST_SILENCE`].
const FIRST_SILENCE: Duration = Duration::from_secs(5);
/// The longest pause between two complaints.
const LONGEST_SILENCE: Duration = Duration::from_secs(120);

/// The voters that the settings name, or that the first bootstrap server which knows them tells of. `knows_some` says that
/// this node has been part of a quorum: then the servers stand for its voters, whose names are in its log.
pub(crate) async fn voters(config: &BrokerConfig, knows_some: bool) -> Vec<Voter> {
    match config.formation {
        Formation::Alone => Vec::new(),
        Formation::Voters => {
            let named = config.voters.iter();
            named.map(|it| voter(NodeId(it.id), it.address.clone(), Uuid::ZERO)).collect()
        }
        Formation::Join if knows_some => {
            let servers = config.bootstrap_servers.iter().enumerate();
            servers.map(|(at, it)| voter(nameless(at), it.clone(), Uuid::ZERO)).collect()
        }
        Formation::Join => ask(config).await,
    }
}

fn voter(id: NodeId, HostPort { host, port }: HostPort, directory_id: Uuid) -> Voter {
    Voter { peer: Peer { id, host, port }, directory_id }
}

/// Asks the servers in turn until one knows.
async fn ask(config: &BrokerConfig) -> Vec<Voter> {
    let client = ClientConfig {
        client_id: format!("broker-{}", config.node.node_id),
        connect_timeout: PATIENCE,
        ..ClientConfig::default()
    };
    let (mut silence, mut next) = (FIRST_SILENCE, Instant::now());
    loop {
        for server in &config.bootstrap_servers {
            let reason = match ask_one(&server.to_string(), &client, config).await {
                Ok(voters) => {
                    info!(%server, voters = voters.len(), "found the metadata quorum");
                    return voters;
                }
                Err(reason) => reason,
            };
            if Instant::now() >= next {
                warn!(%server, reason, "the metadata quorum is not found yet at controller.quorum.bootstrap.servers; a first controller names itself in controller.quorum.voters");
                next = Instant::now() + silence;
                silence = silence.saturating_mul(2).min(LONGEST_SILENCE);
            }
        }
        task::sleep(PAUSE).await;
    }
}

async fn ask_one(
    server: &str,
    client: &ClientConfig,
    config: &BrokerConfig,
) -> Result<Vec<Voter>, String> {
    let connection = Connection::connect(server, client).await.map_err(|e| e.to_string())?;
    let version = connection.version_of::<DescribeQuorumRequest>(None);
    let version = version.map_err(|e| e.to_string())?;
    let partitions = vec![RequestPartitionData { partition_index: 0 }];
    let topics = vec![RequestTopicData { topic_name: CLUSTER_METADATA.into(), partitions }];
    let request = DescribeQuorumRequest { topics };
    let answer = connection.call(&request, version, Some(PATIENCE)).await;
    voters_in(&answer.map_err(|e| e.to_string())?, &config.controller_listener_names)
}

/// The voters of an answer, each at the first of `listeners` that it has.
fn voters_in(answer: &DescribeQuorumResponse, listeners: &[String]) -> Result<Vec<Voter>, String> {
    let named = |code: i16| ErrorCode::from_code(code).map_or("an error", ErrorCode::name);
    if answer.error_code != 0 {
        return Err(format!("it answers {}", named(answer.error_code)));
    }
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    let partition = partition.ok_or("it says nothing of the quorum")?;
    if partition.error_code != 0 {
        return Err(format!("it answers {}", named(partition.error_code)));
    }
    let place = |node: &Node| {
        let of = |name: &String| node.listeners.iter().find(|it| *it.name == **name);
        let listener = listeners.iter().find_map(of).or(node.listeners.first())?;
        Some(HostPort { host: listener.host.to_string(), port: listener.port })
    };
    let voters = partition.current_voters.iter().filter_map(|replica| {
        let node = answer.nodes.iter().find(|node| node.node_id == replica.replica_id)?;
        Some(voter(NodeId(replica.replica_id), place(node)?, replica.replica_directory_id))
    });
    let voters: Vec<Voter> = voters.collect();
    if voters.is_empty() {
        return Err("it does not say where the voters are".to_owned());
    }
    Ok(voters)
}

#[cfg(test)]
mod tests {
    use millstream_wire::messages::describe_quorum::{
        Listener, ReplicaState, ResponsePartitionData, ResponseTopicData,
    };

    use super::*;

    #[test]
    fn voters_are_taken_at_the_listener_of_controllers() {
        let listener = |name: &str, port| Listener { name: name.into(), host: "h".into(), port };
        let node =
            Node { node_id: 1, listeners: vec![listener("OTHER", 1), listener("CONTROLLER", 2)] };
        let replica = ReplicaState { replica_id: 1, ..Default::default() };
        let partition =
            ResponsePartitionData { current_voters: vec![replica], ..Default::default() };
        let topic = ResponseTopicData { partitions: vec![partition], ..Default::default() };
        let answer =
            DescribeQuorumResponse { topics: vec![topic], nodes: vec![node], ..Default::default() };
        let found = voters_in(&answer, &["CONTROLLER".to_owned()]).unwrap();
        let place = HostPort { host: "h".to_owned(), port: 2 };
        assert_eq!(found, [voter(NodeId(1), place, Uuid::ZERO)]);
        let refused = DescribeQuorumResponse { error_code: 41, ..Default::default() };
        assert_eq!(voters_in(&refused, &[]).unwrap_err(), "it answers NOT_CONTROLLER");
        assert!(voters_in(&DescribeQuorumResponse::default(), &[]).is_err());
    }
}
