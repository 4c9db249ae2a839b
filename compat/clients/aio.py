"""aiokafka. Its event loop runs in a thread of its own; the driver's calls hand coroutines to it."""

from __future__ import annotations

import asyncio
import threading

import aiokafka
from aiokafka import errors as ae
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from harness.driver import Consumer, Driver, KafkaFailure, Options, Record, Transactions

TIMEOUT_S = 25.0


def failure_of(error: Exception) -> KafkaFailure:
    """The protocol's name of an aiokafka error."""
    if isinstance(error, ae.ProducerFenced):
        return KafkaFailure("PRODUCER_FENCED", str(error))
    code = getattr(error, "errno", None)
    if isinstance(code, int):
        return KafkaFailure.of_code(code, str(error))
    return KafkaFailure(type(error).__name__, str(error))


def check(code: int, text: str | None = None) -> None:
    """Raises for an error code of an answer."""
    if code:
        raise KafkaFailure.of_code(code, text or "")


class Loop:
    """An event loop in a thread."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, coroutine):
        """Runs a coroutine to its end; errors under the protocol's names."""
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(TIMEOUT_S)
        except ae.KafkaError as error:
            raise failure_of(error) from error


class AioConsumer(Consumer):
    """An `AIOKafkaConsumer`."""

    def __init__(self, loop: Loop, bootstrap: str, group: str | None, reset: str, options: Options):
        self.loop = loop
        self.inner = loop.run(self._make(bootstrap, group, reset, options))

    @staticmethod
    async def _make(bootstrap, group, reset, options):
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset=reset,
            enable_auto_commit=False,
            group_instance_id=options.instance,
            isolation_level="read_committed" if options.committed else "read_uncommitted",
            session_timeout_ms=options.session_ms,
            heartbeat_interval_ms=200,
            fetch_max_wait_ms=200,
            max_partition_fetch_bytes=4_000_000,
            metadata_max_age_ms=1000,
        )
        await consumer.start()
        return consumer

    def subscribe(self, topic):
        async def subscribe():
            self.inner.subscribe([topic])

        self.loop.run(subscribe())

    def subscribe_pattern(self, pattern):
        async def subscribe():
            self.inner.subscribe(pattern=pattern)

        self.loop.run(subscribe())

    def assign(self, topic, offsets):
        async def assign():
            self.inner.assign([aiokafka.TopicPartition(topic, p) for p in offsets])
            for partition, offset in offsets.items():
                self.inner.seek(aiokafka.TopicPartition(topic, partition), offset)

        self.loop.run(assign())

    def poll(self, timeout_s):
        batches = self.loop.run(self.inner.getmany(timeout_ms=int(timeout_s * 1000)))
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
        async def seek():
            self.inner.seek(aiokafka.TopicPartition(topic, partition), offset)

        self.loop.run(seek())

    def commit(self):
        self.loop.run(self.inner.commit())

    def close(self):
        self.loop.run(self.inner.stop())


class AioTransactions(Transactions):
    """An `AIOKafkaProducer` with a transactional id."""

    def __init__(self, loop: Loop, bootstrap: str, transactional_id: str):
        self.loop = loop
        self.inner = loop.run(self._make(bootstrap, transactional_id))

    @staticmethod
    async def _make(bootstrap, transactional_id):
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=bootstrap, transactional_id=transactional_id, linger_ms=5
        )
        await producer.start()
        return producer

    def begin(self):
        self.loop.run(self.inner.begin_transaction())

    def send(self, topic, records):
        self.loop.run(self._send(topic, records))

    async def _send(self, topic, records):
        sent = [
            await self.inner.send(topic, key=r.key, value=r.value, partition=r.partition)
            for r in records
        ]
        await asyncio.gather(*sent)

    def send_offsets(self, group, topic, offsets):
        places = {aiokafka.TopicPartition(topic, p): o for p, o in offsets.items()}
        self.loop.run(self.inner.send_offsets_to_transaction(places, group))

    def commit(self):
        self.loop.run(self.inner.commit_transaction())

    def abort(self):
        self.loop.run(self.inner.abort_transaction())

    def close(self):
        self.loop.run(self.inner.stop())


class AioDriver(Driver):
    """An `AIOKafkaAdminClient`, and a producer or consumer a call."""

    cannot = {
        "delete_groups": "aiokafka's admin client has no call that deletes groups",
        "cooperative": "aiokafka has no cooperative assignor",
        "commit_unknown_topic": "aiokafka commits again and again while the topic is not there",
    } | dict.fromkeys(
        ("new_protocol", "new_protocol_killed", "new_protocol_static", "new_protocol_regex", "migration"),
        "aiokafka speaks only the classic group protocol"
    )

    def __init__(self, bootstrap: str):
        super().__init__(bootstrap)
        self.loop = Loop()
        self.admin = self.loop.run(self._make_admin())

    async def _make_admin(self):
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        return admin

    @staticmethod
    def version():
        return f"aiokafka {aiokafka.__version__}"

    def create_topic(self, topic, partitions=1, configs=None):
        new = NewTopic(topic, partitions, 1, topic_configs=configs or {})
        answer = self.loop.run(self.admin.create_topics([new]))
        for _, code, *text in answer.topic_errors:
            check(code, text[0] if text else None)

    def delete_topic(self, topic):
        answer = self.loop.run(self.admin.delete_topics([topic]))
        for _, code in answer.topic_error_codes:
            check(code)

    def list_topics(self):
        return set(self.loop.run(self.admin.list_topics()))

    def partitions(self, topic):
        described = self.loop.run(self.admin.describe_topics([topic]))[0]
        check(described["error_code"])
        return len(described["partitions"])

    def add_partitions(self, topic, total):
        wanted = {topic: NewPartitions(total)}
        answer = self.loop.run(self.admin.create_partitions(wanted))
        for _, code, text in answer.topic_errors:
            check(code, text)

    def describe_configs(self, topic):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        answers = self.loop.run(self.admin.describe_configs([resource]))
        code, text, _, _, entries = answers[0].resources[0]
        check(code, text)
        return {entry[0]: entry[1] for entry in entries}

    def alter_configs(self, topic, configs):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, dict(configs))
        answers = self.loop.run(self.admin.alter_configs([resource]))
        for code, text, *_ in answers[0].resources:
            check(code, text)

    def delete_records(self, topic, before):
        wanted = {
            aiokafka.TopicPartition(topic, p): RecordsToDelete(offset)
            for p, offset in before.items()
        }
        self.loop.run(self.admin.delete_records(wanted))

    def _with_consumer(self, ask):
        async def run():
            consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
            await consumer.start()
            try:
                return await ask(consumer)
            finally:
                await consumer.stop()

        return self.loop.run(run())

    def watermarks(self, topic, partition):
        where = aiokafka.TopicPartition(topic, partition)

        async def ask(consumer):
            low = await consumer.beginning_offsets([where])
            high = await consumer.end_offsets([where])
            return low[where], high[where]

        return self._with_consumer(ask)

    def offset_for_time(self, topic, partition, timestamp_ms):
        where = aiokafka.TopicPartition(topic, partition)

        async def ask(consumer):
            return (await consumer.offsets_for_times({where: timestamp_ms}))[where]

        found = self._with_consumer(ask)
        return None if found is None else found.offset

    def list_groups(self):
        return {group[0] for group in self.loop.run(self.admin.list_consumer_groups())}

    def describe_group(self, group):
        answers = self.loop.run(self.admin.describe_consumer_groups([group]))
        code, _, state, _, _, members, *_ = answers[0].groups[0]
        check(code)
        return state.lower(), len(members)

    def committed(self, group, topic, partitions):
        wanted = [aiokafka.TopicPartition(topic, p) for p in range(partitions)]
        call = self.admin.list_consumer_group_offsets(group, partitions=wanted)
        return {where.partition: entry.offset for where, entry in self.loop.run(call).items()}

    def set_offsets(self, group, topic, offsets):
        # The admin client has no call for it; a consumer without a subscription commits from outside.
        places = {aiokafka.TopicPartition(topic, p): o for p, o in offsets.items()}

        async def commit():
            consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False
            )
            await consumer.start()
            try:
                consumer.assign(list(places))
                await consumer.commit(places)
            finally:
                await consumer.stop()

        self.loop.run(commit())

    def produce(self, topic, records, codec="none", acks=-1, idempotent=False):
        self.loop.run(self._produce(topic, records, codec, acks, idempotent))

    async def _produce(self, topic, records, codec, acks, idempotent):
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            compression_type=None if codec == "none" else codec,
            acks="all" if acks == -1 else acks,
            enable_idempotence=idempotent,
            max_request_size=10_000_000,
            linger_ms=5,
        )
        await producer.start()
        try:
            sent = []
            for record in records:
                sent.append(
                    await producer.send(
                        topic,
                        key=record.key,
                        value=record.value,
                        headers=record.headers,
                        partition=record.partition,
                        timestamp_ms=record.timestamp,
                    )
                )
            outcomes = await asyncio.gather(*sent, return_exceptions=True)
        finally:
            await producer.stop()
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def consumer(self, group=None, reset="earliest", options=Options()):
        return AioConsumer(self.loop, self.bootstrap, group, reset, options)

    def transactions(self, transactional_id):
        return AioTransactions(self.loop, self.bootstrap, transactional_id)

    def close(self):
        self.loop.run(self.admin.close())


DRIVER = AioDriver
