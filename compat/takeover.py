#!/usr/bin/env python3
"""Serves copies of data directories that Apache Kafka wrote, and reads them with confluent-kafka.

    compat/.tools/venv/bin/python compat/takeover.py --broker target/debug/millstream [--fixture FILE]

The archive holds a directory after kill -9, one after a clean stop, and a list of all that a client
read from them before. A client of ours must read exactly that, under both isolation levels, find the
groups' offsets, and go on writing and committing, also after another restart.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import confluent_kafka as ck  # noqa: E402

from harness.broker import Broker  # noqa: E402

FIXTURE = HERE.parent.parent / "shared" / "fixtures" / "kafka-4.0.0-data.tar.zst"
PATIENCE_S = 30.0


class Failed(Exception):
    """What is not as it must be."""


def text(value: bytes | None) -> str | None:
    """Bytes as the list has them."""
    return None if value is None else value.decode()


def read(address: str, topic: str, partition: int, isolation: str) -> tuple[int, int, list]:
    """The log's start, the high watermark, and every record as the list has it."""
    consumer = ck.Consumer({
        "bootstrap.servers": address, "group.id": "reader", "enable.auto.commit": False,
        "isolation.level": isolation, "enable.partition.eof": True, "check.crcs": True,
        "auto.offset.reset": "error",
    })
    place = ck.TopicPartition(topic, partition)
    low, high = consumer.get_watermark_offsets(place, timeout=PATIENCE_S)
    consumer.assign([ck.TopicPartition(topic, partition, low)])
    found, deadline = [], time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            if message.error().code() == ck.KafkaError._PARTITION_EOF:
                consumer.close()
                return low, high, found
            raise Failed(f"{topic}-{partition}: {message.error()}")
        value = message.value()
        digest = None if value is None else hashlib.sha256(value).hexdigest()[:16]
        headers = [[key, text(item)] for key, item in message.headers() or []]
        found.append([message.offset(), message.timestamp()[1], text(message.key()), digest, headers])
    raise Failed(f"{topic}-{partition}: the end did not come")


def check_records(address: str, listed: dict, added: dict[str, list]) -> int:
    """Holds every partition against the list, with what was added since behind it."""
    jobs = [(name, isolation) for name in listed for isolation in ["read_uncommitted", "read_committed"]]
    with ThreadPoolExecutor(max_workers=len(jobs)) as pool:
        return sum(pool.map(lambda job: check_partition(address, listed, added, *job), jobs))


def check_partition(address: str, listed: dict, added: dict[str, list], name: str, isolation: str) -> int:
    """One partition under one isolation level; how many records it has."""
    expected, more = listed[name], added.get(name, [])
    records = expected[isolation]
    records = expected["read_uncommitted"] if records == "same" else records
    low, high, found = read(address, *split(name), isolation)
    if low != expected["log_start"] or high != expected["high_watermark"] + len(more):
        raise Failed(f"{name}: offsets {low}..{high}")
    before, after = found[: len(records)], found[len(records):]
    if before != records:
        differs = (n for n, pair in enumerate(zip(before, records)) if pair[0] != pair[1])
        at = next(differs, len(before))
        raise Failed(f"{name}, {isolation}: record {at} is {before[at:at + 1]}, not {records[at:at + 1]}")
    if [record[2] for record in after] != more:
        raise Failed(f"{name}, {isolation}: added {more}, read {after}")
    return len(found)


def check_groups(address: str, groups: dict) -> None:
    """Holds the committed offsets against the list."""
    for group, offsets in groups.items():
        consumer = ck.Consumer({"bootstrap.servers": address, "group.id": group})
        places = [ck.TopicPartition(*split(name)) for name in offsets]
        for place in consumer.committed(places, timeout=PATIENCE_S):
            offset, metadata = offsets[f"{place.topic}-{place.partition}"]
            if (place.offset, place.metadata or None) != (offset, metadata):
                raise Failed(f"group {group}: {place} for {offset} {metadata!r}")
        consumer.close()


def split(name: str) -> tuple[str, int]:
    """Topic and number of a partition's name."""
    topic, partition = name.rsplit("-", 1)
    return topic, int(partition)


def write(address: str, listed: dict, added: dict[str, list]) -> None:
    """One record more in every partition, by an idempotent producer."""
    producer = ck.Producer({"bootstrap.servers": address, "enable.idempotence": True})
    for name, expected in listed.items():
        topic, partition = split(name)
        key = f"added-{len(added.get(name, []))}"
        failed = []
        producer.produce(topic, b"more", key.encode(), partition,
                         on_delivery=lambda error, _, failed=failed: failed.append(error) if error else None)
        if producer.flush(PATIENCE_S) or failed:
            raise Failed(f"{name}: not written: {failed}")
        added.setdefault(name, []).append(key)


def commit(address: str, groups: dict) -> None:
    """Moves every offset on by one, and says so in the list."""
    for group, offsets in groups.items():
        consumer = ck.Consumer({"bootstrap.servers": address, "group.id": group, "enable.auto.commit": False})
        for name, (offset, _) in list(offsets.items()):
            consumer.commit(offsets=[ck.TopicPartition(*split(name), offset + 1)], asynchronous=False)
            offsets[name] = [offset + 1, None]
        consumer.close()


def run(binary: Path, folder: Path, manifest: dict) -> str:
    """All steps on one directory."""
    listed, groups = manifest["topics"], json.loads(json.dumps(manifest["groups"]))
    added: dict[str, list] = {}
    # Nothing is compacted or expires while it is held against the list.
    settings = {"log.cleaner.enable": "false", "log.retention.check.interval.ms": "3600000"}
    broker = Broker(binary, folder, settings)
    broker.start()
    try:
        count = check_records(broker.address, listed, added)
        check_groups(broker.address, groups)
        write(broker.address, listed, added)
        commit(broker.address, groups)
        check_records(broker.address, listed, added)
        broker.kill()
        broker.start()
        check_records(broker.address, listed, added)
        check_groups(broker.address, groups)
        write(broker.address, listed, added)
        broker.stop()
        broker.start()
        check_records(broker.address, listed, added)
        check_groups(broker.address, groups)
    finally:
        broker.kill()
    return f"{count} records and {len(groups)} groups as listed, two records a partition added"


def main() -> int:
    """Runs and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", type=Path, required=True, help="the millstream binary")
    parser.add_argument("--fixture", type=Path, default=FIXTURE)
    args = parser.parse_args()
    if not args.fixture.exists():
        print("the fixture is not there\n0 passed, 0 failed, 1 skipped")
        return 0
    passed, failed = 0, 0
    with tempfile.TemporaryDirectory(prefix="millstream-takeover-") as scratch:
        root = Path(scratch)
        subprocess.run(["tar", "--zstd", "-xf", args.fixture, "-C", root], check=True)
        manifest = json.loads((root / "manifest.json").read_text())
        for name in ["killed", "clean"]:
            try:
                print(f"ok      {name}: {run(args.broker.resolve(), root / name, manifest)}")
                passed += 1
            except (Failed, ck.KafkaException) as error:
                print(f"FAILED  {name}: {error}")
                failed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
