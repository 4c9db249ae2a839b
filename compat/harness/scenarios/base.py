"""What every scenario is made of: `Context`, the list that scenarios are added to, and the checks.

A scenario gets a `Context` and raises on the first thing that is not as it must be. It waits for
events, never for a length of time, and uses topics and groups that nobody else uses.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

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
    # Keys of APIs that the broker must serve for it.
    needs: frozenset[int] = frozenset()


SCENARIOS: list[Scenario] = []


def scenario(name: str, about: str, needs: set[int] = frozenset()):
    """Adds a function to the list."""

    def add(run: Callable[[Context], None]):
        SCENARIOS.append(Scenario(name, about, run, frozenset(needs)))
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
