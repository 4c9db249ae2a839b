"""The one list of scenarios, each written once and run with every client that can: `SCENARIOS`.

A new scenario is a function in one of the modules; the order here is the order in the table.
"""

# Each adds to the list.
from harness.scenarios import topics, records, reading, groups, membership, sharing, transactions  # noqa: F401
from harness.scenarios.base import SCENARIOS, Context, Scenario

__all__ = ["SCENARIOS", "Context", "Scenario"]
