"""Runs scenarios with one client in a process of its own; one line of JSON for each on stdout.

A scenario that hangs is given up after its limit, with the stacks of every thread, and the next one
goes on: a broken client or broker costs one limit, not the run.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from clients.registry import driver_class
from harness.broker import advertised
from harness.driver import Driver
from harness.scenarios import SCENARIOS, Context, Scenario
from harness.scenarios.failover import FAILOVER

LIMIT_S = 45.0


def stacks() -> str:
    """Where every thread is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():
        parts.append(f"thread {names.get(ident, ident)}\n")
        parts += traceback.format_stack(frame)[-6:]
    return "".join(parts)


def run_one(
    scenario: Scenario, context: Context, served: set[int], limit_s: float = LIMIT_S
) -> dict:
    """One scenario's outcome."""
    reason = context.driver.cannot.get(scenario.name)
    if not scenario.needs <= served:
        keys = ", ".join(map(str, sorted(scenario.needs - served)))
        reason = f"the broker does not serve API {keys}"
    if reason is not None:
        return {"status": "-", "detail": reason}
    outcome: dict = {}

    def body() -> None:
        try:
            scenario.run(context)
            outcome["status"] = "ok"
        except BaseException:  # noqa: BLE001 (reported with its trace)
            outcome.update(status="FAIL", detail=traceback.format_exc(limit=-8))

    thread = threading.Thread(target=body, daemon=True, name=scenario.name)
    thread.start()
    thread.join(limit_s)
    if not outcome:
        return {"status": "FAIL", "detail": f"not done within {limit_s:.0f} s\n{stacks()}"}
    return dict(outcome)


def drivers(client: str, bootstrap: str, strict: str) -> tuple[Driver, Driver]:
    """The client against both brokers."""
    cls = driver_class(client)
    return cls(bootstrap), cls(strict)


def run_together(args: argparse.Namespace, driver: Driver) -> None:
    """The scenarios of a failing cluster, all at once."""

    def one(scenario: Scenario) -> None:
        context = Context(args.client, scenario.name, driver, driver, args.data_dir)
        outcome = run_one(scenario, context, set(), args.limit)
        outcome.update(scenario=scenario.name)
        print(json.dumps(outcome), flush=True)

    wanted = [each for each in FAILOVER if not args.only or each.name in args.only]
    threads = [threading.Thread(target=one, args=(each,)) for each in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Runs the scenarios of one client."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--strict", required=True)
    parser.add_argument("--data-dir", required=True, type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--failover", action="store_true")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="of --failover, in seconds")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)

    if args.failover:
        driver = driver_class(args.client)(args.bootstrap)
        print(json.dumps({"version": driver.version()}), flush=True)
        run_together(args, driver)
        os._exit(0)
    served = advertised(int(args.bootstrap.rpartition(":")[2]))
    driver, strict = drivers(args.client, args.bootstrap, args.strict)
    print(json.dumps({"version": driver.version()}), flush=True)
    for scenario in SCENARIOS:
        if args.only and scenario.name not in args.only:
            continue
        context = Context(args.client, scenario.name, driver, strict, args.data_dir)
        began = time.monotonic()
        outcome = run_one(scenario, context, served)
        outcome.update(scenario=scenario.name, seconds=round(time.monotonic() - began, 3))
        print(json.dumps(outcome), flush=True)
    driver.close()
    strict.close()
    # Threads of a scenario that was given up must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
