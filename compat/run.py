#!/usr/bin/env python3
"""Runs the list of scenarios with every foreign client against a broker of its own, prints the table.

    compat/.tools/venv/bin/python compat/run.py --broker target/debug/millstream [--client NAME]
        [--only SCENARIO] [--jobs N] [--keep]

`cargo xtask test` calls it; the clients are installed by then. The exit code is 1 on any failure.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from clients.registry import CLIENTS, missing  # noqa: E402
from harness.broker import Broker, BrokerDied  # noqa: E402
from harness.scenarios import SCENARIOS  # noqa: E402

CLIENT_LIMIT_S = 300.0
# Kafka's own defaults but for times that groups only wait: three seconds before the first assignment
# of a classic group, five between the heartbeats of a member that the broker assigns, 45 until one is lost.
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.min.heartbeat.interval.ms": "300",
    "group.consumer.heartbeat.interval.ms": "300",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.assignment.interval.ms": "0",
    "group.consumer.regex.refresh.interval.ms": "10000",
}
STRICT = SETTINGS | {"auto.create.topics.enable": "false"}


@dataclass
class ClientRun:
    """What came of one client."""

    name: str
    version: str = ""
    outcomes: dict[str, dict] = field(default_factory=dict)
    seconds: float = 0.0
    errors: str = ""


def run_client(name: str, args: argparse.Namespace, brokers: dict[str, Broker]) -> ClientRun:
    """Runs one client's scenarios in a process."""
    run = ClientRun(name)
    reason = missing(name)
    if reason is not None:
        run.outcomes = {each.name: {"status": "-", "detail": reason} for each in SCENARIOS}
        return run
    command = [sys.executable, "-m", "harness.worker", "--client", name]
    command += ["--bootstrap", brokers["main"].address, "--strict", brokers["strict"].address]
    command += ["--data-dir", str(brokers["main"].data_dir)]
    for only in args.only:
        command += ["--only", only]
    environment = dict(os.environ)
    modules = Path(args.tools) / "node" / "node_modules"
    environment.update(PYTHONPATH=str(HERE), COMPAT_NODE_MODULES=str(modules))
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=HERE, env=environment, text=True, stdout=subprocess.PIPE, stderr=errors
        )
        guard = threading.Timer(CLIENT_LIMIT_S, process.kill)
        guard.start()
        for line in process.stdout:
            message = json.loads(line)
            if "version" in message:
                run.version = message["version"]
            else:
                run.outcomes[message["scenario"]] = message
                if args.verbose:
                    shown = f"{name} {message['scenario']} {message['status']}"
                    print(shown, f"{message['seconds']:.1f} s", file=sys.stderr, flush=True)
        process.wait()
        guard.cancel()
        errors.seek(0)
        run.errors = "".join(errors.readlines()[-30:])
    run.seconds = time.monotonic() - began
    for scenario in wanted(args):
        run.outcomes.setdefault(
            scenario, {"status": "FAIL", "detail": f"the client's process ended\n{run.errors}"}
        )
    return run


def wanted(args: argparse.Namespace) -> list[str]:
    """Names of the scenarios that run."""
    return [each.name for each in SCENARIOS if not args.only or each.name in args.only]


def print_table(names: list[str], runs: list[ClientRun]) -> None:
    """Scenario by client."""
    first = max(len(name) for name in names + ["scenario"])
    widths = [max(len(run.name), 5) for run in runs]
    print("  ".join(["scenario".ljust(first)] + [r.name.ljust(w) for r, w in zip(runs, widths)]))
    for name in names:
        cells = [run.outcomes[name]["status"].ljust(w) for run, w in zip(runs, widths)]
        print("  ".join([name.ljust(first)] + cells).rstrip())
    print()
    for run in runs:
        print(f"{run.name}: {run.version or 'not run'}, {run.seconds:.1f} s")


def print_reasons(names: list[str], runs: list[ClientRun]) -> None:
    """Why a client does not run a scenario; the same reason once a client."""
    print("\n-  a client cannot:")
    for run in runs:
        reasons: dict[str, list[str]] = {}
        for name in names:
            outcome = run.outcomes[name]
            if outcome["status"] == "-":
                reasons.setdefault(outcome["detail"], []).append(name)
        for reason, which in reasons.items():
            shown = "all" if len(which) == len(names) else ", ".join(which)
            print(f"   {run.name}: {reason} ({shown})")


def print_failures(names: list[str], runs: list[ClientRun]) -> None:
    """Details of what failed."""
    for run in runs:
        for name in names:
            outcome = run.outcomes[name]
            if outcome["status"] == "FAIL":
                print(f"\nFAIL {run.name} {name} ({outcome.get('seconds', 0):.1f} s)")
                print(outcome["detail"].rstrip())
        if run.errors and any(o["status"] == "FAIL" for o in run.outcomes.values()):
            print(f"\n{run.name}, end of its standard error:\n{run.errors.rstrip()}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", type=Path, required=True, help="the millstream binary")
    parser.add_argument("--tools", default=str(HERE / ".tools"))
    parser.add_argument("--client", action="append", default=[], choices=list(CLIENTS))
    parser.add_argument("--only", action="append", default=[], help="a scenario's name")
    parser.add_argument("--jobs", type=int, default=4, help="clients at a time")
    parser.add_argument("--verbose", action="store_true", help="a line a scenario as it ends")
    parser.add_argument("--keep", action="store_true", help="keep data directories and logs")
    args = parser.parse_args()
    unknown = set(args.only) - {each.name for each in SCENARIOS}
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    args.broker = args.broker.resolve()
    return args


def run_all(args: argparse.Namespace, folder: Path) -> tuple[list[ClientRun], list[str]]:
    """Starts the brokers, runs the clients, stops the brokers; runs and broker failures."""
    brokers = {
        "main": Broker(args.broker, folder / "main", SETTINGS),
        "strict": Broker(args.broker, folder / "strict", STRICT),
    }
    failures = []
    try:
        for broker in brokers.values():
            broker.start()
        names = args.client or list(CLIENTS)
        with ThreadPoolExecutor(args.jobs) as pool:
            runs = list(pool.map(lambda name: run_client(name, args, brokers), names))
    finally:
        for name, broker in brokers.items():
            lived = broker.alive()
            code = broker.stop()
            if broker.process is not None and (not lived or code != 0):
                how = f"did not stop cleanly ({code})" if lived else f"ended by itself ({code})"
                failures.append(f"the {name} broker {how}\n{broker.tail()}")
    if any(o["status"] == "FAIL" for run in runs for o in run.outcomes.values()):
        failures.append(f"the main broker's log ends with\n{brokers['main'].tail()}")
    return runs, failures


def main() -> int:
    """Runs and reports."""
    args = parse()
    folder = Path(tempfile.mkdtemp(prefix="millstream-compat-"))
    try:
        runs, failures = run_all(args, folder)
    except BrokerDied as died:
        print(f"{died}\n0 passed, 1 failed")
        return 1
    finally:
        if args.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    names = wanted(args)
    statuses = [run.outcomes[name]["status"] for run in runs for name in names]
    print_table(names, runs)
    if "-" in statuses:
        print_reasons(names, runs)
    print_failures(names, runs)
    for failure in failures:
        print(f"\n{failure}")
    broken = sum(not text.startswith("the main broker's log") for text in failures)
    failed = statuses.count("FAIL") + broken
    print(f"\n{statuses.count('ok')} passed, {failed} failed, {statuses.count('-')} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
