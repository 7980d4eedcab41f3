"""Rounds into medians, medians into ratios, ratios into tables that the README can take as they are."""

import sys
from collections.abc import Callable, Sequence
from statistics import median

from processes import Failed

Figures = dict[str, float]
"""What one run found, by name; without what a contender does not have."""

Rounds = dict[str, list[Figures]]

OURS = "overlapped"


def interleaved(names: Sequence[str], rounds: int, measure: Callable[[str], Figures]) -> tuple[Rounds, dict[str, str]]:
    """Measures each contender once a round, each round beginning with another one, and gives what each round found.

    One that fails is out for the remaining rounds; the second result says why.
    """
    found: Rounds = {name: [] for name in names}
    failures: dict[str, str] = {}
    for turn in range(rounds):
        first = turn % len(names)
        for name in [*names[first:], *names[:first]]:
            if name not in failures:
                try:
                    found[name].append(measure(name))
                except Failed as failure:
                    failures[name] = str(failure)
    return found, failures


def medians(rounds: Rounds, figure: str) -> dict[str, float]:
    """Of one figure, by contender; without those that have none."""
    values = {name: [found[figure] for found in each if figure in found] for name, each in rounds.items()}
    return {name: median(each) for name, each in values.items() if each}


def spread(rounds: Rounds, figure: str, name: str) -> float:
    """How far the rounds lie apart, as a part of their median."""
    values = [found[figure] for found in rounds[name]]
    return (max(values) - min(values)) / median(values) if median(values) else 0.0


def show(
    title: str,
    rounds: Rounds,
    failures: dict[str, str],
    costs: dict[str, tuple[str, str]],
    context: dict[str, tuple[str, str]] | None = None,
) -> dict:
    """Prints one table: of each cost the median and its ratio to ours, of each context figure the median alone.

    Both name a figure's heading and format. The first cost is the one that counts: the spread is its. Gives what it
    printed, for the results file.
    """
    columns = costs | (context or {})
    by_figure = {figure: medians(rounds, figure) for figure in columns}
    base = next((name for name in (OURS, *rounds) if rounds.get(name)), OURS)
    headings: list[str] = []
    for figure, (heading, _) in columns.items():
        headings += [heading, f"x {base}"] if figure in costs else [heading]
    print(f"\n**{title}**\n")
    print("| | " + " | ".join(headings) + " | spread |")
    print("|---|" + "---:|" * (len(headings) + 1))
    ratios: dict[str, dict[str, float]] = {}
    for name in rounds:
        if not rounds[name]:
            print(f"| {name} | failed: {failures[name]} |" + " |" * len(headings))
            continue
        cells = []
        for figure, (_, form) in columns.items():
            value, ours = by_figure[figure].get(name), by_figure[figure].get(base)
            cells.append("-" if value is None else format(value, form))
            if figure not in costs:
                continue
            if value is None or not ours:
                cells.append("-")
                continue
            ratio = value / ours
            cells.append(format(ratio, ".2f" if ratio >= 0.1 else ".1g"))
            ratios.setdefault(name, {})[figure] = round(ratio, 4)
        failed = f" (failed later: {failures[name]})" if name in failures else ""
        print(f"| {name}{failed} | " + " | ".join(cells) + f" | {spread(rounds, next(iter(costs)), name):.0%} |")
    sys.stdout.flush()
    found = {"medians": by_figure, "rounds": rounds, "failures": failures}
    return {"title": title, "ratios_to": base, "ratios": ratios} | found
