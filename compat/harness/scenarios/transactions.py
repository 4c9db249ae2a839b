"""Scenarios of transactions: what is committed is seen once, what is aborted never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from harness.driver import KafkaFailure, Options, Record
from harness.scenarios.base import (
    DEADLINE_S,
    Context,
    eventually,
    expect,
    expect_equal,
    keyed,
    read,
    scenario,
)

ADD_PARTITIONS, ADD_OFFSETS, END_TXN, TXN_OFFSETS = 24, 25, 26, 28
TRANSACTIONS = {ADD_PARTITIONS, ADD_OFFSETS, END_TXN, TXN_OFFSETS}
COMMITTED = Options(committed=True)
LOOP_RECORDS = 2000


def placed(count: int, partitions: int, first: int = 0) -> list[Record]:
    """Numbered records, spread evenly."""
    records = keyed(count, first=first)
    for i, record in enumerate(records):
        record.partition = i % partitions
    return records


def values(records: list[Record]) -> list[bytes]:
    """Values in a fixed order."""
    return sorted(record.value for record in records)


def read_values(context: Context, topic: str, partitions: int, count: int, options: Options):
    """Values of a whole topic as one kind of reader sees it; there must be no more than `count`."""
    consumer = context.driver.consumer(options=options)
    try:
        consumer.assign(topic, dict.fromkeys(range(partitions), 0))
        found = read(consumer, count)
    finally:
        consumer.close()
    return values(found)


@scenario("txn_commit_abort", "committed records are read, aborted ones are not", TRANSACTIONS)
def txn_commit_abort(context: Context) -> None:
    topic = context.topic(3)
    transactions = context.driver.transactions(context.name(".id"))
    try:
        for first, ends in ((0, "abort"), (30, "commit"), (60, "abort"), (90, "commit")):
            transactions.begin()
            transactions.send(topic, placed(30, 3, first))
            getattr(transactions, ends)()
    finally:
        transactions.close()
    committed = placed(30, 3, 30) + placed(30, 3, 90)
    found = read_values(context, topic, 3, 60, COMMITTED)
    expect_equal(found, values(committed), "what a read_committed consumer sees")
    every = read_values(context, topic, 3, 120, Options())
    expect_equal(every, values(placed(120, 3)), "what a read_uncommitted consumer sees")


@scenario("txn_open", "records of an open transaction hold back later ones", TRANSACTIONS)
def txn_open(context: Context) -> None:
    topic = context.topic(1)
    transactions = context.driver.transactions(context.name(".id"))
    consumer = context.driver.consumer(options=COMMITTED)
    try:
        transactions.begin()
        transactions.send(topic, placed(10, 1))
        context.driver.produce(topic, placed(5, 1, 10))
        consumer.assign(topic, {0: 0})
        expect_equal(consumer.poll(0.5), [], "records read before the end of the transaction")
        transactions.commit()
        expect_equal(values(read(consumer, 15)), values(placed(15, 1)), "records read after it")
    finally:
        consumer.close()
        transactions.close()


@scenario("txn_offsets", "offsets in a transaction count only once it is committed", TRANSACTIONS)
def txn_offsets(context: Context) -> None:
    source, sink = context.topic(1, suffix=".in"), context.topic(1, suffix=".out")
    group = context.name(".group")
    context.driver.produce(source, placed(20, 1))
    transactions = context.driver.transactions(context.name(".id"))
    try:
        for ends, wanted in (("abort", -1), ("commit", 20)):
            transactions.begin()
            transactions.send(sink, placed(20, 1))
            transactions.send_offsets(group, source, {0: 20})
            getattr(transactions, ends)()
            found = max(context.driver.committed(group, source, 1).get(0, -1), -1)
            expect_equal(found, wanted, f"offset after the {ends}")
    finally:
        transactions.close()
    expect_equal(read_values(context, sink, 1, 20, COMMITTED), values(placed(20, 1)), "records")


@scenario("txn_fencing", "a second producer of the same id fences the first", TRANSACTIONS)
def txn_fencing(context: Context) -> None:
    topic = context.topic(1)
    first = context.driver.transactions(context.name(".id"))
    first.begin()
    first.send(topic, placed(5, 1))
    second = context.driver.transactions(context.name(".id"))
    fenced = None
    try:
        first.send(topic, placed(5, 1, 5))
        first.commit()
    except KafkaFailure as failure:
        fenced = failure
    expect(fenced is not None, "the first producer could commit")
    second.begin()
    second.send(topic, placed(5, 1, 10))
    second.commit()
    second.close()
    found = read_values(context, topic, 1, 5, COMMITTED)
    expect_equal(found, values(placed(5, 1, 10)), "records of the second producer alone")


def transformer(context: Context, source: str, sink: str) -> subprocess.Popen:
    """Starts a process that reads, changes and writes in transactions until all is done."""
    command = [sys.executable, "-m", "harness.transformer", context.client]
    command += [context.driver.bootstrap, source, sink, context.name(".id"), str(LOOP_RECORDS)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)


@scenario("txn_loop_killed", "a consume-transform-produce loop is killed, each record once", TRANSACTIONS)
def txn_loop_killed(context: Context) -> None:
    source, sink = context.topic(2, suffix=".in"), context.topic(2, suffix=".out")
    context.driver.produce(source, placed(LOOP_RECORDS, 2))
    process = transformer(context, source, sink)
    try:
        for kill_at in (60, 300):
            eventually(
                lambda: sum(context.driver.watermarks(sink, p)[1] for p in (0, 1)) >= kill_at
                or process.poll() is not None,
                f"the loop has written {kill_at} records",
            )
            if process.poll() is not None and kill_at > 60:
                # A quick client was done before the second kill.
                break
            expect_equal(process.poll(), None, "exit code of a loop that is not done")
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process = transformer(context, source, sink)
        end = time.monotonic() + DEADLINE_S
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        expect_equal(process.poll(), 0, "exit code of the loop")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    wanted = sorted(b"seen " + record.value for record in placed(LOOP_RECORDS, 2))
    found = read_values(context, sink, 2, LOOP_RECORDS, COMMITTED)
    expect_equal(found, wanted, "what the loop has written")
