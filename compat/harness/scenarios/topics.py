"""Scenarios of topics: making, finding, changing and deleting them."""

from __future__ import annotations

import random

from harness.driver import Record
from harness.scenarios.base import (
    Context,
    check_dense,
    check_keyed,
    eventually,
    expect,
    expect_equal,
    expect_failure,
    keyed,
    read,
    read_all,
    scenario,
)


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
