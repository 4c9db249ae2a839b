"""Scenarios of a cluster whose leaders are killed meanwhile: a client finds the new ones by itself.

They run at the same time, in threads, and go on until the runner says that the last broker has been killed
(`Killing`). They are no part of the table of one broker. The runner makes their topics.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from harness.driver import Consumer, KafkaFailure, Options, Record
from harness.scenarios.base import Context, Scenario, expect, expect_equal, keyed

PARTITIONS = 6
BATCH = 60
TXN_BATCH = 20
PAUSE_S = 0.05
# From the last kill until everything must have gone on.
LIMIT_S = 30.0


class Killing:
    """What the runner and its clients tell each other: a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def is_over(self) -> bool:
        """Whether the last broker has been killed and is back."""
        return (self.folder / "over").exists()

    def end(self) -> None:
        """Says so."""
        (self.folder / "over").touch()

    def begun(self, name: str) -> None:
        """Says that a scenario is in full swing."""
        (self.folder / f"begun.{name}").touch()

    def have_begun(self) -> set[str]:
        """All that said so."""
        return {path.name.removeprefix("begun.") for path in self.folder.glob("begun.*")}


def killing() -> Killing:
    """That of this run."""
    return Killing(Path(os.environ["COMPAT_KILLING"]))


def spread(first: int, count: int) -> list[Record]:
    """Numbered records over all partitions."""
    records = keyed(count, first=first)
    for i, record in enumerate(records):
        record.partition = (first + i) % PARTITIONS
    return records


class Writer(threading.Thread):
    """Writes numbered records with idempotence until the killing is over."""

    def __init__(self, context: Context, topic: str):
        super().__init__(daemon=True)
        self.context, self.topic = context, topic
        self.written = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            signal = killing()
            while not signal.is_over():
                batch = spread(self.written, BATCH)
                self.context.driver.produce(self.topic, batch, idempotent=True)
                self.written += BATCH
                time.sleep(PAUSE_S)
        except BaseException as failure:  # noqa: BLE001 (raised where it is joined)
            self.failure = failure

    def done(self) -> bool:
        """Whether it has ended; raises what ended it."""
        if self.is_alive():
            return False
        if self.failure is not None:
            raise self.failure
        return True


def follow(context: Context, consumer: Consumer, commits: bool) -> tuple[list[Record], int]:
    """Reads along with a writer until all is read; the records and how many were written."""
    topic = context.name()
    writer = Writer(context, topic)
    writer.start()
    found: list[Record] = []
    seen: set[bytes] = set()
    end = None
    while not writer.done() or len(seen) < writer.written:
        records = consumer.poll(0.2)
        found += records
        seen.update(record.value for record in records)
        if records:
            killing().begun(topic)
        if records and commits:
            try_commit(consumer)
        if writer.is_alive():
            continue
        end = end or time.monotonic() + LIMIT_S
        if time.monotonic() > end:
            raise AssertionError(f"{len(seen)} of {writer.written} records were read")
    return found, writer.written


def try_commit(consumer: Consumer) -> None:
    """Commits, where the group is not just being joined anew: a later commit makes up for it."""
    try:
        consumer.commit()
    except Exception:  # noqa: BLE001 (each client has its own)
        pass


def by_partition(records: list[Record]) -> dict[int, list[bytes]]:
    """Values in the order of their offsets."""
    found: dict[int, dict[int, bytes]] = {}
    for record in records:
        found.setdefault(record.partition, {})[record.offset] = record.value
    return {p: [values[o] for o in sorted(values)] for p, values in found.items()}


def check_once(found: list[Record], written: int) -> None:
    """Every record once, in the order in which it was written."""
    wanted: dict[int, list[bytes]] = {}
    for record in spread(0, written):
        wanted.setdefault(record.partition, []).append(record.value)
    values = by_partition(found)
    for partition, expected in wanted.items():
        expect_equal(values.get(partition), expected, f"records of partition {partition}")


def produce_consume(context: Context) -> None:
    consumer = context.driver.consumer()
    try:
        consumer.assign(context.name(), dict.fromkeys(range(PARTITIONS), 0))
        found, written = follow(context, consumer, commits=False)
    finally:
        consumer.close()
    offsets = [(record.partition, record.offset) for record in found]
    expect_equal(len(set(offsets)), len(offsets), "records that were handed out once")
    check_once(found, written)


def group(context: Context) -> None:
    consumer = context.driver.consumer(group=context.name(".group"))
    try:
        consumer.subscribe(context.name())
        found, written = follow(context, consumer, commits=True)
        check_once(found, written)
        # A later member begins where this one ended.
        end, below = time.monotonic() + LIMIT_S, -1
        while below != written and time.monotonic() < end:
            try_commit(consumer)
            consumer.poll(0.1)
            committed = context.driver.committed(context.name(".group"), context.name(), PARTITIONS)
            below = sum(max(offset, 0) for offset in committed.values())
        expect_equal(below, written, "records below the committed offsets")
    finally:
        consumer.close()


def transactions(context: Context) -> None:
    """A loop that reads, changes and writes; what it reads are the numbers of the offsets that it commits."""
    name, sink, source = context.name(), context.name(), context.name(".in")
    signal, writer = killing(), None
    following, restarts = 0, 0
    end = None
    while not signal.is_over() or writer is None:
        if signal.is_over():
            end = end or time.monotonic() + LIMIT_S
            expect(time.monotonic() < end, "no transaction could be begun again")
        try:
            if writer is None:
                # First of all: this ends what was left open, so the offset below is final.
                writer = context.driver.transactions(name)
                committed = context.driver.committed(name, source, 1)
                following = max(committed.get(0, 0), 0)
            writer.begin()
            writer.send(sink, spread(following, TXN_BATCH))
            writer.send_offsets(name, source, {0: following + TXN_BATCH})
            writer.commit()
            following += TXN_BATCH
            signal.begun(name)
            time.sleep(PAUSE_S)
        except (KafkaFailure, TimeoutError):
            # Whether it was committed is known from the offset alone.
            restarts += 1
            if writer is not None:
                try:
                    writer.close()
                except (KafkaFailure, TimeoutError):
                    pass
            writer = None
            time.sleep(PAUSE_S)
    writer.close()
    check_transactions(context, sink, following)


def check_transactions(context: Context, sink: str, count: int) -> None:
    """A reader of committed records sees each once, in order."""
    consumer = context.driver.consumer(options=Options(committed=True))
    found: list[Record] = []
    end = time.monotonic() + LIMIT_S
    try:
        consumer.assign(sink, dict.fromkeys(range(PARTITIONS), 0))
        while len(found) < count and time.monotonic() < end:
            found += consumer.poll(0.5)
        found += consumer.poll(0.5)
    finally:
        consumer.close()
    expect_equal(len(found), count, "records of committed transactions")
    check_once(found, count)


FAILOVER = [
    Scenario("produce_consume", "idempotent writing and reading along, each record once", produce_consume),
    Scenario("group", "a group reads everything and keeps its place", group),
    Scenario("transactions", "consume, transform, produce: each record once", transactions),
]

# Scenario name -> topics beside the one of its own name.
MORE_TOPICS = {"transactions": (".in",)}

# Client -> scenario -> why it is left out.
LEFT_OUT = {
    "kafka-python": {
        "transactions": "kafka-python 3.0.12 drops a request whose coordinator refuses the connection, and waits for ever",
    },
    "kafkajs": {
        "produce_consume": "kafkajs reads in groups alone; after an error it begins anew where the group committed, which is nowhere here",
    },
    "kcat": {
        "produce_consume": "kcat ends by itself when all connections that it has are down at once",
        "group": "the same librdkafka as confluent-kafka, not repeated with a command",
        "transactions": "kcat has no transactions of several records",
    },
    "platformatic": {
        "produce_consume": "@platformatic/kafka misreads refusals that name the new leader (KIP-951), and fails on brokers that left",
        "group": "@platformatic/kafka misreads refusals that name the new leader (KIP-951), and fails on brokers that left",
        "transactions": "@platformatic/kafka hands out records of aborted transactions to read_committed readers",
    },
}
