"""What a scenario may ask of a client: `Driver`, `Consumer`, `Record`, and one name for each error.

A driver only translates. It never retries, sleeps or repairs what its client does, and it never
answers a question that its client cannot ask; such a scenario is declared in `Driver.cannot` with
the reason, and the table shows it as `-`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Kafka's error codes that scenarios look for, by their names in the protocol.
ERROR_NAMES = {
    1: "OFFSET_OUT_OF_RANGE",
    3: "UNKNOWN_TOPIC_OR_PARTITION",
    10: "MESSAGE_TOO_LARGE",
    25: "UNKNOWN_MEMBER_ID",
    36: "TOPIC_ALREADY_EXISTS",
    37: "INVALID_PARTITIONS",
    40: "INVALID_CONFIG",
    47: "INVALID_PRODUCER_EPOCH",
    68: "NON_EMPTY_GROUP",
    69: "GROUP_ID_NOT_FOUND",
    90: "PRODUCER_FENCED",
}


class KafkaFailure(Exception):
    """An error that a client reported, under the protocol's name for it."""

    def __init__(self, name: str, text: str = ""):
        super().__init__(f"{name}: {text}" if text else name)
        self.name = name

    @classmethod
    def of_code(cls, code: int, text: str = "") -> "KafkaFailure":
        """The failure of a protocol error code."""
        return cls(ERROR_NAMES.get(code, f"ERROR_{code}"), text)


@dataclass
class Record:
    """A record as it is written (`partition`, `timestamp` may be left open) and as it is read."""

    value: bytes | None
    key: bytes | None = None
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)
    partition: int | None = None
    offset: int | None = None
    timestamp: int | None = None


@dataclass
class Options:
    """How a consumer behaves beside its group and reset policy."""

    # Sees only records of transactions that were committed.
    committed: bool = False
    # Static membership: the name of this instance.
    instance: str | None = None
    # The group protocol of KIP-848, whose members are assigned by the broker.
    new_protocol: bool = False
    # Keeps what it may keep while others join and leave (KIP-429).
    cooperative: bool = False
    session_ms: int = 10_000


class Transactions:
    """A transactional producer; making one fences others of the same id and ends what they left open."""

    def begin(self) -> None:
        """Opens a transaction."""
        raise NotImplementedError

    def send(self, topic: str, records: list["Record"]) -> None:
        """Writes records in it, and waits for their acknowledgement."""
        raise NotImplementedError

    def send_offsets(self, group: str, topic: str, offsets: dict[int, int]) -> None:
        """Commits a group's offsets in it, for a group that has no members."""
        raise NotImplementedError

    def commit(self) -> None:
        """Ends it for good."""
        raise NotImplementedError

    def abort(self) -> None:
        """Takes it back."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of every connection."""
        raise NotImplementedError


class Consumer:
    """A consumer as scenarios see it. Called from one thread at a time."""

    def subscribe(self, topic: str) -> None:
        """Joins the group for one topic."""
        raise NotImplementedError

    def subscribe_pattern(self, pattern: str) -> None:
        """Joins the group for all topics whose name matches an expression; it begins with `^`."""
        raise NotImplementedError

    def assign(self, topic: str, offsets: dict[int, int]) -> None:
        """Reads the named partitions from the named offsets."""
        raise NotImplementedError

    def poll(self, timeout_s: float) -> list[Record]:
        """Records that are there, or none after the timeout."""
        raise NotImplementedError

    def assignment(self) -> set[int]:
        """Partitions that the client holds now."""
        raise NotImplementedError

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Goes on reading a held partition at an offset."""
        raise NotImplementedError

    def commit(self) -> None:
        """Commits what has been polled, and waits for the answer."""
        raise NotImplementedError

    def close(self) -> None:
        """Leaves the group and lets go of every connection."""
        raise NotImplementedError


class Driver:
    """One client. Calls may come from several threads."""

    # Scenario name -> why this client cannot run it.
    cannot: dict[str, str] = {}
    # A header may have no value, and a header name may come twice.
    null_header_values = True
    repeated_headers = True
    # Header values can only be text.
    text_headers = False

    def __init__(self, bootstrap: str):
        self.bootstrap = bootstrap

    @staticmethod
    def version() -> str:
        """The client's name and version, for the table."""
        raise NotImplementedError

    def create_topic(self, topic: str, partitions: int = 1, configs: dict | None = None) -> None:
        """Creates a topic; returns when the broker says that it is there."""
        raise NotImplementedError

    def delete_topic(self, topic: str) -> None:
        """Deletes a topic."""
        raise NotImplementedError

    def list_topics(self) -> set[str]:
        """Names of all topics."""
        raise NotImplementedError

    def partitions(self, topic: str) -> int:
        """Number of partitions; fails with UNKNOWN_TOPIC_OR_PARTITION, never creates the topic."""
        raise NotImplementedError

    def add_partitions(self, topic: str, total: int) -> None:
        """Raises the number of partitions."""
        raise NotImplementedError

    def describe_configs(self, topic: str) -> dict[str, str]:
        """Every setting of a topic."""
        raise NotImplementedError

    def alter_configs(self, topic: str, configs: dict[str, str]) -> None:
        """Sets topic settings."""
        raise NotImplementedError

    def delete_records(self, topic: str, before: dict[int, int]) -> None:
        """Deletes records below an offset, by partition."""
        raise NotImplementedError

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        """Log start offset and high watermark."""
        raise NotImplementedError

    def offset_for_time(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """First offset at or after a time, none where there is none."""
        raise NotImplementedError

    def list_groups(self) -> set[str]:
        """Ids of all groups."""
        raise NotImplementedError

    def describe_group(self, group: str) -> tuple[str, int]:
        """State in lower case and number of members."""
        raise NotImplementedError

    def delete_group(self, group: str) -> None:
        """Deletes a group."""
        raise NotImplementedError

    def committed(self, group: str, topic: str, partitions: int) -> dict[int, int]:
        """Committed offsets by partition."""
        raise NotImplementedError

    def set_offsets(self, group: str, topic: str, offsets: dict[int, int]) -> None:
        """Sets committed offsets of a group that has no members."""
        raise NotImplementedError

    def produce(
        self,
        topic: str,
        records: list[Record],
        codec: str = "none",
        acks: int = -1,
        idempotent: bool = False,
    ) -> None:
        """Writes records and returns once each is acknowledged; the first refusal is raised."""
        raise NotImplementedError

    def consumer(
        self, group: str | None = None, reset: str = "earliest", options: Options = Options()
    ) -> Consumer:
        """A consumer without automatic commits; `reset` is earliest, latest or none."""
        raise NotImplementedError

    def transactions(self, transactional_id: str) -> Transactions:
        """A transactional producer that is ready to begin."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of every connection."""
