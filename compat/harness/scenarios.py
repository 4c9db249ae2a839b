"""The one list of scenarios, each written once and run with every client that can: `SCENARIOS`.

A scenario gets a `Context` and raises on the first thing that is not as it must be. It waits for
events, never for a length of time, and uses topics and groups that nobody else uses.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from harness.batches import CODECS, stored_batches
from harness.driver import Consumer, Driver, KafkaFailure, Record

DEADLINE_S = 20.0


@dataclass
class Context:
    """What a scenario has at hand."""

    client: str
    scenario: str
    driver: Driver
    # The same client against a broker that makes no topics by itself.
    strict: Driver
    data_dir: Path

    def name(self, suffix: str = "") -> str:
        """A topic or group name of this client's and scenario's own."""
        return f"{self.client}.{self.scenario}{suffix}"

    def topic(self, partitions: int = 1, configs: dict | None = None, suffix: str = "") -> str:
        """Makes a topic."""
        name = self.name(suffix)
        self.driver.create_topic(name, partitions, configs)
        return name


@dataclass
class Scenario:
    """A line of the table."""

    name: str
    about: str
    run: Callable[[Context], None]


SCENARIOS: list[Scenario] = []


def scenario(name: str, about: str):
    """Adds a function to the list."""

    def add(run: Callable[[Context], None]):
        SCENARIOS.append(Scenario(name, about, run))
        return run

    return add


def expect(condition: bool, text: str) -> None:
    """Fails the scenario with a sentence."""
    if not condition:
        raise AssertionError(text)


def expect_equal(found, wanted, what: str) -> None:
    """Fails the scenario where two values differ."""
    if found != wanted:
        raise AssertionError(f"{what}: expected {wanted!r:.400}, found {found!r:.400}")


def expect_failure(name: str, call: Callable[[], object]) -> None:
    """The call must fail with this error of the protocol."""
    try:
        call()
    except KafkaFailure as failure:
        if failure.name != name:
            raise AssertionError(f"expected {name}, found {failure}") from failure
        return
    raise AssertionError(f"expected {name}, but the call succeeded")


def eventually(condition: Callable[[], object], what: str) -> None:
    """Asks again until the condition holds."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {DEADLINE_S:.0f} s: {what}")
        time.sleep(0.02)


def read(consumer: Consumer, count: int) -> list[Record]:
    """Reads until at least `count` records came."""
    records: list[Record] = []
    end = time.monotonic() + DEADLINE_S
    while len(records) < count:
        records += consumer.poll(0.5)
        if len(records) < count and time.monotonic() > end:
            raise AssertionError(f"{len(records)} of {count} records after {DEADLINE_S:.0f} s")
    return records


def read_all(context: Context, topic: str, partitions: int, count: int) -> list[Record]:
    """Reads a whole topic with a consumer of its own, and checks the order of each partition."""
    consumer = context.driver.consumer()
    try:
        consumer.assign(topic, dict.fromkeys(range(partitions), 0))
        records = read(consumer, count)
    finally:
        consumer.close()
    expect_equal(len(records), count, "records read")
    check_dense(records, {})
    return records


def check_dense(records: list[Record], start: dict[int, int]) -> None:
    """Offsets of each partition rise by one from `start` (0 where it is not named)."""
    following = dict(start)
    for record in records:
        wanted = following.get(record.partition, 0)
        expect_equal(record.offset, wanted, f"next offset of partition {record.partition}")
        following[record.partition] = wanted + 1


def keyed(count: int, keys: int = 37, value_bytes: int = 120, first: int = 0) -> list[Record]:
    """Numbered records that compress, each key many times."""
    return [
        Record(key=b"key-%d" % (i % keys), value=(b"value-%08d " % i).ljust(value_bytes, b"."))
        for i in range(first, first + count)
    ]


def check_keyed(written: list[Record], found: list[Record]) -> None:
    """Each record once, a key in one partition only, its values in the order they were written."""
    expect_equal(len(found), len(written), "records")
    partition_of: dict[bytes, int] = {}
    by_key: dict[bytes, list[bytes]] = {}
    for record in found:
        partition = partition_of.setdefault(record.key, record.partition)
        expect_equal(record.partition, partition, f"partition of {record.key!r}")
        by_key.setdefault(record.key, []).append(record.value)
    wanted: dict[bytes, list[bytes]] = {}
    for record in written:
        wanted.setdefault(record.key, []).append(record.value)
    expect_equal(by_key, wanted, "values by key")


def high_sum(driver: Driver, topic: str, partitions: int) -> int:
    """Sum of the high watermarks."""
    return sum(driver.watermarks(topic, partition)[1] for partition in range(partitions))


@scenario("create_topic", "create a topic, find it, refuse it the second time")
def create_topic(context: Context) -> None:
    topic = context.topic(3, {"retention.ms": "123456000"})
    expect(topic in context.driver.list_topics(), "the topic is not listed")
    expect_equal(context.driver.partitions(topic), 3, "partitions")
    for partition in range(3):
        expect_equal(context.driver.watermarks(topic, partition), (0, 0), "watermarks")
    expect_failure("TOPIC_ALREADY_EXISTS", lambda: context.driver.create_topic(topic, 3))


@scenario("auto_create", "produce to a topic that is not there yet")
def auto_create(context: Context) -> None:
    topic = context.name()
    written = keyed(10)
    context.driver.produce(topic, written)
    check_keyed(written, read_all(context, topic, 1, 10))


@scenario("unknown_topic", "an unknown topic is named as such, and not made")
def unknown_topic(context: Context) -> None:
    topic = context.name()
    expect_failure("UNKNOWN_TOPIC_OR_PARTITION", lambda: context.strict.partitions(topic))
    expect(topic not in context.strict.list_topics(), "asking has made the topic")


def codec_scenario(codec: str) -> None:
    """Declares the scenario of one codec."""

    @scenario(f"codec_{codec}", f"produce keyed and read back, codec {codec}")
    def produce_keyed(context: Context) -> None:
        topic = context.topic(3)
        written = keyed(600)
        context.driver.produce(topic, written, codec=codec)
        check_keyed(written, read_all(context, topic, 3, 600))
        stored = [b for p in range(3) for b in stored_batches(context.data_dir, topic, p)]
        expect_equal(sum(batch.records for batch in stored), 600, "records in stored batches")
        expect_equal({batch.codec for batch in stored}, {codec}, "codecs of the stored batches")


for each in CODECS:
    codec_scenario(each)


@scenario("acks", "produce with acks=1 and acks=0")
def acks(context: Context) -> None:
    topic = context.topic(1)
    context.driver.produce(topic, keyed(50), acks=1)
    context.driver.produce(topic, keyed(50, first=50), acks=0)
    eventually(lambda: context.driver.watermarks(topic, 0)[1] == 100, "all 100 records are there")
    check_keyed(keyed(100), read_all(context, topic, 1, 100))


@scenario("idempotent", "idempotent producing, each record once")
def idempotent(context: Context) -> None:
    topic = context.topic(3)
    written = keyed(2000)
    context.driver.produce(topic, written, idempotent=True)
    expect_equal(high_sum(context.driver, topic, 3), 2000, "sum of the high watermarks")
    check_keyed(written, read_all(context, topic, 3, 2000))
    stored = [b for p in range(3) for b in stored_batches(context.data_dir, topic, p)]
    expect(all(batch.producer_id >= 0 for batch in stored), "a stored batch has no producer id")


@scenario("headers_nulls", "headers, null and empty keys and values")
def headers_nulls(context: Context) -> None:
    topic = context.topic(1)
    trace = b"text" if context.driver.text_headers else b"\x00\x01\xff"
    headers: list[tuple[str, bytes | None]] = [("trace", trace), ("naïve-ключ", b"x")]
    if context.driver.repeated_headers:
        headers += [("trace", b"again")]
    if context.driver.null_header_values:
        headers += [("empty", None)]
    written = [
        Record(key=b"k", value=b"with headers", headers=headers),
        Record(key=None, value=b"no key"),
        Record(key=b"tombstone", value=None),
        Record(key=b"empty value", value=b""),
    ]
    context.driver.produce(topic, written)
    found = read_all(context, topic, 1, len(written))
    for wanted, record in zip(written, found):
        expect_equal(record.key, wanted.key, "key")
        expect_equal(record.value, wanted.value, f"value of {wanted.key!r}")
        expect_equal(sorted(record.headers, key=repr), sorted(wanted.headers, key=repr), "headers")


@scenario("large_900k", "a message of 900 kB")
def large_900k(context: Context) -> None:
    topic = context.topic(1)
    value = random.Random(7).randbytes(900_000)
    context.driver.produce(topic, [Record(key=b"large", value=value), Record(value=b"after")])
    found = read_all(context, topic, 1, 2)
    digests = [hashlib.sha256(record.value).hexdigest() for record in found]
    wanted = [hashlib.sha256(value).hexdigest(), hashlib.sha256(b"after").hexdigest()]
    expect_equal(digests, wanted, "digests of the values")


@scenario("too_large", "a message that is too large is refused by name, the next one goes through")
def too_large(context: Context) -> None:
    topic = context.topic(1)
    value = random.Random(8).randbytes(1_500_000)
    refused = [Record(key=b"large", value=value)]
    expect_failure("MESSAGE_TOO_LARGE", lambda: context.driver.produce(topic, refused))
    context.driver.produce(topic, [Record(value=b"after")])
    expect_equal(read_all(context, topic, 1, 1)[0].value, b"after", "the only value")


@scenario("group_commit", "read from the beginning in a group, commit, see what is committed")
def group_commit(context: Context) -> None:
    topic, group = context.topic(3), context.name(".group")
    written = keyed(300)
    context.driver.produce(topic, written)
    consumer = context.driver.consumer(group)
    try:
        consumer.subscribe(topic)
        found = read(consumer, 300)
        consumer.commit()
    finally:
        consumer.close()
    check_dense(found, {})
    check_keyed(written, found)
    ends = {partition: context.driver.watermarks(topic, partition)[1] for partition in range(3)}
    expect_equal(context.driver.committed(group, topic, 3), ends, "committed offsets")


@scenario("group_resume", "a group goes on where it had committed")
def group_resume(context: Context) -> None:
    topic, group = context.topic(2), context.name(".group")
    following: dict[int, int] = {}
    for first in (0, 200, 260):
        count = {0: 200, 200: 60, 260: 5}[first]
        written = keyed(count, first=first)
        context.driver.produce(topic, written)
        consumer = context.driver.consumer(group)
        try:
            consumer.subscribe(topic)
            found = read(consumer, count)
            consumer.commit()
        finally:
            consumer.close()
        check_dense(found, following)
        check_keyed(written, found)
        for record in found:
            following[record.partition] = record.offset + 1


@scenario("seek_offset", "seek to an offset, forwards and backwards")
def seek_offset(context: Context) -> None:
    topic = context.topic(1)
    context.driver.produce(topic, keyed(100))
    consumer = context.driver.consumer()
    try:
        consumer.assign(topic, {0: 10})
        expect_equal(read(consumer, 1)[0].offset, 10, "offset after assigning at 10")
        for target in (42, 7, 99):
            consumer.seek(topic, 0, target)
            record = read(consumer, 1)[0]
            expect_equal(record.offset, target, f"offset after seeking to {target}")
            expect(record.value.startswith(b"value-%08d" % target), "another record's value")
    finally:
        consumer.close()


@scenario("seek_time", "find an offset by time, and read from there")
def seek_time(context: Context) -> None:
    topic = context.topic(1)
    base = int(time.time() * 1000) - 3_600_000
    records = keyed(60)
    for i, record in enumerate(records):
        record.timestamp = base + i * 1000
    context.driver.produce(topic, records)
    times = {base - 5000: 0, base: 0, base + 20_000: 20, base + 20_001: 21, base + 59_000: 59}
    for timestamp, offset in times.items():
        found = context.driver.offset_for_time(topic, 0, timestamp)
        expect_equal(found, offset, f"offset for {timestamp - base} ms after the first")
    consumer = context.driver.consumer()
    try:
        consumer.assign(topic, {0: context.driver.offset_for_time(topic, 0, base + 30_500)})
        record = read(consumer, 1)[0]
    finally:
        consumer.close()
    expect_equal((record.offset, record.timestamp), (31, base + 31_000), "record read from there")


class Member(threading.Thread):
    """A consumer of a group, polled by a thread of its own."""

    def __init__(self, context: Context, group: str, topic: str):
        super().__init__(daemon=True)
        self.consumer = context.driver.consumer(group)
        self.topic = topic
        self.held: set[int] = set()
        self.seen: set[tuple[int, int]] = set()
        self.failure: BaseException | None = None
        self.leaving = threading.Event()

    def run(self) -> None:
        try:
            self.consumer.subscribe(self.topic)
            while not self.leaving.is_set():
                for record in self.consumer.poll(0.1):
                    self.seen.add((record.partition, record.offset))
                self.held = self.consumer.assignment()
        except BaseException as failure:  # noqa: BLE001 (handed to the scenario's thread)
            self.failure = failure
        finally:
            self.held = set()
            self.consumer.close()

    def leave(self) -> None:
        """Leaves the group."""
        self.leaving.set()
        self.join(DEADLINE_S)


def shared(members: list[Member], sizes: list[int]) -> bool:
    """Whether the members hold all partitions, each once, in these sizes."""
    for member in members:
        if member.failure is not None:
            raise member.failure
    held = [set(member.held) for member in members]
    union = set().union(*held)
    return sorted(map(len, held)) == sizes and len(union) == sum(sizes)


@scenario("rebalance", "two consumers share six partitions while a third joins and leaves")
def rebalance(context: Context) -> None:
    topic, group = context.topic(6), context.name(".group")
    members = [Member(context, group, topic) for _ in range(2)]

    def write(first: int) -> None:
        records = keyed(120, first=first)
        for i, record in enumerate(records):
            record.partition = i % 6
        context.driver.produce(topic, records)

    try:
        write(0)
        for member in members:
            member.start()
        eventually(lambda: shared(members, [3, 3]), "two members hold three partitions each")
        write(120)
        members.append(Member(context, group, topic))
        members[2].start()
        eventually(lambda: shared(members, [2, 2, 2]), "three members hold two partitions each")
        write(240)
        members[2].leave()
        eventually(lambda: shared(members[:2], [3, 3]), "two members hold three again")
        write(360)
        wanted = {(partition, offset) for partition in range(6) for offset in range(80)}
        eventually(
            lambda: set().union(*(member.seen for member in members)) == wanted,
            "every record was handed to a member",
        )
    finally:
        for member in members:
            if member.is_alive():
                member.leave()


@scenario("describe_configs", "describe the settings of a topic")
def describe_configs(context: Context) -> None:
    topic = context.topic(1, {"retention.ms": "7200000", "cleanup.policy": "compact"})
    configs = context.driver.describe_configs(topic)
    wanted = {
        "retention.ms": "7200000",
        "cleanup.policy": "compact",
        "max.message.bytes": "1048588",
        "compression.type": "producer",
        "segment.bytes": "1073741824",
    }
    expect_equal({name: configs.get(name) for name in wanted}, wanted, "settings")


@scenario("alter_configs", "alter settings of a topic, refuse a value that is none")
def alter_configs(context: Context) -> None:
    topic = context.topic(1)
    context.driver.alter_configs(topic, {"retention.ms": "3600000", "max.message.bytes": "2000"})
    configs = context.driver.describe_configs(topic)
    expect_equal(configs["retention.ms"], "3600000", "retention.ms")
    refused = [Record(value=random.Random(9).randbytes(5000))]
    expect_failure("MESSAGE_TOO_LARGE", lambda: context.driver.produce(topic, refused))
    wrong = {"retention.ms": "soon"}
    expect_failure("INVALID_CONFIG", lambda: context.driver.alter_configs(topic, wrong))
    configs = context.driver.describe_configs(topic)
    expect_equal(configs["retention.ms"], "3600000", "retention.ms after the refusal")


@scenario("add_partitions", "add partitions, refuse to take some away")
def add_partitions(context: Context) -> None:
    topic = context.topic(2)
    context.driver.produce(topic, [Record(value=b"first", partition=1)])
    context.driver.add_partitions(topic, 5)
    eventually(lambda: context.driver.partitions(topic) == 5, "five partitions are seen")
    records = [Record(value=b"p%d" % partition, partition=partition) for partition in range(5)]
    context.driver.produce(topic, records)
    found = read_all(context, topic, 5, 6)
    wanted = sorted([(p, b"p%d" % p) for p in range(5)] + [(1, b"first")])
    expect_equal(sorted((r.partition, r.value) for r in found), wanted, "records")
    expect_failure("INVALID_PARTITIONS", lambda: context.driver.add_partitions(topic, 3))


@scenario("delete_records", "delete the first records of a partition")
def delete_records(context: Context) -> None:
    topic = context.topic(1)
    context.driver.produce(topic, keyed(100))
    context.driver.delete_records(topic, {0: 40})
    expect_equal(context.driver.watermarks(topic, 0), (40, 100), "watermarks")
    consumer = context.driver.consumer(context.name(".group"))
    try:
        consumer.subscribe(topic)
        found = read(consumer, 60)
    finally:
        consumer.close()
    check_dense(found, {0: 40})
    expect_failure("OFFSET_OUT_OF_RANGE", lambda: context.driver.delete_records(topic, {0: 101}))


def with_active_group(context: Context, check: Callable[[str], None]) -> str:
    """Runs a check while a group has one member that reads; returns the group, empty by then."""
    topic, group = context.topic(1), context.name(".group")
    context.driver.produce(topic, keyed(10))
    consumer = context.driver.consumer(group)
    try:
        consumer.subscribe(topic)
        read(consumer, 10)
        consumer.commit()
        check(group)
    finally:
        consumer.close()
    return group


@scenario("list_groups", "list groups, with members and without")
def list_groups(context: Context) -> None:
    def listed(group: str) -> None:
        expect(group in context.driver.list_groups(), "the active group is not listed")

    group = with_active_group(context, listed)
    expect(group in context.driver.list_groups(), "the empty group is not listed")


@scenario("describe_groups", "describe a group, with a member and without")
def describe_groups(context: Context) -> None:
    def described(group: str) -> None:
        expect_equal(context.driver.describe_group(group), ("stable", 1), "the active group")

    group = with_active_group(context, described)
    eventually(
        lambda: context.driver.describe_group(group) == ("empty", 0), "the group is empty"
    )


@scenario("delete_groups", "refuse to delete an active group, delete an empty one")
def delete_groups(context: Context) -> None:
    def refused(group: str) -> None:
        expect_failure("NON_EMPTY_GROUP", lambda: context.driver.delete_group(group))

    group = with_active_group(context, refused)
    eventually(lambda: context.driver.describe_group(group)[1] == 0, "the group has no member")
    context.driver.delete_group(group)
    expect(group not in context.driver.list_groups(), "the deleted group is still listed")
    expect_failure("GROUP_ID_NOT_FOUND", lambda: context.driver.delete_group(group))


@scenario("delete_topic", "delete a topic, make it again, find it empty")
def delete_topic(context: Context) -> None:
    topic = context.topic(2)
    context.driver.produce(topic, keyed(20))
    context.driver.delete_topic(topic)
    eventually(lambda: topic not in context.driver.list_topics(), "the topic is gone")
    expect_failure("UNKNOWN_TOPIC_OR_PARTITION", lambda: context.driver.delete_topic(topic))
    context.driver.create_topic(topic, 1)
    eventually(lambda: context.driver.partitions(topic) == 1, "the new topic has one partition")
    context.driver.produce(topic, [Record(value=b"new")])
    expect_equal(read_all(context, topic, 1, 1)[0].value, b"new", "the only value")


def reset_from_beyond(context: Context, reset: str) -> tuple[Consumer, str]:
    """A consumer that starts at an offset far beyond the end of 100 records."""
    topic = context.topic(1)
    context.driver.produce(topic, keyed(100))
    consumer = context.driver.consumer(reset=reset)
    consumer.assign(topic, {0: 1_000_000})
    return consumer, topic


@scenario("reset_earliest", "an offset out of range, reset to the earliest")
def reset_earliest(context: Context) -> None:
    consumer, _ = reset_from_beyond(context, "earliest")
    try:
        found = read(consumer, 100)
    finally:
        consumer.close()
    check_dense(found, {})


@scenario("reset_latest", "an offset out of range, reset to the latest")
def reset_latest(context: Context) -> None:
    consumer, topic = reset_from_beyond(context, "latest")
    found: list[Record] = []

    def arrived() -> bool:
        # The reset happens when the client gets to it: records written before are rightly skipped.
        context.driver.produce(topic, [Record(value=b"new")])
        found.extend(consumer.poll(0.3))
        return bool(found)

    try:
        eventually(arrived, "a record written after the reset arrives")
    finally:
        consumer.close()
    expect(found[0].offset >= 100, f"offset {found[0].offset} was there before the reset")
    check_dense(found, {0: found[0].offset})


@scenario("reset_none", "an offset out of range without a reset policy is an error")
def reset_none(context: Context) -> None:
    consumer, _ = reset_from_beyond(context, "none")
    try:
        expect_failure("OFFSET_OUT_OF_RANGE", lambda: read(consumer, 1))
    finally:
        consumer.close()
