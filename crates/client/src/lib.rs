//! Producer, consumer and admin client for the Kafka protocol.
//!
//! Key types: [`Cluster`] (connections and metadata), [`Producer`], [`Consumer`], [`Admin`]. Works with any
//! broker that speaks the Kafka protocol. All waiting is async on tokio; nothing here reads records that it did
//! not check the CRC of, and no answer of a broker makes it allocate more than the answer's size justifies.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use millstream_client::*;
//!
//! let cluster = Cluster::connect(ClientConfig::for_servers("localhost:9092")).await?;
//!
//! let producer = Producer::new(cluster.clone(), ProducerConfig::default()).await?;
//! let delivery = producer.send(ProducerRecord::to("orders").key("alice").value("2 apples")).await?;
//! println!("stored at offset {:?}", delivery.await?.offset);
//!
//! let config = ConsumerConfig { group_id: Some("billing".to_owned()), ..ConsumerConfig::default() };
//! let mut consumer = Consumer::new(cluster, config);
//! consumer.subscribe(["orders"])?;
//! for record in consumer.poll(std::time::Duration::from_secs(1)).await? {
//!     println!("{:?}", record.value);
//! }
//! consumer.close().await;
//! # Ok(())
//! # }
//! ```

mod admin;
mod backoff;
mod cluster;
mod config;
mod connection;
mod consumer;
mod error;
#[cfg(test)]
mod failover_tests;
mod offsets;
mod partitioner;
mod producer;

pub use admin::{
    Admin, ClusterDescription, ConfigEntry, ConfigOp, ConfigResource, ConfigSource, ConfigSynonym,
    ConfigValueType, CreatedTopic, DescribeConfigsOptions, DescribedBroker, Election,
    FeatureChange, FeatureLevel, GroupDescription, GroupListing, GroupMember, LogDir, NewTopic,
    Outcomes, PartitionProducer, QuorumDescription, QuorumReplica, RaftListener, Reassignment,
    TopicDescription, TransactionDescription, TransactionFilter, TransactionListing,
};
pub use cluster::{Broker, Cluster, ClusterMetadata, PartitionInfo, TopicInfo};
pub use config::ClientConfig;
pub use connection::{Connection, VersionRange};
pub use consumer::assignor;
pub use consumer::{
    CommittedOffset, CommittedOffsets, ConsumeError, Consumer, ConsumerConfig, ConsumerRecord,
    OffsetReset, ParseOffsetResetError,
};
pub use error::{ClientError, ConnectionError};
pub use offsets::{Isolation, ListedOffset, ListedOffsets, OffsetSpec};
pub use partitioner::{murmur2, partition_for_key};
pub use producer::{
    Acks, Delivery, Header, ProduceError, Producer, ProducerConfig, ProducerRecord, RecordMetadata,
};

pub use millstream_records::{Compression, TimestampType};
