"""Scenarios of reading without a group: seeking, and offsets that are out of range."""

from __future__ import annotations

import time

from harness.driver import Consumer, Record
from harness.scenarios.base import (
    Context,
    check_dense,
    eventually,
    expect,
    expect_equal,
    expect_failure,
    keyed,
    read,
    scenario,
)


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
