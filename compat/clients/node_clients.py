"""kafkajs and @platformatic/kafka: a Node process that answers lines of JSON (`node/main.mjs`)."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path

from harness.driver import Consumer, Driver, KafkaFailure, Options, Record, Transactions

TIMEOUT_S = 25.0
MAIN = Path(__file__).parent / "node" / "main.mjs"


def to_text(data: bytes | None) -> str | None:
    """Base64, none as it is."""
    return None if data is None else base64.b64encode(data).decode()


def to_bytes(text: str | None) -> bytes | None:
    """The reverse."""
    return None if text is None else base64.b64decode(text)


def to_wire(records: list[Record]) -> list[dict]:
    """Records as the Node process takes them."""
    return [
        {
            "key": to_text(record.key),
            "value": to_text(record.value),
            "headers": [(name, to_text(value)) for name, value in record.headers],
            "partition": record.partition,
            "timestamp": record.timestamp,
        }
        for record in records
    ]


class NodeTransactions(Transactions):
    """A transactional producer that lives in the Node process."""

    def __init__(self, driver: "NodeDriver", transactional_id: str):
        self.driver = driver
        self.number = next(driver.numbers)
        driver.call("transactions", self.number, transactional_id)

    def _call(self, op: str, *args):
        return self.driver.call("transaction", self.number, op, *args)

    def begin(self):
        self._call("begin")

    def send(self, topic, records):
        self._call("send", topic, to_wire(records))

    def send_offsets(self, group, topic, offsets):
        self._call("send_offsets", group, topic, list(offsets.items()))

    def commit(self):
        self._call("commit")

    def abort(self):
        self._call("abort")

    def close(self):
        self._call("close")


class NodeConsumer(Consumer):
    """A consumer that lives in the Node process."""

    def __init__(self, driver: "NodeDriver", group: str | None, reset: str, options: Options):
        self.driver = driver
        self.number = next(driver.numbers)
        driver.call("consumer", self.number, group, reset, asdict(options))

    def _call(self, op: str, *args):
        return self.driver.call("reader", self.number, op, *args)

    def subscribe(self, topic):
        self._call("subscribe", topic)

    def subscribe_pattern(self, pattern):
        self._call("subscribe_pattern", pattern)

    def assign(self, topic, offsets):
        self._call("assign", topic, list(offsets.items()))

    def poll(self, timeout_s):
        return [
            Record(
                key=to_bytes(each["key"]),
                value=to_bytes(each["value"]),
                headers=[(name, to_bytes(value)) for name, value in each["headers"]],
                partition=each["partition"],
                offset=each["offset"],
                timestamp=each["timestamp"],
            )
            for each in self._call("poll", int(timeout_s * 1000))
        ]

    def assignment(self):
        return set(self._call("assigned"))

    def seek(self, topic, partition, offset):
        self._call("seek", topic, partition, offset)

    def commit(self):
        self._call("commit")

    def close(self):
        self._call("close")


class NodeDriver(Driver):
    """The Python side of one Node process."""

    client = ""

    def __init__(self, bootstrap: str):
        super().__init__(bootstrap)
        self.numbers = itertools.count(1)
        self.waiting: dict[int, Future] = {}
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            ["node", str(MAIN), self.client, bootstrap],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
        )
        threading.Thread(target=self._answers, daemon=True).start()

    def _answers(self) -> None:
        for line in self.process.stdout:
            message = json.loads(line)
            future = self.waiting.pop(message["id"])
            if error := message.get("error"):
                future.set_exception(KafkaFailure(error["name"], error["text"]))
            else:
                future.set_result(message["ok"])
        for future in list(self.waiting.values()):
            future.set_exception(RuntimeError("the Node process has ended"))

    def call(self, op: str, *args):
        """One request, one answer."""
        future: Future = Future()
        with self.lock:
            number = next(self.numbers)
            self.waiting[number] = future
            line = json.dumps({"id": number, "op": op, "args": args})
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        return future.result(TIMEOUT_S)

    def version(self):
        return self.call("version")

    def create_topic(self, topic, partitions=1, configs=None):
        self.call("create_topic", topic, partitions, configs or {})

    def delete_topic(self, topic):
        self.call("delete_topic", topic)

    def list_topics(self):
        return set(self.call("list_topics"))

    def partitions(self, topic):
        return self.call("partitions", topic)

    def add_partitions(self, topic, total):
        self.call("add_partitions", topic, total)

    def describe_configs(self, topic):
        return self.call("describe_configs", topic)

    def alter_configs(self, topic, configs):
        self.call("alter_configs", topic, configs)

    def delete_records(self, topic, before):
        self.call("delete_records", topic, list(before.items()))

    def watermarks(self, topic, partition):
        return tuple(self.call("watermarks", topic, partition))

    def offset_for_time(self, topic, partition, timestamp_ms):
        offset = self.call("offset_for_time", topic, partition, timestamp_ms)
        return offset if offset >= 0 else None

    def list_groups(self):
        return set(self.call("list_groups"))

    def describe_group(self, group):
        return tuple(self.call("describe_group", group))

    def delete_group(self, group):
        self.call("delete_group", group)

    def committed(self, group, topic, partitions):
        return dict(self.call("committed", group, topic, partitions))

    def set_offsets(self, group, topic, offsets):
        self.call("set_offsets", group, topic, list(offsets.items()))

    def produce(self, topic, records, codec="none", acks=-1, idempotent=False):
        self.call("produce", topic, to_wire(records), codec, acks, idempotent)

    def consumer(self, group=None, reset="earliest", options=Options()):
        return NodeConsumer(self, group, reset, options)

    def transactions(self, transactional_id):
        return NodeTransactions(self, transactional_id)

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class KafkajsDriver(NodeDriver):
    """kafkajs."""

    client = "kafkajs"
    cannot = {
        "reset_none": "kafkajs always resets an offset that is out of range",
        "static_restart": "kafkajs has no static members",
        "cooperative": "kafkajs has no cooperative assignor",
    } | dict.fromkeys(
        ("new_protocol", "new_protocol_killed", "new_protocol_static", "new_protocol_regex", "migration"),
        "kafkajs speaks only the classic group protocol"
    )
    null_header_values = False


class PlatformaticDriver(NodeDriver):
    """@platformatic/kafka."""

    client = "platformatic"
    cannot = {
        "reset_earliest": "@platformatic/kafka never resets an offset that is out of range",
        "reset_latest": "@platformatic/kafka never resets an offset that is out of range",
        "cooperative": "@platformatic/kafka has no cooperative assignor",
        "pattern": "@platformatic/kafka subscribes to names alone",
        "new_protocol_regex": "@platformatic/kafka subscribes to names alone",
        # Its version 1 subscription ends before the owned partitions, so no broker can take it over.
        "migration": "classic members of @platformatic/kafka send a subscription that is cut short",
    } | dict.fromkeys(
        ("txn_commit_abort", "txn_loop_killed"),
        "@platformatic/kafka hands out records of aborted transactions to read_committed readers",
    )
    repeated_headers = False

    def __init__(self, bootstrap):
        super().__init__(bootstrap)
        self.cannot = self.cannot | self.call("cannot")
