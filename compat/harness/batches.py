"""Reads the headers of the record batches that a broker stored, to see what a client really sent.

Only headers: magic 2, 61 bytes each, in every `.log` file of a partition's directory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
HEADER = struct.Struct(">qiibIhiqqqhii")


@dataclass
class StoredBatch:
    """One stored batch."""

    base_offset: int
    codec: str
    records: int
    producer_id: int


def stored_batches(data_dir: Path, topic: str, partition: int) -> list[StoredBatch]:
    """All batches of a partition, in order."""
    batches = []
    for path in sorted((data_dir / f"{topic}-{partition}").glob("*.log")):
        data = path.read_bytes()
        position = 0
        while position + HEADER.size <= len(data):
            head = HEADER.unpack_from(data, position)
            base_offset, length, magic, attributes = head[0], head[1], head[3], head[5]
            if length <= 0 or magic != 2:
                break
            codec = CODECS[attributes & 7]
            batches.append(StoredBatch(base_offset, codec, head[12], head[9]))
            position += 12 + length
    return batches
