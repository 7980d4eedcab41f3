"""What a run has found, as SVG and into the README: `python benches/report.py [--write-readme]` does it once more.

`run.py` does it after each chart. A chart is drawn into `target/benches/charts`; with `--write-readme` into `charts`
beside this file, and its table goes between its two marks in the README. What was not measured stays there as it was.
"""

import argparse
import json
from dataclasses import dataclass

import building
from charts import Chart
from tables import Table

RESULTS = building.HERE / "results.json"
README = building.HERE / "README.md"
CHARTS = building.HERE / "charts"
GROUND = ("backend", "kernel", "cores", "processor", "python", "rustc")
ENOUGH = 5
"""Rounds below which a range says too little for the README."""


def write(charts: list[Chart], told: dict[str, str], rounds: int, into_readme: bool) -> None:
    folder = CHARTS if into_readme else building.TARGET / "charts"
    folder.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        if not chart.lines():
            continue
        (folder / f"{chart.name}.svg").write_text(chart.svg())
        if into_readme:
            under = f"<sub>[Drawn](charts/{chart.name}.svg). {rounds} rounds; {_ground(chart, told)}.</sub>"
            README.write_text(_between(README.read_text(), chart.name, f"{chart.markdown()}\n\n{under}"))


def _ground(chart: Chart, told: dict[str, str]) -> str:
    """What the figures stand on: the machine, the versions of those in the chart, what others took meanwhile."""
    names = " ".join(chart.contenders())
    known = [f"{what} {value}" for what, value in told.items() if what in GROUND or what in names]
    others = [found["others"] for table in chart.tables for rounds in table.rounds.values() for found in rounds]
    return ", ".join([*known, f"others took {min(others):.0%} to {max(others):.0%} of the cores"])


def _between(text: str, name: str, content: str) -> str:
    """Puts the content between the marks of that name, which come at the end where there were none."""
    begin, end = f"<!-- chart {name} -->\n", "\n<!-- end -->"
    if begin not in text:
        return f"{text}\n{begin}{content}{end}\n"
    before, _, rest = text.partition(begin)
    return before + begin + content + end + rest.partition(end)[2]


def save(charts: list[Chart], told: dict[str, str], rounds: int) -> None:
    """Every round's figures, for whoever wants to look closer."""
    found = [{"name": c.name, "title": c.title, "tables": [table.as_json() for table in c.tables]} for c in charts]
    RESULTS.write_text(json.dumps({"environment": told, "rounds": rounds, "charts": found}, indent=1) + "\n")


@dataclass(frozen=True)
class Saved:
    charts: list[Chart]
    told: dict[str, str]
    rounds: int


def load() -> Saved:
    """What `save` wrote."""
    found = json.loads(RESULTS.read_text())
    charts = [Chart(c["name"], c["title"], [Table(**table) for table in c["tables"]]) for c in found["charts"]]
    return Saved(charts, found["environment"], found["rounds"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws what the last run has found.")
    parser.add_argument("--write-readme", action="store_true", help="and puts its tables into the README")
    chosen = parser.parse_args()
    saved = load()
    if chosen.write_readme and saved.rounds < ENOUGH:
        parser.error(f"{saved.rounds} rounds are too few for the README: {ENOUGH} at least")
    write(saved.charts, saved.told, saved.rounds, chosen.write_readme)


if __name__ == "__main__":
    main()
