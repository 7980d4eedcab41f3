"""Text and binary files: what a line costs, beside plain python's."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from charts import Chart
from plan import Plan
from processes import Process
from tables import OURS, THREADS, Figures, Table

PYTHON = {
    OURS: ("text.py", "overlapped"),
    THREADS: ("-m", "overlapped", "text.py", "plain"),
    "plain python": ("text.py", "plain"),
}
COSTS = {
    "iterate": ("for line in file, ns a line", ".0f"),
    "readline": ("readline, ns a line", ".0f"),
    "bytes": ("for line in binary file, ns a line", ".0f"),
    "bytes-write": ("write to a binary file, ns a line", ".0f"),
    "read": ("read it whole, ns a line", ".1f"),
    "write": ("write, ns a line", ".0f"),
}


def scene(plan: Plan) -> Iterator[Chart]:
    commands = plan.python(PYTHON)

    def one(name: str) -> Figures:
        with (
            tempfile.TemporaryDirectory(prefix="overlapped-bench-", dir=plan.files_in) as folder,
            Process([*commands[name], Path(folder, "lines")], plan.server_core) as process,
        ):
            return process.figures()

    chart = Chart("text", "Lines of files in Python")
    chart.add(Table("", *plan.interleaved(list(commands), one), COSTS))
    yield chart
