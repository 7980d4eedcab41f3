"""What a run has at hand: the built programs, the cores, how long and how often to measure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import building
from calm import Calm, Others
from processes import Failed
from tables import Figures, Found, Rounds

SCRIPTS = building.HERE / "python"


@dataclass(frozen=True)
class Plan:
    programs: dict[str, Path]
    modules: set[str]
    """Of `building.MODULES`, those that can be imported."""
    quick: bool
    rounds: int
    seconds: float
    """How long a load lasts."""
    server_core: int
    load_core: int
    files_in: Path
    calm: Calm

    def rust(self, kind: str, contenders: Sequence[str], *arguments: object) -> dict[str, list[object]]:
        """The commands of those Rust programs of a kind that were built."""
        commands = {name: self.programs.get(f"{kind}-{name}") for name in contenders}
        return {name: [program, *arguments] for name, program in commands.items() if program}

    def python(self, contenders: Mapping[str, Sequence[object]], *arguments: object) -> dict[str, list[object]]:
        """The commands of those Python programs whose libraries are there."""
        chosen = {
            name: [SCRIPTS / str(word) if str(word).endswith(".py") else word for word in (*words, *arguments)]
            for name, words in contenders.items()
            if building.MODULES.intersection(map(str, words)) <= self.modules
        }
        return {name: [building.PYTHON, *words] for name, words in chosen.items()}

    def interleaved(self, names: Sequence[str], measure: Callable[[str], Figures], most: int | None = None) -> Found:
        """Measures each contender once a round, each round beginning with another one, and gives what each round found.

        Before a round it waits for a calm machine; with each figure goes the share of the cores that others took. A
        contender that fails is out for the remaining rounds; the second result says why.
        """
        found: Rounds = {name: [] for name in names}
        failures: dict[str, str] = {}
        for turn in range(min(self.rounds, most or self.rounds)):
            self.calm.wait()
            first = turn % len(names) if names else 0
            for name in [*names[first:], *names[:first]]:
                if name in failures:
                    continue
                others = Others()
                try:
                    figures = measure(name)
                except Failed as failure:
                    failures[name] = str(failure)
                else:
                    found[name].append(figures | {"others": others.share()})
        return found, failures
