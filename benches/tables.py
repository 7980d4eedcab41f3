"""Rounds into ratios, ratios into a table.

A ratio is taken round by round, a contender's figure over ours of the same round: what disturbs a round disturbs both.
A table gives the median of these ratios and how far they range.
"""

import sys
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from statistics import median

Figures = dict[str, float]
"""What one run found, by name; without what a contender does not have."""

Rounds = dict[str, list[Figures]]

Found = tuple[Rounds, dict[str, str]]
"""What each contender's rounds found, and why those failed that did."""

Columns = Mapping[str, tuple[str, str]]
"""Of each figure its heading and its format."""

OURS = "overlapped"
THREADS = "python -m overlapped"
"""Ours too: a plain program of threads, unmodified."""


@dataclass(frozen=True)
class Ratio:
    """Over ours: the median of the rounds, the least and the greatest."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.least)} to {_short(self.greatest)})"


def _short(ratio: float) -> str:
    return format(ratio, ".0f" if ratio >= 20 else ".1f" if ratio >= 9.95 else ".2f" if ratio >= 0.1 else ".1g")


@dataclass
class Table:
    """Contenders by figures: one line of a chart for each cost."""

    title: str
    """What is measured in it, as one of several of its chart."""
    rounds: Rounds
    failures: dict[str, str]
    costs: Columns
    """The less, the better; each is given as a ratio."""
    context: Columns = field(default_factory=dict)
    """What else was seen; no ratios."""
    aside: Collection[str] = (THREADS,)
    """Those that are no peers: a floor, or ours in another dress."""

    def ratios(self, cost: str) -> dict[str, Ratio]:
        """Of each contender that has the figure in a round where ours has one."""
        found = {}
        for name, rounds in self.rounds.items():
            pairs = zip(rounds, self.rounds.get(OURS, []), strict=False)
            each = [theirs[cost] / ours[cost] for theirs, ours in pairs if cost in theirs and ours.get(cost)]
            if each and name != OURS:
                found[name] = Ratio(median(each), min(each), max(each))
        return found

    def medians(self, figure: str) -> dict[str, float]:
        values = {name: [found[figure] for found in each if figure in found] for name, each in self.rounds.items()}
        return {name: median(each) for name, each in values.items() if each}

    def _own_range(self, cost: str) -> str:
        values = [found[cost] for found in self.rounds[OURS] if cost in found]
        middle = median(values) if values else 0
        return f"1 ({min(values) / middle:.2f} to {max(values) / middle:.2f})" if middle else "-"

    def show(self, chart: str) -> None:
        """Prints it in Markdown. Our range is that of our rounds over their median: what a difference is to exceed."""
        context = {**self.context, "others": ("others took", ".0%")}
        headings = [
            heading for name, _ in self.costs.values() for heading in (name, "x ours (range over the rounds)")
        ] + [name for name, _ in context.values()]
        print(f"\n**{chart}: {self.title}**\n" if self.title else f"\n**{chart}**\n")
        print("| | " + " | ".join(headings) + " |")
        print("|---|" + "---:|" * len(headings))
        medians = {figure: self.medians(figure) for figure in (*self.costs, *context)}
        ratios = {cost: self.ratios(cost) for cost in self.costs}
        for name, rounds in self.rounds.items():
            if not rounds:
                print(f"| {name} | failed: {self.failures[name]} |" + " |" * (len(headings) - 1))
                continue
            cells = []
            for figure, (_, form) in (*self.costs.items(), *context.items()):
                value = medians[figure].get(name)
                cells.append("-" if value is None else format(value, form))
                if figure in self.costs:
                    cells.append(self._own_range(figure) if name == OURS else str(ratios[figure].get(name, "-")))
            failed = f" (failed later: {self.failures[name]})" if name in self.failures else ""
            print(f"| {name}{failed} | " + " | ".join(cells) + " |")
        sys.stdout.flush()

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"costs": dict(self.costs), "context": dict(self.context), "aside": list(self.aside)}
