//! Sending records: gathered into batches per partition, sent by one task, retried without loss of order.
//!
//! Key types: [`Producer`], [`ProducerRecord`], [`Delivery`]. `send` returns as soon as there is room; the
//! [`Delivery`] says where the record landed. With [`ProducerConfig::idempotent`] (the default) each record is
//! appended exactly once, in the order of the `send` calls for its partition, whatever is retried.

mod answer;
mod batch;
mod config;
mod delivery;
mod error;
mod queue;
mod record;
mod sender;
mod state;

use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ProducerEpoch, ProducerId};
use millstream_env::task::{spawn, timeout};
use millstream_wire::messages::init_producer_id::InitProducerIdRequest;
use tokio::sync::{Notify, Semaphore};

pub use config::{Acks, ProducerConfig};
pub use delivery::{Delivery, RecordMetadata};
pub use error::ProduceError;
pub use record::{Header, ProducerRecord};

use crate::partitioner::partition_for_key;
use crate::{ClientError, Cluster, TopicInfo};
use queue::Identity;
use state::State;

/// Sends records to a cluster. Clones share everything.
#[derive(Clone, Debug)]
pub struct Producer {
    inner: Arc<Inner>,
    /// Tells the sending task when the last clone is gone.
    _open: Arc<Open>,
}

#[derive(Debug)]
struct Inner {
    cluster: Cluster,
    config: ProducerConfig,
    state: parking_lot::Mutex<State>,
    /// `buffer.memory`, in bytes.
    room: Semaphore,
    /// Wakes the sending task.
    wake: Notify,
    /// Rings whenever a batch is done.
    done: Notify,
}

#[derive(Debug)]
struct Open(Arc<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.wake.notify_one();
    }
}

impl Producer {
    /// A producer for `cluster`. Asks the cluster for a producer id when idempotent.
    ///
    /// # Errors
    /// When no broker gives a producer id within `max.block.ms`.
    pub async fn new(cluster: Cluster, config: ProducerConfig) -> Result<Self, ClientError> {
        let identity = match config.is_idempotent() {
            true => Some(new_identity(&cluster, config.max_block).await?),
            false => None,
        };
        let memory = config.buffer_memory.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let inner = Arc::new(Inner {
            state: parking_lot::Mutex::new(State::new(&config, identity)),
            room: Semaphore::new(memory),
            wake: Notify::new(),
            done: Notify::new(),
            cluster,
            config: ProducerConfig { buffer_memory: memory, ..config },
        });
        spawn(sender::Sender::new(inner.clone()).run());
        Ok(Self { _open: Arc::new(Open(inner.clone())), inner })
    }

    /// Takes `record` into a batch. Waits for metadata and for room in `buffer.memory`, at most `max.block.ms`
    /// each. The record is on its way once this returns; the [`Delivery`] tells how that ended.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, ProduceError> {
        let inner = &self.inner;
        let size = record.size_bytes();
        let limit_bytes = inner.config.max_request_size.min(inner.config.buffer_memory);
        if size > limit_bytes {
            return Err(ProduceError::TooLarge { size_bytes: size, limit_bytes });
        }
        let topic = self.topic(&record.topic).await?;
        self.reserve(size).await?;
        let placed = self.place(&record, &topic, size);
        if placed.is_err() {
            inner.room.add_permits(size);
        }
        placed
    }

    /// Sends everything that was taken before this call, and waits until its fate is known.
    pub async fn flush(&self) {
        let inner = &self.inner;
        let target = {
            let mut state = inner.state.lock();
            state.flushing += 1;
            state.next_serial()
        };
        inner.wake.notify_one();
        loop {
            let done = inner.done.notified();
            tokio::pin!(done);
            // Registers before looking, so that no ring is missed.
            done.as_mut().enable();
            if inner.state.lock().all_done_before(target) {
                break;
            }
            done.await;
        }
        inner.state.lock().flushing -= 1;
    }

    /// Sends what is left, waits for it, and ends the producer; later `send` calls fail.
    pub async fn close(self) {
        self.flush().await;
        self.inner.state.lock().closed = true;
        self.inner.wake.notify_one();
    }

    async fn topic(&self, name: &Arc<str>) -> Result<Arc<TopicInfo>, ProduceError> {
        let inner = &self.inner;
        inner
            .cluster
            .topic(name, true, inner.config.max_block)
            .await
            .map_err(|source| ProduceError::Metadata { topic: name.clone(), source })
    }

    /// Takes `size` bytes out of `buffer.memory`.
    async fn reserve(&self, size: usize) -> Result<(), ProduceError> {
        let inner = &self.inner;
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        if let Ok(permit) = inner.room.try_acquire_many(permits) {
            permit.forget();
            return Ok(());
        }
        // Full: nothing may linger any more.
        inner.state.lock().starving += 1;
        inner.wake.notify_one();
        let acquired = timeout(inner.config.max_block, inner.room.acquire_many(permits)).await;
        inner.state.lock().starving -= 1;
        match acquired {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(())
            }
            Ok(Err(_)) => Err(ProduceError::Closed),
            Err(_) => Err(ProduceError::BufferFull {
                after: inner.config.max_block,
                limit_bytes: inner.config.buffer_memory,
            }),
        }
    }

    fn place(
        &self,
        record: &ProducerRecord,
        topic: &TopicInfo,
        size: usize,
    ) -> Result<Delivery, ProduceError> {
        let inner = &self.inner;
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let timestamp = record.timestamp.unwrap_or_else(|| inner.cluster.now_ms());
        let mut state = inner.state.lock();
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) if (0..count).contains(&partition) => partition,
            (Some(partition), _) => {
                let topic = record.topic.clone();
                return Err(ProduceError::NoSuchPartition { topic, partition, count });
            }
            (None, Some(key)) => partition_for_key(key, count),
            (None, None) => {
                state.sticky.choose(&topic.name, count, size, || inner.cluster.random())
            }
        };
        let (delivery, wake) = state.append(record, partition, timestamp, size)?;
        drop(state);
        if wake {
            inner.wake.notify_one();
        }
        Ok(delivery)
    }
}

impl Inner {
    /// Gives back what a finished batch held, and tells who waits for the end of things.
    fn finished(&self, reserved: usize) {
        self.room.add_permits(reserved);
        self.done.notify_waiters();
    }
}

/// A new producer id with epoch 0.
async fn new_identity(cluster: &Cluster, within: Duration) -> Result<Identity, ClientError> {
    let mut retry = cluster.retry("producer id", within);
    loop {
        let build = |_| InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..InitProducerIdRequest::default()
        };
        let error = match cluster.call_any(build).await {
            Ok(answer) => {
                match ClientError::check(answer.error_code, || "producer id".to_owned()) {
                    Ok(()) => {
                        let producer_id = ProducerId(answer.producer_id);
                        let epoch = ProducerEpoch(answer.producer_epoch);
                        return Ok(Identity { producer_id, epoch });
                    }
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        retry.again(error).await?;
    }
}
