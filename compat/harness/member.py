"""A group member in a process of its own, made to be killed: prints what it holds and has read as it changes.

    python -m harness.member CLIENT HOST:PORT TOPIC GROUP INSTANCE SESSION_MS classic|consumer

INSTANCE is `-` for a member without one; the last word is the group protocol. A line is JSON: the
partitions it `held`, and the partition and offset of each record that it has `seen`.
"""

from __future__ import annotations

import json
import sys

from clients.registry import driver_class
from harness.driver import Options


def main() -> None:
    """Polls for ever."""
    client, bootstrap, topic, group, instance, session_ms, protocol = sys.argv[1:]
    options = Options(
        instance=None if instance == "-" else instance,
        session_ms=int(session_ms),
        new_protocol=protocol == "consumer",
    )
    consumer = driver_class(client)(bootstrap).consumer(group, options=options)
    consumer.subscribe(topic)
    shown, seen = None, set()
    while True:
        seen |= {(record.partition, record.offset) for record in consumer.poll(0.1)}
        line = json.dumps({"held": sorted(consumer.assignment()), "seen": sorted(seen)})
        if line != shown:
            shown = line
            print(line, flush=True)


if __name__ == "__main__":
    main()
