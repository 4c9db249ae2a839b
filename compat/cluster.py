#!/usr/bin/env python3
"""Every foreign client against three brokers of which one after the other is killed, all clients at once.

    compat/.tools/venv/bin/python compat/cluster.py --broker target/debug/millstream [--client NAME]
        [--only SCENARIO] [--keep] [--minutes M --seed N]

A step of `cargo xtask test`; `cargo xtask tools` installs the clients. The exit code is 1 on any failure.

With `--minutes`, brokers are killed or stopped at random instead, for so long, one or two at a time, and only transactions
run, with confluent-kafka unless `--client` names others: what was read is written exactly once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from clients.registry import CLIENTS, missing  # noqa: E402
from harness.broker import BrokerDied  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.scenarios.failover import FAILOVER, LEFT_OUT, MORE_TOPICS, PARTITIONS, Killing  # noqa: E402

BEGIN_LIMIT_S = 25.0
AWAY_S = 2.0
CLIENT_LIMIT_S = 75.0
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "6",
    "transaction.state.log.num.partitions": "6",
}


def admin(bootstrap: str):
    """An admin client of confluent-kafka's."""
    import confluent_kafka.admin as cka

    return cka.AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def make_topics(bootstrap: str, names: list[str]) -> None:
    """Three replicas each, two of which must have a record."""
    import confluent_kafka.admin as cka

    config = {"min.insync.replicas": "2"}
    new = [cka.NewTopic(name, PARTITIONS, 3, config=config) for name in names]
    client = admin(bootstrap)
    for future in client.create_topics(new).values():
        future.result(30.0)


def wait_in_sync(bootstrap: str) -> None:
    """Until every replica of every partition is in sync."""
    import confluent_kafka as ck

    client = admin(bootstrap)
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        try:
            topics = client.list_topics(timeout=5.0).topics.values()
        except ck.KafkaException:
            # A broker that begins answers nothing yet.
            continue
        partitions = [each for topic in topics for each in topic.partitions.values()]
        if partitions and all(len(p.isrs) == len(p.replicas) and p.leader >= 0 for p in partitions):
            return
        time.sleep(0.1)
    raise BrokerDied("not every replica was in sync within 60 s")


class Client(threading.Thread):
    """A client's process, and what it said."""

    def __init__(self, name: str, args: argparse.Namespace, bootstrap: str, folder: Path):
        super().__init__(daemon=True)
        self.client = name
        self.outcomes: dict[str, dict] = {}
        self.version, self.errors = "", ""
        for scenario in FAILOVER:
            reason = missing(name) or LEFT_OUT.get(name, {}).get(scenario.name)
            if reason is not None:
                self.outcomes[scenario.name] = {"status": "-", "detail": reason}
        chosen = [s.name for s in FAILOVER if not args.only or s.name in args.only]
        self.scenarios = [each for each in chosen if each not in self.outcomes]
        self.command = [sys.executable, "-m", "harness.worker", "--failover", "--client", name]
        self.command += ["--bootstrap", bootstrap, "--strict", bootstrap, "--data-dir", str(folder)]
        for each in self.scenarios:
            self.command += ["--only", each]
        modules = Path(args.tools) / "node" / "node_modules"
        self.limit_s = CLIENT_LIMIT_S + args.minutes * 60.0
        self.command += ["--limit", str(self.limit_s - 10.0)]
        self.environment = dict(os.environ) | {
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COMPAT_NODE_MODULES": str(modules),
            "COMPAT_KILLING": str(folder),
        }

    def topics(self) -> list[str]:
        """Topics of its scenarios."""
        names = [(f"{self.client}.{each}", MORE_TOPICS.get(each, ())) for each in self.scenarios]
        return [name + suffix for name, more in names for suffix in ("", *more)]

    def run(self) -> None:
        """Runs the process to its end."""
        if not self.scenarios:
            return
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                self.command,
                cwd=HERE,
                env=self.environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            guard = threading.Timer(self.limit_s, process.kill)
            guard.start()
            for line in process.stdout:
                message = json.loads(line)
                if "version" in message:
                    self.version = message["version"]
                else:
                    self.outcomes[message["scenario"]] = message
            process.wait()
            guard.cancel()
            errors.seek(0)
            self.errors = "".join(errors.readlines()[-30:])
        for each in self.scenarios:
            ended = {"status": "FAIL", "detail": f"the client's process ended\n{self.errors}"}
            self.outcomes.setdefault(each, ended)

    def is_waiting(self, begun: set[str]) -> bool:
        """Whether a scenario that still runs has not begun."""
        names = {f"{self.client}.{each}" for each in self.scenarios if each not in self.outcomes}
        return self.is_alive() and not names <= begun


def kill_all_in_turn(cluster: Cluster) -> None:
    """Each broker is killed, and is back in sync before the next one goes."""
    for node in cluster.ids:
        cluster.kill(node)
        time.sleep(AWAY_S)
        cluster.launch(node)
        cluster.wait_answer(node)
        wait_in_sync(cluster.bootstrap)


def kill_at_random(cluster: Cluster, args: argparse.Namespace) -> None:
    """Kills and stops one or two brokers at a time; every other time the next go before all is in sync again."""
    dice = random.Random(args.seed)
    end = time.monotonic() + args.minutes * 60.0
    rounds = kills = stops = 0
    while time.monotonic() < end:
        rounds += 1
        gone = dice.sample(cluster.ids, dice.choice((1, 1, 1, 2)))
        for node in gone:
            if dice.random() < 0.75:
                cluster.kill(node)
                kills += 1
            else:
                cluster.stop(node)
                stops += 1
        time.sleep(dice.uniform(0.1, 2.5))
        for node in gone:
            cluster.launch(node)
        for node in gone:
            cluster.wait_answer(node)
        if dice.random() < 0.5:
            wait_in_sync(cluster.bootstrap)
        time.sleep(dice.uniform(0.0, 1.5))
    wait_in_sync(cluster.bootstrap)
    print(f"seed {args.seed}: {rounds} rounds, {kills} kills, {stops} stops")


def wait_begun(clients: list[Client], killing: Killing) -> None:
    """Until all clients work."""
    end = time.monotonic() + BEGIN_LIMIT_S
    while any(client.is_waiting(killing.have_begun()) for client in clients):
        if time.monotonic() > end:
            break
        time.sleep(0.05)


def run_all(args: argparse.Namespace, folder: Path) -> tuple[list[Client], list[str]]:
    """Starts everything, kills, and gathers what came of it."""
    cluster = Cluster(args.broker, folder, SETTINGS)
    killing = Killing(folder)
    clients = [Client(name, args, cluster.bootstrap, folder) for name in args.client or CLIENTS]
    failures = []
    try:
        cluster.start()
        make_topics(cluster.bootstrap, [name for client in clients for name in client.topics()])
        for client in clients:
            client.start()
        try:
            wait_begun(clients, killing)
            if args.minutes:
                kill_at_random(cluster, args)
            else:
                kill_all_in_turn(cluster)
        finally:
            killing.end()
            for client in clients:
                client.join()
        failures = cluster.ended()
        for node in list(cluster.processes):
            code = cluster.stop(node)
            if code != 0:
                failures.append(f"node {node} did not stop cleanly ({code})\n{cluster.tail(node)}")
    except BrokerDied as died:
        failures.append(str(died))
    finally:
        cluster.close()
    if any(o["status"] == "FAIL" for client in clients for o in client.outcomes.values()):
        failures += [f"log of node {n} ends with\n{cluster.tail(n)}" for n in cluster.ids]
    return clients, failures


def report(args: argparse.Namespace, clients: list[Client], failures: list[str]) -> bool:
    """Prints what came of it; whether all is well."""
    names = [s.name for s in FAILOVER if not args.only or s.name in args.only]
    lost = {"status": "FAIL", "detail": "not run"}
    first = max(len(name) for name in names)
    widths = [max(len(each.client), 5) for each in clients]
    titles = [each.client.ljust(w) for each, w in zip(clients, widths)]
    print("  ".join(["".ljust(first), *titles]).rstrip())
    for name in names:
        cells = [c.outcomes.get(name, lost)["status"].ljust(w) for c, w in zip(clients, widths)]
        print("  ".join([name.ljust(first), *cells]).rstrip())
    statuses = []
    for each in clients:
        for name in names:
            outcome = each.outcomes.get(name, lost)
            statuses.append(outcome["status"])
            if outcome["status"] != "ok":
                print(f"\n{outcome['status']} {each.client} {name}: {outcome['detail'].rstrip()}")
    for failure in failures:
        print(f"\n{failure}")
    failed = statuses.count("FAIL") + sum(not text.startswith("log of") for text in failures)
    print(f"\n{statuses.count('ok')} passed, {failed} failed, {statuses.count('-')} skipped")
    return failed == 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", type=Path, required=True, help="the millstream binary")
    parser.add_argument("--tools", default=str(HERE / ".tools"))
    parser.add_argument("--client", action="append", default=[], choices=list(CLIENTS))
    parser.add_argument("--only", action="append", default=[], choices=[s.name for s in FAILOVER])
    parser.add_argument("--keep", action="store_true", help="keep data directories and logs")
    parser.add_argument("--minutes", type=float, default=0.0, help="kill at random for so long")
    parser.add_argument("--seed", type=int, default=1, help="of --minutes")
    args = parser.parse_args()
    if args.minutes:
        args.client, args.only = args.client or ["confluent-kafka"], ["transactions"]
    args.broker = args.broker.resolve()
    return args


def main() -> int:
    """Runs and reports."""
    args = parse()
    folder = Path(tempfile.mkdtemp(prefix="millstream-compat-cluster-"))
    try:
        clients, failures = run_all(args, folder)
        return 0 if report(args, clients, failures) else 1
    finally:
        if args.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
