"""Three brokers that are controllers as well, as processes on free ports: `Cluster`."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from harness.broker import BrokerDied, advertised, free_port

START_LIMIT_S = 60.0
STOP_LIMIT_S = 40.0


class Cluster:
    """Nodes 1 to 3. It ends only the processes that it started."""

    def __init__(self, binary: Path, folder: Path, settings: dict[str, str]):
        self.binary = binary
        self.folder = folder
        self.ids = (1, 2, 3)
        self.ports = {node: free_port() for node in self.ids}
        self.processes: dict[int, subprocess.Popen] = {}
        controllers = {node: free_port() for node in self.ids}
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in controllers.items())
        for node in self.ids:
            home = self.home(node)
            home.mkdir(parents=True)
            listeners = f"PLAINTEXT://127.0.0.1:{self.ports[node]}"
            lines = {
                "node.id": str(node),
                "process.roles": "broker,controller",
                "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controllers[node]}",
                "controller.listener.names": "CONTROLLER",
                "controller.quorum.voters": voters,
                "log.dirs": str(home / "data"),
            } | settings
            text = "".join(f"{name}={value}\n" for name, value in lines.items())
            (home / "server.properties").write_text(text)

    def home(self, node: int) -> Path:
        """A node's folder: settings, data, log."""
        return self.folder / f"node-{node}"

    @property
    def bootstrap(self) -> str:
        """HOST:PORT of all brokers."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    def start(self) -> None:
        """Starts all nodes and waits for their first answers."""
        for node in self.ids:
            self.launch(node)
        for node in self.ids:
            self.wait_answer(node)

    def launch(self, node: int) -> None:
        """Starts one node's process."""
        command = [str(self.binary), "serve", "--config", str(self.home(node) / "server.properties")]
        environment = {"RUST_BACKTRACE": "1"} | dict(os.environ)
        with open(self.home(node) / "log", "ab") as log:
            self.processes[node] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def wait_answer(self, node: int) -> None:
        """Waits until a node answers."""
        end = time.monotonic() + START_LIMIT_S
        while not advertised(self.ports[node]):
            code = self.processes[node].poll()
            if code is not None or time.monotonic() > end:
                how = f"ended with {code}" if code is not None else "does not answer"
                raise BrokerDied(f"node {node} {how}\n{self.tail(node)}")
            time.sleep(0.01)

    def kill(self, node: int) -> None:
        """kill -9, and the wait for its end."""
        self.processes[node].kill()
        self.processes.pop(node).wait()

    def stop(self, node: int) -> int:
        """A controlled stop; the exit code, or -9 where it had to be killed."""
        process = self.processes.pop(node)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
        try:
            return process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return -9

    def ended(self) -> list[str]:
        """What is to be said of nodes that ended by themselves."""
        codes = {node: process.poll() for node, process in self.processes.items()}
        gone = {node: code for node, code in codes.items() if code is not None}
        return [f"node {n} ended by itself ({c})\n{self.tail(n)}" for n, c in gone.items()]

    def close(self) -> None:
        """Ends what still runs."""
        for node in list(self.processes):
            self.kill(node)

    def tail(self, node: int, lines: int = 40) -> str:
        """The end of a node's log."""
        try:
            text = (self.home(node) / "log").read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])
