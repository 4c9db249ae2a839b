"""kafka-python."""

from __future__ import annotations

import kafka
from kafka import errors as ke
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor

from harness.driver import Consumer, Driver, KafkaFailure, Options, Record, Transactions

TIMEOUT_S = 20.0
TIMEOUT_MS = int(TIMEOUT_S * 1000)
LEAST_POLL_MS = 1500


def failure_of(error: Exception) -> KafkaFailure:
    """The protocol's name of a kafka-python error."""
    code = getattr(error, "errno", None)
    if isinstance(code, int):
        return KafkaFailure.of_code(code, str(error))
    return KafkaFailure(type(error).__name__, str(error))


def named(call, *args, **kwargs):
    """A call's result, its error under the protocol's name."""
    try:
        return call(*args, **kwargs)
    except ke.KafkaError as error:
        raise failure_of(error) from error


class PythonConsumer(Consumer):
    """A `kafka.KafkaConsumer`."""

    def __init__(self, bootstrap: str, group: str | None, reset: str, options: Options):
        assignor = CooperativeStickyAssignor if options.cooperative else RangePartitionAssignor
        self.inner = kafka.KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset=reset,
            enable_auto_commit=False,
            group_instance_id=options.instance,
            isolation_level="read_committed" if options.committed else "read_uncommitted",
            partition_assignment_strategy=(assignor,),
            session_timeout_ms=options.session_ms,
            heartbeat_interval_ms=200,
            fetch_max_wait_ms=200,
            max_partition_fetch_bytes=4_000_000,
        )

    def subscribe(self, topic):
        self.inner.subscribe([topic])

    def subscribe_pattern(self, pattern):
        self.inner.subscribe(pattern=pattern)

    def assign(self, topic, offsets):
        self.inner.assign([kafka.TopicPartition(topic, p) for p in offsets])
        for partition, offset in offsets.items():
            self.inner.seek(kafka.TopicPartition(topic, partition), offset)

    def poll(self, timeout_s):
        # A poll that ends while the group is being joined loses the assignment for good (in 3.0.12 the
        # answer still comes, but nobody takes it), so polls here are longer than a join.
        timeout_ms = max(int(timeout_s * 1000), LEAST_POLL_MS)
        batches = named(self.inner.poll, timeout_ms=timeout_ms)
        return [
            Record(
                key=record.key,
                value=record.value,
                headers=list(record.headers),
                partition=record.partition,
                offset=record.offset,
                timestamp=record.timestamp,
            )
            for records in batches.values()
            for record in records
        ]

    def assignment(self):
        return {each.partition for each in self.inner.assignment()}

    def seek(self, topic, partition, offset):
        self.inner.seek(kafka.TopicPartition(topic, partition), offset)

    def commit(self):
        named(self.inner.commit)

    def close(self):
        self.inner.close(timeout_ms=5000)


class PythonTransactions(Transactions):
    """A `kafka.KafkaProducer` with a transactional id."""

    def __init__(self, bootstrap: str, transactional_id: str):
        self.inner = kafka.KafkaProducer(
            bootstrap_servers=bootstrap, transactional_id=transactional_id, linger_ms=5
        )
        named(self.inner.init_transactions)

    def begin(self):
        named(self.inner.begin_transaction)

    def send(self, topic, records):
        futures = [
            named(self.inner.send, topic, key=r.key, value=r.value, partition=r.partition)
            for r in records
        ]
        for future in futures:
            named(future.get, timeout=TIMEOUT_S)

    def send_offsets(self, group, topic, offsets):
        places = {
            kafka.TopicPartition(topic, p): kafka.OffsetAndMetadata(o, "", -1)
            for p, o in offsets.items()
        }
        named(self.inner.send_offsets_to_transaction, places, group)

    def commit(self):
        named(self.inner.commit_transaction)

    def abort(self):
        named(self.inner.abort_transaction)

    def close(self):
        self.inner.close(timeout=5)


class PythonDriver(Driver):
    """A `KafkaAdminClient`, and a producer or consumer a call."""

    cannot = dict.fromkeys(
        ("new_protocol", "new_protocol_killed", "new_protocol_static", "new_protocol_regex", "migration"),
        "kafka-python speaks only the classic group protocol"
    )
    null_header_values = False

    def __init__(self, bootstrap: str):
        super().__init__(bootstrap)
        self.admin = kafka.KafkaAdminClient(bootstrap_servers=bootstrap)

    @staticmethod
    def version():
        return f"kafka-python {kafka.__version__}"

    def create_topic(self, topic, partitions=1, configs=None):
        new = {"num_partitions": partitions, "replication_factor": 1, "configs": configs or {}}
        named(self.admin.create_topics, {topic: new})

    def delete_topic(self, topic):
        named(self.admin.delete_topics, [topic])

    def list_topics(self):
        return set(named(self.admin.list_topics))

    def partitions(self, topic):
        described = named(self.admin.describe_topics, [topic])[0]
        if described["error_code"]:
            raise KafkaFailure.of_code(described["error_code"])
        return len(described["partitions"])

    def add_partitions(self, topic, total):
        named(self.admin.create_partitions, {topic: total})

    def describe_configs(self, topic):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = named(self.admin.describe_configs, [resource], config_filter="all")
        return {name: entry["value"] for name, entry in found["topic"][topic].items()}

    def alter_configs(self, topic, configs):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict(configs))
        outcome = named(self.admin.alter_configs, [resource])["topic"][topic]
        if outcome != "OK":
            # The client gives only the text, which begins with the error's number in brackets.
            code = outcome.partition("]")[0].strip("[Error ")
            raise KafkaFailure.of_code(int(code) if code.isdigit() else -1, outcome)

    def delete_records(self, topic, before):
        named(
            self.admin.delete_records,
            {kafka.TopicPartition(topic, p): offset for p, offset in before.items()},
        )

    def _offset(self, topic, partition, spec):
        where = kafka.TopicPartition(topic, partition)
        return named(self.admin.list_partition_offsets, {where: spec})[where].offset

    def watermarks(self, topic, partition):
        low = self._offset(topic, partition, kafka.OffsetSpec.EARLIEST)
        return low, self._offset(topic, partition, kafka.OffsetSpec.LATEST)

    def offset_for_time(self, topic, partition, timestamp_ms):
        offset = self._offset(topic, partition, timestamp_ms)
        return offset if offset >= 0 else None

    def list_groups(self):
        return {group["group_id"] for group in named(self.admin.list_groups)}

    def describe_group(self, group):
        described = named(self.admin.describe_groups, [group])[group]
        return described["group_state"].lower(), len(described["members"])

    def delete_group(self, group):
        outcome = named(self.admin.delete_groups, [group])[group]
        if outcome != "OK":
            raise KafkaFailure.of_code(getattr(ke, outcome).errno, outcome)

    def committed(self, group, topic, partitions):
        wanted = [kafka.TopicPartition(topic, p) for p in range(partitions)]
        offsets = named(self.admin.list_group_offsets, {group: wanted})[group]
        return {where.partition: entry.offset for where, entry in offsets.items()}

    def set_offsets(self, group, topic, offsets):
        places = {
            kafka.TopicPartition(topic, p): kafka.OffsetAndMetadata(o, "", -1)
            for p, o in offsets.items()
        }
        for error in named(self.admin.alter_group_offsets, group, places).values():
            if error.errno:
                raise KafkaFailure.of_code(error.errno)

    def produce(self, topic, records, codec="none", acks=-1, idempotent=False):
        producer = kafka.KafkaProducer(
            bootstrap_servers=self.bootstrap,
            compression_type=None if codec == "none" else codec,
            acks=acks,
            enable_idempotence=idempotent,
            max_request_size=10_000_000,
            linger_ms=5,
            max_block_ms=TIMEOUT_MS,
            delivery_timeout_ms=TIMEOUT_MS + 15_000,
            request_timeout_ms=15_000,
        )
        try:
            futures = [
                named(
                    producer.send,
                    topic,
                    key=record.key,
                    value=record.value,
                    headers=record.headers,
                    partition=record.partition,
                    timestamp_ms=record.timestamp,
                )
                for record in records
            ]
            for future in futures:
                named(future.get, timeout=TIMEOUT_S)
        finally:
            producer.close(timeout=5)

    def consumer(self, group=None, reset="earliest", options=Options()):
        return PythonConsumer(self.bootstrap, group, reset, options)

    def transactions(self, transactional_id):
        return PythonTransactions(self.bootstrap, transactional_id)

    def close(self):
        self.admin.close()


DRIVER = PythonDriver
