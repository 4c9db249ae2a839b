"""Scenarios of writing: codecs, acknowledgements, idempotence, headers, sizes."""

from __future__ import annotations

import hashlib
import random

from harness.batches import CODECS, stored_batches
from harness.driver import Record
from harness.scenarios.base import (
    Context,
    check_keyed,
    eventually,
    expect,
    expect_equal,
    expect_failure,
    high_sum,
    keyed,
    read_all,
    scenario,
)


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
