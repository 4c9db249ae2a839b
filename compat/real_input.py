#!/usr/bin/env python3
"""Streams every line of a real body of text through a broker that is killed twice on the way.

    compat/.tools/venv/bin/python compat/real_input.py --broker target/debug/millstream
        [--lines N | --full] [--source FOLDER] [--kills N] [--reader NAME]

confluent-kafka writes, keyed by file, over six partitions, with one idempotent producer a codec, all
five at once; the broker gets kill -9 in the middle and starts again. Another client reads everything
back. For each partition and producer both sides keep a running digest of keys and values: it is the
same only where every line arrived exactly once and in order.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import confluent_kafka as ck  # noqa: E402

from clients.confluent import ConfluentDriver  # noqa: E402
from clients.registry import driver_class  # noqa: E402
from harness.batches import CODECS, stored_batches  # noqa: E402
from harness.broker import Broker  # noqa: E402

TOPIC = "real-input"
PARTITIONS = 6
SMALL, FULL = 50_000, 2_200_000
LONGEST_LINE = 900_000
BLOCK = 1000
PATIENCE_S = 120.0


class Failed(Exception):
    """What is not as it must be."""


def default_source() -> Path:
    """Sources of crates that cargo has unpacked, or this project's own tree."""
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    registry = home / "registry" / "src"
    return registry if registry.is_dir() else HERE.parent


def lines_of(source: Path, wanted: int) -> Iterator[tuple[bytes, bytes]]:
    """(file, line) pairs until there are enough; goes round again where the source is small."""
    given = 0
    for turn in range(1000):
        before = given
        for path in sorted(source.rglob("*")):
            if any(part in (".git", "target", ".tools") for part in path.relative_to(source).parts):
                continue
            if not path.is_file() or path.is_symlink():
                continue
            data = path.read_bytes()
            if b"\0" in data[:8192]:
                continue
            key = f"{turn}/{path.relative_to(source)}".encode()
            for line in data.split(b"\n"):
                if len(line) > LONGEST_LINE:
                    continue
                yield key, line
                given += 1
                if given == wanted:
                    return
        if given == before:
            raise Failed(f"no text under {source}")


@dataclass
class Digest:
    """A running digest of the records of one partition and producer, with marks to find a difference."""

    running: object = field(default_factory=hashlib.sha256)
    count: int = 0
    marks: list[str] = field(default_factory=list)

    def add(self, key: bytes, value: bytes) -> None:
        """The next record."""
        self.running.update(b"%d %d " % (len(key), len(value)))
        self.running.update(key)
        self.running.update(value)
        self.count += 1
        if self.count % BLOCK == 0:
            self.marks.append(self.running.hexdigest())

    def same(self, other: "Digest") -> bool:
        """Whether both saw the same records in the same order."""
        return self.count == other.count and self.running.digest() == other.running.digest()

    def difference(self, other: "Digest") -> str:
        """Where two digests part."""
        pairs = zip(self.marks, other.marks)
        first = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
        where = "after the last common mark" if first is None else f"in block {first} of {BLOCK}"
        return f"wrote {self.count}, read {other.count}, differ {where}"


def place(key: bytes) -> tuple[int, int]:
    """Partition and codec of a key."""
    number = zlib.crc32(key)
    return number % PARTITIONS, (number // PARTITIONS) % len(CODECS)


class Writer:
    """One idempotent producer a codec."""

    def __init__(self, bootstrap: str):
        self.errors: list[str] = []
        self.producers = [self._producer(bootstrap, codec) for codec in CODECS]
        self.digests: dict[tuple[int, int], Digest] = {}
        self.bytes = 0

    def _producer(self, bootstrap: str, codec: str) -> ck.Producer:
        return ck.Producer(
            {
                "bootstrap.servers": bootstrap,
                "compression.type": codec,
                "enable.idempotence": True,
                "linger.ms": 20,
                "message.timeout.ms": int(PATIENCE_S * 1000),
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                "retry.backoff.ms": 50,
                # Small enough that lines are always under way when the broker is killed.
                "queue.buffering.max.messages": 20_000,
                "delivery.report.only.error": True,
                "on_delivery": self._delivered,
                "error_cb": self._error,
                "log_level": 2,
            }
        )

    def _delivered(self, error, message) -> None:
        if error is not None:
            self.errors.append(f"not delivered: {error.str()} ({message.topic()})")

    def _error(self, error) -> None:
        if error.fatal():
            self.errors.append(f"fatal: {error.str()}")

    def write(self, key: bytes, line: bytes) -> None:
        """Hands a line over; waits while the producer's queue is full."""
        partition, codec = place(key)
        producer = self.producers[codec]
        end = None
        while True:
            try:
                producer.produce(TOPIC, key=key, value=line, partition=partition)
                break
            except BufferError:
                end = end or time.monotonic() + PATIENCE_S
                producer.poll(0.05)
                self.check()
                if time.monotonic() > end:
                    raise Failed(f"the {CODECS[codec]} producer made no way for {PATIENCE_S} s")
        self.digests.setdefault((partition, codec), Digest()).add(key, line)
        self.bytes += len(key) + len(line)

    def serve(self) -> None:
        """Lets every producer report."""
        for producer in self.producers:
            producer.poll(0)
        self.check()

    def check(self) -> None:
        """Fails on the first error that a producer reported."""
        if self.errors:
            raise Failed(self.errors[0])

    def finish(self) -> None:
        """Waits until everything is acknowledged."""
        for codec, producer in zip(CODECS, self.producers):
            left = producer.flush(PATIENCE_S)
            self.check()
            if left:
                raise Failed(f"{left} lines of the {codec} producer were not acknowledged")


def write_all(broker: Broker, args: argparse.Namespace) -> Writer:
    """Writes every line, killing the broker at even distances."""
    writer = Writer(broker.address)
    kills = [args.lines * (i + 1) // (args.kills + 1) for i in range(args.kills)]
    shown = time.monotonic()
    began = shown
    for number, (key, line) in enumerate(lines_of(args.source, args.lines), start=1):
        writer.write(key, line)
        if number % 2000 == 0:
            writer.serve()
        if kills and number == kills[0]:
            kills.pop(0)
            waiting = sum(map(len, writer.producers))
            broker.kill()
            again = broker.start()
            print(
                f"kill -9 after line {number:,} with {waiting:,} lines under way;"
                f" answers again after {again * 1000:.0f} ms",
                flush=True,
            )
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            print(f"  {number:,} lines after {shown - began:.0f} s", flush=True)
    writer.finish()
    seconds = time.monotonic() - began
    rate = args.lines / seconds
    print(
        f"wrote {args.lines:,} lines, {writer.bytes / 1e6:.1f} MB, in {seconds:.1f} s:"
        f" {rate:,.0f} lines/s, {writer.bytes / 1e6 / seconds:.1f} MB/s"
    )
    return writer


def read_all(broker: Broker, reader: str, expected: int) -> dict[tuple[int, int], Digest]:
    """Reads all partitions with another client and digests what it hands out."""
    driver = driver_class(reader)(broker.address)
    digests: dict[tuple[int, int], Digest] = {}
    following = [0] * PARTITIONS
    ends = [driver.watermarks(TOPIC, partition) for partition in range(PARTITIONS)]
    if any(low for low, _ in ends) or sum(high for _, high in ends) != expected:
        raise Failed(f"the watermarks {ends} do not make {expected} lines")
    began = last = time.monotonic()
    consumer = driver.consumer()
    consumer.assign(TOPIC, dict.fromkeys(range(PARTITIONS), 0))
    while sum(following) < expected:
        records = consumer.poll(1.0)
        for record in records:
            partition, codec = place(record.key)
            if record.partition != partition or record.offset != following[partition]:
                where = f"partition {record.partition} offset {record.offset}"
                raise Failed(f"{where}: expected {partition} at {following[partition]}")
            following[partition] += 1
            digests.setdefault((partition, codec), Digest()).add(record.key, record.value)
        now = time.monotonic()
        last = now if records else last
        if now - last > 30:
            raise Failed(f"no record for 30 s after {sum(following):,} of {expected:,}")
    seconds = time.monotonic() - began
    consumer.close()
    print(f"read back with {driver.version()} in {seconds:.1f} s: {expected / seconds:,.0f} lines/s")
    driver.close()
    return digests


def compare(written: dict, found: dict) -> None:
    """Prints a line a partition, fails on the first difference."""
    for place_of in sorted(set(written) | set(found)):
        wrote, read = written.get(place_of, Digest()), found.get(place_of, Digest())
        if not wrote.same(read):
            partition, codec = place_of
            where = f"partition {partition}, {CODECS[codec]} producer"
            raise Failed(f"{where}: {wrote.difference(read)}")
    for partition in range(PARTITIONS):
        counts = [found.get((partition, codec), Digest()).count for codec in range(len(CODECS))]
        shares = ", ".join(f"{name} {count:,}" for name, count in zip(CODECS, counts))
        print(f"partition {partition}: {sum(counts):,} lines, once each and in order ({shares})")


def show_stored(broker: Broker) -> None:
    """What lies on disk, by codec."""
    batches = {codec: 0 for codec in CODECS}
    for partition in range(PARTITIONS):
        for batch in stored_batches(broker.data_dir, TOPIC, partition):
            batches[batch.codec] += 1
    size = sum(path.stat().st_size for path in broker.data_dir.rglob("*.log"))
    shown = ", ".join(f"{codec} {count:,}" for codec, count in batches.items())
    print(f"stored: {size / 1e6:.1f} MB in batches of {shown}")
    missing = [codec for codec, count in batches.items() if count == 0]
    if missing:
        raise Failed(f"no stored batch of codec {', '.join(missing)}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", type=Path, required=True, help="the millstream binary")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--lines", type=int, default=SMALL)
    size.add_argument("--full", action="store_true", help=f"{FULL:,} lines")
    parser.add_argument("--source", type=Path, default=default_source(), help="a folder of text")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--reader", default="aiokafka", help="the client that reads back")
    args = parser.parse_args()
    args.lines = FULL if args.full else args.lines
    args.broker = args.broker.resolve()
    return args


def main() -> int:
    """Runs and reports."""
    args = parse()
    folder = Path(tempfile.mkdtemp(prefix="millstream-real-"))
    broker = Broker(args.broker, folder / "data")
    try:
        broker.start()
        ConfluentDriver(broker.address).create_topic(TOPIC, PARTITIONS)
        writer = write_all(broker, args)
        compare(writer.digests, read_all(broker, args.reader, args.lines))
        show_stored(broker)
        code = broker.stop()
        if code != 0:
            raise Failed(f"the broker did not stop cleanly ({code})")
    except Exception as failure:  # noqa: BLE001 (reported with the broker's log)
        print(f"FAIL {type(failure).__name__}: {failure}\nthe broker's log ends with\n{broker.tail()}")
        print("0 passed, 1 failed")
        return 1
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
