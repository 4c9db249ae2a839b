#!/usr/bin/env python3
"""Shows with strace that a plain fetch is carried by sendfile.

    compat/.tools/venv/bin/python compat/sendfile.py --broker target/debug/millstream [--mb N]

The broker runs under strace while confluent-kafka writes and then reads records. The bytes that each
system call put on a socket while reading are added up; sendfile must carry nearly all of them.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from clients.confluent import ConfluentDriver  # noqa: E402
from harness.broker import Broker  # noqa: E402
from harness.driver import Record  # noqa: E402

CALLS = ["sendfile", "write", "writev", "sendto", "sendmsg", "splice"]
LINE = re.compile(r"(?:<\.\.\. )?(\w+)(?:\(| resumed>).*= (\d+)$")
SOCKET = re.compile(r"^\d+ +\w+\(\d+<(?:TCP|socket)")
VALUE_BYTES = 10_000
LEAST_SHARE = 0.98


def calls_on_sockets(trace: Path, start: int) -> tuple[Counter, Counter]:
    """Calls and bytes by system call, from a position of the trace on, to sockets only."""
    calls, sizes = Counter(), Counter()
    pending: dict[str, bool] = {}
    with open(trace, errors="replace") as lines:
        lines.seek(start)
        for line in lines:
            line = line.rstrip()
            thread = line.split(" ", 1)[0]
            if "unfinished" in line:
                pending[thread] = bool(SOCKET.match(line))
                continue
            resumed = "resumed>" in line
            to_socket = pending.pop(thread, False) if resumed else bool(SOCKET.match(line))
            found = LINE.search(line)
            if to_socket and found:
                calls[found.group(1)] += 1
                sizes[found.group(1)] += int(found.group(2))
    return calls, sizes


def main() -> int:
    """Runs and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", type=Path, required=True, help="the millstream binary")
    parser.add_argument("--mb", type=int, default=20)
    args = parser.parse_args()
    if shutil.which("strace") is None:
        print("strace is not installed\n0 passed, 0 failed, 1 skipped")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="millstream-sendfile-"))
    trace = folder / "trace"
    broker = Broker(args.broker.resolve(), folder / "data")
    broker.under = ["strace", "-f", "-yy", "-s", "0", "-e", f"trace={','.join(CALLS)}"]
    broker.under += ["-o", str(trace)]
    count = args.mb * 1_000_000 // VALUE_BYTES
    try:
        broker.start()
        driver = ConfluentDriver(broker.address)
        driver.create_topic("sendfile", 1)
        value = random.Random(1).randbytes(VALUE_BYTES)
        driver.produce("sendfile", [Record(value=value)] * count)
        start = trace.stat().st_size
        consumer = driver.consumer()
        consumer.assign("sendfile", {0: 0})
        read = 0
        while read < count:
            read += len(consumer.poll(1.0))
        consumer.close()
        broker.stop()
        calls, sizes = calls_on_sockets(trace, start)
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{count:,} records of {VALUE_BYTES:,} B read; what the broker put on sockets meanwhile:")
    for call, size in sizes.most_common():
        print(f"  {call:<10} {calls[call]:>7,} calls {size / 1e6:>10.3f} MB")
    share = sizes["sendfile"] / max(1, sum(sizes.values()))
    print(f"sendfile carried {share:.2%} of the bytes")
    failed = share < LEAST_SHARE
    print("0 passed, 1 failed" if failed else "1 passed, 0 failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
