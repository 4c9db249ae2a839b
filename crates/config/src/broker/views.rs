//! The typed views of a broker's settings: one line for each setting that code reads.

use crate::layers::view;

view! {
    /// Identity, roles, directories and limits of the node.
    NodeConfig {
        node_id: i32 = "node.id",
        process_roles: Vec<String> = "process.roles",
        rack: Option<String> = "broker.rack",
        log_dir: Vec<String> = "log.dir",
        log_dirs: Option<Vec<String>> = "log.dirs",
        metadata_log_dir: Option<String> = "metadata.log.dir",
        auto_create_topics_enable: bool = "auto.create.topics.enable",
        delete_topic_enable: bool = "delete.topic.enable",
        num_partitions: i32 = "num.partitions",
        default_replication_factor: i32 = "default.replication.factor",
        fetch_max_bytes: i32 = "fetch.max.bytes",
        max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots",
        max_request_partition_size_limit: i32 = "max.request.partition.size.limit",
    }
}

view! {
    /// Sockets and connections. The listeners themselves are [`BrokerConfig`](crate::BrokerConfig)'s.
    NetworkConfig {
        inter_broker_listener_name: Option<String> = "inter.broker.listener.name",
        socket_request_max_bytes: i32 = "socket.request.max.bytes",
        socket_listen_backlog_size: i32 = "socket.listen.backlog.size",
        connections_max_idle_ms: i64 = "connections.max.idle.ms",
        max_connections: i32 = "max.connections",
        max_connections_per_ip: i32 = "max.connections.per.ip",
        max_connections_per_ip_overrides: String = "max.connections.per.ip.overrides",
        queued_max_requests: i32 = "queued.max.requests",
        queued_max_request_bytes: i64 = "queued.max.request.bytes",
    }
}

view! {
    /// What all logs of the broker share; what differs by topic is in [`TopicConfig`](crate::TopicConfig).
    LogConfig {
        retention_check_interval_ms: i64 = "log.retention.check.interval.ms",
        flush_scheduler_interval_ms: i64 = "log.flush.scheduler.interval.ms",
        flush_offset_checkpoint_interval_ms: i32 = "log.flush.offset.checkpoint.interval.ms",
        flush_start_offset_checkpoint_interval_ms: i32 = "log.flush.start.offset.checkpoint.interval.ms",
        num_recovery_threads_per_data_dir: i32 = "num.recovery.threads.per.data.dir",
    }
}

view! {
    /// The cleaner of compacted logs.
    CleanerConfig {
        enable: bool = "log.cleaner.enable",
        threads: i32 = "log.cleaner.threads",
        backoff_ms: i64 = "log.cleaner.backoff.ms",
        dedupe_buffer_size: i64 = "log.cleaner.dedupe.buffer.size",
        io_buffer_size: i32 = "log.cleaner.io.buffer.size",
        io_buffer_load_factor: f64 = "log.cleaner.io.buffer.load.factor",
        io_max_bytes_per_second: f64 = "log.cleaner.io.max.bytes.per.second",
    }
}

view! {
    /// Consumer groups and the topic of their offsets.
    GroupsConfig {
        min_session_timeout_ms: i32 = "group.min.session.timeout.ms",
        max_session_timeout_ms: i32 = "group.max.session.timeout.ms",
        initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms",
        max_size: i32 = "group.max.size",
        rebalance_protocols: Vec<String> = "group.coordinator.rebalance.protocols",
        consumer_assignment_interval_ms: i32 = "group.consumer.assignment.interval.ms",
        consumer_assignors: Vec<String> = "group.consumer.assignors",
        consumer_heartbeat_interval_ms: i32 = "group.consumer.heartbeat.interval.ms",
        consumer_max_assignment_interval_ms: i32 = "group.consumer.max.assignment.interval.ms",
        consumer_max_heartbeat_interval_ms: i32 = "group.consumer.max.heartbeat.interval.ms",
        consumer_max_session_timeout_ms: i32 = "group.consumer.max.session.timeout.ms",
        consumer_max_size: i32 = "group.consumer.max.size",
        consumer_migration_policy: String = "group.consumer.migration.policy",
        consumer_min_assignment_interval_ms: i32 = "group.consumer.min.assignment.interval.ms",
        consumer_min_heartbeat_interval_ms: i32 = "group.consumer.min.heartbeat.interval.ms",
        consumer_min_session_timeout_ms: i32 = "group.consumer.min.session.timeout.ms",
        consumer_regex_refresh_interval_ms: i32 = "group.consumer.regex.refresh.interval.ms",
        consumer_session_timeout_ms: i32 = "group.consumer.session.timeout.ms",
        offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes",
        offsets_commit_timeout_ms: i32 = "offsets.commit.timeout.ms",
        offsets_load_buffer_size: i32 = "offsets.load.buffer.size",
        offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms",
        offsets_retention_minutes: i32 = "offsets.retention.minutes",
        offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions",
        offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes",
    }
}

view! {
    /// Producers and transactions.
    TransactionsConfig {
        producer_id_expiration_ms: i32 = "producer.id.expiration.ms",
        producer_id_expiration_check_interval_ms: i32 = "producer.id.expiration.check.interval.ms",
        max_timeout_ms: i32 = "transaction.max.timeout.ms",
        transactional_id_expiration_ms: i32 = "transactional.id.expiration.ms",
        abort_timed_out_interval_ms: i32 = "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        remove_expired_interval_ms: i32 = "transaction.remove.expired.transaction.cleanup.interval.ms",
        state_num_partitions: i32 = "transaction.state.log.num.partitions",
        state_segment_bytes: i32 = "transaction.state.log.segment.bytes",
        state_load_buffer_size: i32 = "transaction.state.log.load.buffer.size",
        partition_verification_enable: bool = "transaction.partition.verification.enable",
        add_partitions_retry_backoff_ms: i32 = "add.partitions.to.txn.retry.backoff.ms",
        add_partitions_retry_backoff_max_ms: i32 = "add.partitions.to.txn.retry.backoff.max.ms",
    }
}

view! {
    /// Time-outs and sizes of the metadata quorum. Who its voters are is [`BrokerConfig`](crate::BrokerConfig)'s.
    QuorumConfig {
        quorum_election_timeout_ms: i32 = "controller.quorum.election.timeout.ms",
        snapshot_after_bytes: i64 = "metadata.log.max.record.bytes.between.snapshots",
    }
}

view! {
    /// Brokers as the controller sees them: registration, heartbeats, leadership.
    ClusterConfig {
        broker_heartbeat_interval_ms: i32 = "broker.heartbeat.interval.ms",
        broker_session_timeout_ms: i32 = "broker.session.timeout.ms",
        initial_registration_timeout_ms: i32 = "initial.broker.registration.timeout.ms",
        controlled_shutdown_enable: bool = "controlled.shutdown.enable",
        auto_leader_rebalance_enable: bool = "auto.leader.rebalance.enable",
        leader_imbalance_check_interval_seconds: i64 = "leader.imbalance.check.interval.seconds",
        unclean_leader_election_interval_ms: i64 = "unclean.leader.election.interval.ms",
    }
}

view! {
    /// Followers that fetch, and leaders that serve them.
    ReplicationConfig {
        num_replica_fetchers: i32 = "num.replica.fetchers",
        replica_fetch_backoff_ms: i32 = "replica.fetch.backoff.ms",
        replica_fetch_max_bytes: i32 = "replica.fetch.max.bytes",
        replica_fetch_min_bytes: i32 = "replica.fetch.min.bytes",
        replica_fetch_response_max_bytes: i32 = "replica.fetch.response.max.bytes",
        replica_fetch_wait_max_ms: i32 = "replica.fetch.wait.max.ms",
        high_watermark_checkpoint_interval_ms: i64 = "replica.high.watermark.checkpoint.interval.ms",
        replica_lag_time_max_ms: i64 = "replica.lag.time.max.ms",
        replica_socket_timeout_ms: i32 = "replica.socket.timeout.ms",
        leader_throttled_rate: i64 = "leader.replication.throttled.rate",
        follower_throttled_rate: i64 = "follower.replication.throttled.rate",
    }
}
