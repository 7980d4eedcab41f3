"""What scenes have in common whose programs print the costs of some moves, on one core."""

from collections.abc import Iterator, Mapping, Sequence

from charts import Chart
from plan import Plan
from processes import figures
from tables import Figures, Table


def costs(
    plan: Plan,
    kind: str,
    title: str,
    python: Mapping[str, Sequence[object]],
    rust: Sequence[str],
    columns: Mapping[str, tuple[str, str]],
) -> Iterator[Chart]:
    """A chart of each language: the Python programs, and the Rust ones of that kind."""
    for face, commands in (("Python", plan.python(python)), ("Rust", plan.rust(kind, rust))):

        def one(name: str, commands: Mapping[str, list[object]] = commands) -> Figures:
            return figures(commands[name], plan.server_core)

        chart = Chart(f"{kind}-{face.lower()}", f"{title} in {face}")
        chart.add(Table("", *plan.interleaved(list(commands), one), columns))
        yield chart
