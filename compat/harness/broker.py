"""A broker process on a free port and a data directory of its own: `Broker`.

Used by the client table and by the real-input run. It kills only the process that it started.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

START_LIMIT_S = 20.0
STOP_LIMIT_S = 20.0


class BrokerDied(Exception):
    """The broker ended or never answered; the text has the end of its log."""


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def advertised(port: int) -> set[int]:
    """Keys of the APIs that the broker says it serves (ApiVersions, version 0); none without an answer."""
    body = struct.pack(">hhih", 18, 0, 7, -1)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            answer = connection.makefile("rb")
            (length,) = struct.unpack(">i", answer.read(4))
            rest = answer.read(length)
    except (OSError, struct.error):
        return set()
    return {key for key, _, _ in struct.iter_unpack(">hhh", rest[10:])}


class Broker:
    """One broker; `start` waits for its first answer."""

    def __init__(self, binary: Path, data_dir: Path, settings: dict[str, str] | None = None):
        self.binary = binary
        # What the broker is started under, such as a tracer.
        self.under: list[str] = []
        self.data_dir = data_dir
        self.settings = settings or {}
        self.port = free_port()
        self.log_path = data_dir.with_name(data_dir.name + ".log")
        self.process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> float:
        """Starts the process; seconds until its first answer."""
        command = [*self.under, str(self.binary), "serve", "--data-dir", str(self.data_dir)]
        command += ["--listener", self.address]
        for name, value in self.settings.items():
            command += ["--set", f"{name}={value}"]
        began = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment()
            )
        while not advertised(self.port):
            if self.process.poll() is not None:
                raise BrokerDied(f"the broker ended with {self.process.returncode}\n{self.tail()}")
            if time.monotonic() - began > START_LIMIT_S:
                raise BrokerDied(f"no answer within {START_LIMIT_S:.0f} s\n{self.tail()}")
            time.sleep(0.005)
        return time.monotonic() - began

    @staticmethod
    def _environment() -> dict[str, str]:
        environment = dict(os.environ)
        environment.setdefault("RUST_BACKTRACE", "1")
        return environment

    def pid(self) -> int:
        """The broker's own process, where it runs under another one."""
        number = self.process.pid
        if not self.under:
            return number
        return int(Path(f"/proc/{number}/task/{number}/children").read_text().split()[0])

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9, and the wait for its end."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.kill(self.pid(), signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """A controlled stop; the exit code, or -9 where it had to be killed."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            os.kill(self.pid(), signal.SIGTERM)
        try:
            return self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9

    def tail(self, lines: int = 40) -> str:
        """The end of the broker's log."""
        try:
            text = self.log_path.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])
