"""What leaving a wait costs, against how many others wait: it should not grow."""

from collections.abc import Iterator

from charts import Chart
from plan import Plan
from processes import figures
from tables import OURS, Figures, Table

FEWEST, *MORE = (1000, 4000, 16_000, 64_000)
COSTS = {
    "channel": ("on one channel, ns", ".0f"),
    "semaphore": ("on one semaphore, ns", ".0f"),
    "event": ("on one event, ns", ".0f"),
    "recv": ("on one socket, ns", ".0f"),
    "elsewhere": ("on another socket, ns", ".0f"),
}
MOST_ROUNDS = 3
"""What grows shows at once."""


def scene(plan: Plan) -> Iterator[Chart]:
    """The first line, to which the others are put in relation, is that of the fewest waiters."""
    program = plan.programs["scaling-overlapped"]
    commands = {OURS: [program, FEWEST]} | {f"{count:,} waiters": [program, count] for count in MORE}

    def one(name: str) -> Figures:
        return figures(commands[name], plan.server_core)

    chart = Chart("scaling", f"Leaving a wait beside so many others, over that beside {FEWEST:,}")
    chart.add(Table("", *plan.interleaved(list(commands), one, MOST_ROUNDS), COSTS))
    yield chart
