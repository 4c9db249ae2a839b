"""A group member in a process of its own, made to be killed: prints what it holds as it changes.

    python -m harness.member CLIENT HOST:PORT TOPIC GROUP INSTANCE SESSION_MS

INSTANCE is `-` for a member without one. A line is the partitions it holds, such as `0,3`, or empty.
"""

from __future__ import annotations

import sys

from clients.registry import driver_class
from harness.driver import Options


def main() -> None:
    """Polls for ever."""
    client, bootstrap, topic, group, instance, session_ms = sys.argv[1:]
    options = Options(instance=None if instance == "-" else instance, session_ms=int(session_ms))
    consumer = driver_class(client)(bootstrap).consumer(group, options=options)
    consumer.subscribe(topic)
    shown = None
    while True:
        consumer.poll(0.1)
        held = ",".join(map(str, sorted(consumer.assignment())))
        if held != shown:
            shown = held
            print(held, flush=True)


if __name__ == "__main__":
    main()
