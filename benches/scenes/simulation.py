"""Simulated worlds: what a schedule of two clients and ten echoes costs, on one core."""

from collections.abc import Iterator

from charts import Chart
from plan import Plan
from tables import OURS

from .costs import costs

COSTS = {
    "schedule": ("a schedule, ns", ",.0f"),
    "faster": ("seconds that pass in a second", ",.0f"),
}


def scene(plan: Plan) -> Iterator[Chart]:
    return costs(
        plan,
        "simulation",
        "Two clients and ten echoes, simulated,",
        {OURS: ("simulation.py",)},
        (OURS, "turmoil"),
        COSTS,
    )
