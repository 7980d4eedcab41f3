"""The shortest list of decisions with which a run still fails."""

from __future__ import annotations

import time
from collections.abc import Callable

from .. import _engine
from ._thread import Outcome

_LIMIT = 10.0
"""For how many seconds of real time it is looked for."""


def shortest(outcome: Outcome, attempt: Callable[[str], Outcome], failed: Callable[[Outcome], bool]) -> Outcome:
    """Run simpler and simpler decisions; return what has become of the simplest that fail."""
    best = outcome
    until = time.perf_counter() + _LIMIT

    def fails(decisions: str) -> bool:
        nonlocal best
        if time.perf_counter() > until:
            return False
        tried = attempt(decisions)
        if failed(tried):
            best = tried
            best.decisions = decisions
        return best is tried

    _engine.shrink_decisions(outcome.decisions, fails)
    return best
