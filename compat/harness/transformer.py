"""A consume-transform-produce loop in a process of its own, made to be killed at any instant.

    python -m harness.transformer CLIENT HOST:PORT SOURCE SINK ID RECORDS

It takes up the offsets that its transactions have committed, and ends when all records are through.
"""

from __future__ import annotations

import os
import sys

from clients.registry import driver_class
from harness.driver import Options, Record

BATCH = 20
PARTITIONS = 2


def main() -> None:
    """Runs the loop."""
    client, bootstrap, source, sink, name, total = sys.argv[1:]
    driver = driver_class(client)(bootstrap)
    # First of all: this fences a predecessor and ends what it left open, so the offsets below are final.
    transactions = driver.transactions(name)
    committed = driver.committed(name, source, PARTITIONS)
    following = {p: max(committed.get(p, 0), 0) for p in range(PARTITIONS)}
    consumer = driver.consumer(options=Options(committed=True))
    consumer.assign(source, following)
    waiting: list[Record] = []
    while sum(following.values()) < int(total):
        if not waiting:
            waiting = consumer.poll(1.0)
            continue
        batch, waiting = waiting[:BATCH], waiting[BATCH:]
        for record in batch:
            following[record.partition] = record.offset + 1
        changed = [
            Record(key=r.key, value=b"seen " + r.value, partition=r.partition) for r in batch
        ]
        transactions.begin()
        transactions.send(sink, changed)
        transactions.send_offsets(name, source, following)
        transactions.commit()
    os._exit(0)


if __name__ == "__main__":
    main()
