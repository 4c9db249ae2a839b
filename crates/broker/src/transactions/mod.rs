//! The transaction coordinator's host: finds the shard of a transactional id, writes its records, and sees that every
//! transaction whose end was decided gets its markers.
//!
//! Key types: [`TransactionCoordinator`] (one a broker), `HostedTxns` (one for each `__transaction_state` partition that this
//! broker leads). All decisions are made in the `txns` crate; here are the lock, the log, the clock and the markers. A
//! marker is written only when the decision behind it is committed, and the transaction is complete only when all its
//! markers are. Partitions and transactional ids of other brokers are reached through `remote`.

mod finish;
mod follow;
mod host;
mod join;
mod load;
mod markers;
mod outbox;
mod remote;
mod shard;
#[cfg(test)]
mod tests;

pub(crate) use follow::FollowMetadata;
pub(crate) use host::{Surroundings, TransactionCoordinator};
pub(crate) use join::{Join, Joined, answer_here, in_leaders_words};
pub(crate) use markers::{Marked, write_marker};

use millstream_base::ErrorCode;
use millstream_config::InternalTopic;

use crate::broker::Broker;
use crate::coordinator::{NewInternalTopic, ensure_internal_topic};
use crate::topic_rules::TRANSACTIONS_TOPIC;

/// Sees that `__transaction_state` exists. Made with `transaction.state.log.*`, compacted, as Kafka makes it.
pub(crate) async fn ensure_transactions_topic(broker: &Broker) -> Result<(), ErrorCode> {
    let config = broker.config().clone();
    let settings = &config.transactions;
    let topic = NewInternalTopic {
        name: TRANSACTIONS_TOPIC,
        kind: InternalTopic::Transactions,
        partitions: settings.state_num_partitions,
        configs: &[
            ("cleanup.policy", "compact"),
            ("compression.type", "uncompressed"),
            ("unclean.leader.election.enable", "false"),
            ("segment.bytes", &settings.state_segment_bytes.to_string()),
        ],
    };
    ensure_internal_topic(broker, topic).await
}
