"""The costs of the basic moves, on one core."""

from collections.abc import Iterator

from charts import Chart
from plan import Plan
from tables import OURS

from .costs import costs

RUST = (OURS, "tokio", "may")
PYTHON = {name: ("costs.py", name) for name in (OURS, "gevent", "uvloop", "asyncio")}
COSTS = {
    "spawn_join": ("spawn and join, ns", ".0f"),
    "switch": ("switch, ns", ".0f"),
    "stream": ("stream a value, ns", ".0f"),
    "ping_pong": ("ping-pong a value, ns", ".0f"),
}


def scene(plan: Plan) -> Iterator[Chart]:
    return costs(plan, "micro", "Costs of the basic moves", PYTHON, RUST, COSTS)
