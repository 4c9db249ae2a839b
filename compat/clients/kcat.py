"""kcat, as a command: reads, writes and asks for metadata. It administers nothing.

Topics are made, and watermarks and committed offsets asked for, with confluent-kafka; what a scenario
is about is always kcat's own doing. One process a partition reads, or one a group member.
"""

from __future__ import annotations

import json
import queue
import re
import subprocess
import tempfile
import threading
from itertools import groupby
from pathlib import Path

from clients.confluent import ConfluentDriver
from harness.driver import Consumer, KafkaFailure, Options, Record

TIMEOUT_S = 25.0
FORMAT = "%p %o %T %K %S %h\\n%k%s\\n"
NAMES = {
    "Offset out of range": "OFFSET_OUT_OF_RANGE",
    "Message size too large": "MESSAGE_TOO_LARGE",
    "Unknown topic": "UNKNOWN_TOPIC_OR_PARTITION",
}


def failure_of(text: str) -> KafkaFailure:
    """The protocol's name for what kcat printed."""
    for part, name in NAMES.items():
        if part in text:
            return KafkaFailure(name, text)
    return KafkaFailure("KCAT", text)


class Reader:
    """A reading kcat process: records and errors into a queue, assignments as they change."""

    def __init__(self, command: list[str], into: queue.Queue):
        self.into = into
        self.held: set[int] = set()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.threads = [
            threading.Thread(target=self._records, daemon=True),
            threading.Thread(target=self._messages, daemon=True),
        ]
        for thread in self.threads:
            thread.start()

    def _records(self) -> None:
        out = self.process.stdout
        while line := out.readline():
            partition, offset, when, key_len, value_len, *headers = line.rstrip(b"\n").split(b" ", 5)
            key = out.read(int(key_len)) if int(key_len) >= 0 else None
            value = out.read(int(value_len)) if int(value_len) >= 0 else None
            out.read(1)
            record = Record(key=key, value=value, partition=int(partition), offset=int(offset))
            record.timestamp = int(when)
            for pair in filter(None, b"".join(headers).split(b",")):
                name, _, content = pair.partition(b"=")
                record.headers.append((name.decode(), content))
            self.into.put(record)

    def _messages(self) -> None:
        for line in self.process.stderr:
            text = line.decode(errors="replace").strip()
            if change := re.search(r"rebalanced \(memberid [^)]*\): (assigned|revoked): (.*)", text):
                found = {int(p) for p in re.findall(r"\[(\d+)\]", change.group(2))}
                self.held = found if change.group(1) == "assigned" else self.held - found
            elif "ERROR" in text and "Reached end" not in text:
                self.into.put(failure_of(text))

    def stop(self) -> None:
        """Lets kcat leave properly."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for thread in self.threads:
            thread.join(5)


class KcatConsumer(Consumer):
    """kcat -C or kcat -G."""

    def __init__(self, bootstrap: str, group: str | None, reset: str, options: Options):
        self.bootstrap = bootstrap
        self.options = options
        self.group = group
        self.reset = "error" if reset == "none" else reset
        self.readers: dict[int, Reader] = {}
        self.queue: queue.Queue = queue.Queue()

    def _command(self, *more: str) -> list[str]:
        command = ["kcat", "-b", self.bootstrap, "-u", "-f", FORMAT]
        command += ["-X", f"auto.offset.reset={self.reset}", "-X", "fetch.wait.max.ms=200"]
        isolation = "read_committed" if self.options.committed else "read_uncommitted"
        command += ["-X", f"isolation.level={isolation}"]
        return command + list(more)

    def subscribe(self, topic):
        session = f"session.timeout.ms={self.options.session_ms}"
        settings = ["-X", "heartbeat.interval.ms=200", "-X", session]
        if self.options.instance is not None:
            settings += ["-X", f"group.instance.id={self.options.instance}"]
        command = self._command(*settings, "-G", self.group, topic)
        self.readers[-1] = Reader(command, self.queue)

    def assign(self, topic, offsets):
        for partition, offset in offsets.items():
            command = self._command("-C", "-q", "-t", topic, "-p", str(partition), "-o", str(offset))
            self.readers[partition] = Reader(command, self.queue)

    def poll(self, timeout_s):
        records = []
        try:
            records.append(self.queue.get(timeout=timeout_s))
            while True:
                records.append(self.queue.get_nowait())
        except queue.Empty:
            pass
        for record in records:
            if isinstance(record, KafkaFailure):
                raise record
        return records

    def assignment(self):
        return set().union(*(reader.held for reader in self.readers.values()))

    def seek(self, topic, partition, offset):
        self.readers.pop(partition).stop()
        self.queue = queue.Queue()
        self.assign(topic, {partition: offset})

    def commit(self):
        """kcat commits what it has printed when it leaves."""

    def close(self):
        for reader in self.readers.values():
            reader.stop()


class KcatDriver(ConfluentDriver):
    """The kcat command."""

    cannot = {
        name: "kcat administers nothing"
        for name in (
            "create_topic",
            "describe_configs",
            "alter_configs",
            "add_partitions",
            "delete_records",
            "list_groups",
            "describe_groups",
            "delete_groups",
            "delete_topic",
            "reset_offsets",
            "commit_unknown_topic",
        )
    }
    cannot |= {
        name: "kcat has no transactions of several records"
        for name in (
            "txn_commit_abort",
            "txn_open",
            "txn_offsets",
            "txn_fencing",
            "txn_loop_killed",
        )
    }
    cannot |= {
        name: "the same librdkafka as confluent-kafka, not repeated with a command"
        for name in (
            "member_killed",
            "static_restart",
            "cooperative",
            "idle_members",
            "pattern",
            "new_protocol",
            "new_protocol_killed",
            "new_protocol_static",
            "new_protocol_regex",
            "migration",
        )
    }
    text_headers = True
    null_header_values = False

    @staticmethod
    def version():
        text = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"Version (\S+) .*librdkafka (\S+)", text)
        return f"kcat {found.group(1)}, librdkafka {found.group(2)}" if found else "kcat"

    def _run(self, *args: str, data: bytes = b"") -> str:
        done = subprocess.run(
            ["kcat", "-b", self.bootstrap, *args],
            input=data,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        errors = done.stderr.decode(errors="replace")
        if done.returncode or "Delivery failed" in errors:
            raise failure_of(errors)
        return done.stdout.decode(errors="replace")

    def list_topics(self):
        return {each["topic"] for each in json.loads(self._run("-L", "-J"))["topics"]}

    def partitions(self, topic):
        described = json.loads(self._run("-L", "-J", "-t", topic))["topics"][0]
        if described.get("error"):
            raise failure_of(described["error"])
        return len(described["partitions"])

    def offset_for_time(self, topic, partition, timestamp_ms):
        text = self._run("-Q", "-t", f"{topic}:{partition}:{timestamp_ms}")
        found = re.search(r"offset (-?\d+)", text)
        offset = int(found.group(1)) if found else -1
        return offset if offset >= 0 else None

    def produce(self, topic, records, codec="none", acks=-1, idempotent=False):
        if any(record.timestamp is not None for record in records):
            # kcat cannot set a record's time; the scenario that needs it is about asking by time.
            super().produce(topic, records, codec, acks, idempotent)
            return
        common = ["-P", "-t", topic, "-z", codec, "-X", f"acks={acks}"]
        common += ["-X", f"enable.idempotence={str(idempotent).lower()}"]
        common += ["-X", "message.max.bytes=10000000", "-X", "message.timeout.ms=20000"]

        def kind(record):
            plain = record.value is not None and (len(record.value) > 10_000 or b"\n" in record.value)
            return record.partition, tuple(record.headers), record.value is None, plain

        for (partition, headers, null, whole), run in groupby(records, kind):
            args = list(common)
            args += [] if partition is None else ["-p", str(partition)]
            args += ["-Z"] if null else []
            for name, content in headers:
                args += ["-H", f"{name}={content.decode()}"]
            if whole:
                self._produce_files(args, list(run))
            else:
                lines = [self._line(record) for record in run]
                self._run(*args, "-K", "\t", data=b"".join(lines))

    @staticmethod
    def _line(record: Record) -> bytes:
        key = b"" if record.key is None else record.key + b"\t"
        return key + (record.value or b"") + b"\n"

    def _produce_files(self, args: list[str], records: list[Record]) -> None:
        for record in records:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "value"
                path.write_bytes(record.value)
                key = [] if record.key is None else ["-k", record.key.decode()]
                self._run(*args, *key, str(path))

    def consumer(self, group=None, reset="earliest", options=Options()):
        return KcatConsumer(self.bootstrap, group, reset, options)


DRIVER = KcatDriver
