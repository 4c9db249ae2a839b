"""confluent-kafka (librdkafka)."""

from __future__ import annotations

import os
import uuid

import confluent_kafka as ck
from confluent_kafka import admin as cka

from harness.driver import Consumer, Driver, KafkaFailure, Options, Record, Transactions

TIMEOUT_S = 20.0


def failure_of(error: ck.KafkaError) -> KafkaFailure:
    """The protocol's name of a librdkafka error; its local errors are mapped by what they mean."""
    if error.code() in (ck.KafkaError._UNKNOWN_TOPIC, ck.KafkaError._UNKNOWN_PARTITION):
        return KafkaFailure("UNKNOWN_TOPIC_OR_PARTITION", error.str())
    if error.code() == ck.KafkaError._AUTO_OFFSET_RESET and "out of range" in error.str():
        return KafkaFailure("OFFSET_OUT_OF_RANGE", error.str())
    if error.code() == ck.KafkaError._FENCED:
        return KafkaFailure("PRODUCER_FENCED", error.str())
    if error.code() < 0:
        return KafkaFailure(error.name(), error.str())
    return KafkaFailure.of_code(error.code(), error.str())


def result(future):
    """A future's result, its error under the protocol's name."""
    try:
        return future.result(TIMEOUT_S)
    except ck.KafkaException as error:
        raise failure_of(error.args[0]) from error


class ConfluentConsumer(Consumer):
    """A `confluent_kafka.Consumer`."""

    def __init__(self, bootstrap: str, group: str | None, reset: str, options: Options):
        settings = {
            "bootstrap.servers": bootstrap,
            "group.id": group or f"confluent-{uuid.uuid4()}",
            "auto.offset.reset": "error" if reset == "none" else reset,
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 200,
            "fetch.message.max.bytes": 4_000_000,
            "isolation.level": "read_committed" if options.committed else "read_uncommitted",
        }
        if options.instance is not None:
            settings["group.instance.id"] = options.instance
        if options.new_protocol:
            settings["group.protocol"] = "consumer"
        else:
            # The new protocol has these on the broker's side.
            settings["session.timeout.ms"] = options.session_ms
            settings["heartbeat.interval.ms"] = 200
        if options.cooperative:
            settings["partition.assignment.strategy"] = "cooperative-sticky"
        self.inner = ck.Consumer(settings)

    def subscribe(self, topic):
        self.inner.subscribe([topic])

    def subscribe_pattern(self, pattern):
        self.inner.subscribe([pattern])

    def assign(self, topic, offsets):
        self.inner.assign([ck.TopicPartition(topic, p, o) for p, o in offsets.items()])

    def poll(self, timeout_s):
        records = []
        for message in self.inner.consume(500, timeout_s if timeout_s < 0.2 else 0.2):
            if message.error() is not None:
                raise failure_of(message.error())
            records.append(
                Record(
                    key=message.key(),
                    value=message.value(),
                    headers=list(message.headers() or []),
                    partition=message.partition(),
                    offset=message.offset(),
                    timestamp=message.timestamp()[1],
                )
            )
        return records

    def assignment(self):
        return {each.partition for each in self.inner.assignment()}

    def seek(self, topic, partition, offset):
        self.inner.seek(ck.TopicPartition(topic, partition, offset))

    def commit(self):
        self.inner.commit(asynchronous=False)

    def close(self):
        self.inner.close()


def named(call, *args):
    """A call's result, its error under the protocol's name."""
    try:
        return call(*args)
    except ck.KafkaException as error:
        raise failure_of(error.args[0]) from error


# librdkafka forgets a broker that is not in the metadata, but not that it was a group's coordinator: then
# send_offsets_to_transaction waits, past its time-out, for the next change of any connection (librdkafka#5511). So
# coordinators are forgotten soon, and connections change often.
QUICK_TO_FORGET = {
    "metadata.max.age.ms": 2000,
    "topic.metadata.refresh.interval.ms": 1000,
    "connections.max.idle.ms": 2000,
}


class ConfluentTransactions(Transactions):
    """A `confluent_kafka.Producer` with a transactional id."""

    def __init__(self, bootstrap: str, transactional_id: str):
        self.bootstrap = bootstrap
        # Without a callback of its own for errors the client raises fatal ones from wherever it is.
        self.fatal: list[ck.KafkaError] = []
        settings = {
            "bootstrap.servers": bootstrap,
            "transactional.id": transactional_id,
            "error_cb": lambda error: self.fatal.append(error) if error.fatal() else None,
        }
        if "COMPAT_KILLING" in os.environ:
            settings |= QUICK_TO_FORGET
        self.inner = ck.Producer(settings)
        named(self.inner.init_transactions, TIMEOUT_S)

    def begin(self):
        named(self.inner.begin_transaction)

    def send(self, topic, records):
        errors = []

        def delivered(error, _message):
            if error is not None:
                errors.append(error)

        for record in records:
            place = {} if record.partition is None else {"partition": record.partition}
            try:
                self.inner.produce(
                    topic, key=record.key, value=record.value, on_delivery=delivered, **place
                )
            except ck.KafkaException as error:
                raise failure_of(error.args[0]) from error
        named(self.inner.flush, TIMEOUT_S)
        for error in self.fatal + errors:
            raise failure_of(error)

    def send_offsets(self, group, topic, offsets):
        places = [ck.TopicPartition(topic, p, o) for p, o in offsets.items()]
        consumer = ck.Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        metadata = consumer.consumer_group_metadata()
        named(self.inner.send_offsets_to_transaction, places, metadata, TIMEOUT_S)
        consumer.close()

    def commit(self):
        named(self.inner.commit_transaction, TIMEOUT_S)

    def abort(self):
        named(self.inner.abort_transaction, TIMEOUT_S)

    def close(self):
        """The client lets go when it is collected."""


class ConfluentDriver(Driver):
    """An `AdminClient`, and a producer or consumer a call."""

    def __init__(self, bootstrap: str):
        super().__init__(bootstrap)
        self.admin = cka.AdminClient({"bootstrap.servers": bootstrap})

    @staticmethod
    def version():
        return f"confluent-kafka {ck.__version__}, librdkafka {ck.libversion()[0]}"

    def create_topic(self, topic, partitions=1, configs=None):
        new = cka.NewTopic(topic, partitions, 1, config=configs or {})
        result(self.admin.create_topics([new])[topic])

    def delete_topic(self, topic):
        result(self.admin.delete_topics([topic])[topic])

    def list_topics(self):
        return set(self.admin.list_topics(timeout=TIMEOUT_S).topics)

    def partitions(self, topic):
        described = self.admin.describe_topics(ck.TopicCollection([topic]))
        return len(result(described[topic]).partitions)

    def add_partitions(self, topic, total):
        result(self.admin.create_partitions([cka.NewPartitions(topic, total)])[topic])

    def describe_configs(self, topic):
        resource = cka.ConfigResource(cka.ResourceType.TOPIC, topic)
        entries = result(self.admin.describe_configs([resource])[resource])
        return {name: entry.value for name, entry in entries.items()}

    def alter_configs(self, topic, configs):
        operation = cka.AlterConfigOpType.SET
        entries = [
            cka.ConfigEntry(name, value, incremental_operation=operation)
            for name, value in configs.items()
        ]
        resource = cka.ConfigResource(cka.ResourceType.TOPIC, topic, incremental_configs=entries)
        result(self.admin.incremental_alter_configs([resource])[resource])

    def delete_records(self, topic, before):
        offsets = [ck.TopicPartition(topic, p, o) for p, o in before.items()]
        for future in self.admin.delete_records(offsets).values():
            result(future)

    def _offsets(self, topic, partition, spec):
        where = ck.TopicPartition(topic, partition)
        return result(self.admin.list_offsets({where: spec})[where]).offset

    def watermarks(self, topic, partition):
        low = self._offsets(topic, partition, cka.OffsetSpec.earliest())
        return low, self._offsets(topic, partition, cka.OffsetSpec.latest())

    def offset_for_time(self, topic, partition, timestamp_ms):
        offset = self._offsets(topic, partition, cka.OffsetSpec.for_timestamp(timestamp_ms))
        return offset if offset >= 0 else None

    def list_groups(self):
        return {group.group_id for group in result(self.admin.list_consumer_groups()).valid}

    def describe_group(self, group):
        described = result(self.admin.describe_consumer_groups([group])[group])
        return described.state.name.lower(), len(described.members)

    def delete_group(self, group):
        result(self.admin.delete_consumer_groups([group])[group])

    def committed(self, group, topic, partitions):
        wanted = [ck.TopicPartition(topic, p) for p in range(partitions)]
        request = ck.ConsumerGroupTopicPartitions(group, wanted)
        answer = result(self.admin.list_consumer_group_offsets([request])[group])
        return {each.partition: each.offset for each in answer.topic_partitions}

    def set_offsets(self, group, topic, offsets):
        places = [ck.TopicPartition(topic, p, o) for p, o in offsets.items()]
        request = ck.ConsumerGroupTopicPartitions(group, places)
        answer = result(self.admin.alter_consumer_group_offsets([request])[group])
        for each in answer.topic_partitions:
            if each.error is not None:
                raise failure_of(each.error)

    def produce(self, topic, records, codec="none", acks=-1, idempotent=False):
        producer = ck.Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "compression.type": codec,
                "acks": acks,
                "enable.idempotence": idempotent,
                "message.max.bytes": 10_000_000,
                "message.timeout.ms": int(TIMEOUT_S * 1000),
            }
        )
        errors = []

        def delivered(error, _message):
            if error is not None:
                errors.append(error)

        for record in records:
            place = {} if record.partition is None else {"partition": record.partition}
            when = {} if record.timestamp is None else {"timestamp": record.timestamp}
            producer.produce(
                topic,
                key=record.key,
                value=record.value,
                headers=record.headers,
                on_delivery=delivered,
                **place,
                **when,
            )
        left = producer.flush(TIMEOUT_S)
        if errors:
            raise failure_of(errors[0])
        if left:
            raise KafkaFailure("NOT_DELIVERED", f"{left} records")

    def consumer(self, group=None, reset="earliest", options=Options()):
        return ConfluentConsumer(self.bootstrap, group, reset, options)

    def transactions(self, transactional_id):
        return ConfluentTransactions(self.bootstrap, transactional_id)


DRIVER = ConfluentDriver
