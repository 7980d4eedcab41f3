"""Tests in simulated worlds: ``pytest --overlapped-sim=1000``.

Each test, with its fixtures of every scope, runs in a world of its own (:mod:`overlapped.sim`) under each of many
seeds, until it fails with one; then the shortest list of decisions is looked for with which it still does. What the
standard library's threads and sockets are in it, :func:`overlapped.monkey.patch_all` has made of them. A test that is
not to be run so is marked ``@pytest.mark.overlapped_sim(False)``;
``@pytest.mark.overlapped_sim(rules=sim.Rules(loss=10))`` says how its worlds are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .sim._thread import Outcome


def patch(early_config: pytest.Config) -> None:
    """Put the standard library's replacements into place, before anything of the program is imported."""
    from . import monkey
    from .sim._install import install
    from .sim._program import fix_hash_seed

    capture = early_config.pluginmanager.getplugin("capturemanager")
    fix_hash_seed(0, capture.stop_global_capturing if capture is not None else None)
    # A turn that ends by the real time is none of the seed's.
    monkey.patch_all(preemption=False)
    install(dates=True)


def _has_failed(outcome: Outcome) -> bool:
    return any(report.failed for report in outcome.result)


def _late(item: pytest.Item, text: str) -> pytest.TestReport:
    """What is said of a test whose run had to be ended."""
    return pytest.TestReport(item.nodeid, item.location, dict.fromkeys(item.keywords, 1), "failed", text, "call")


class Worlds:
    """Runs tests in worlds."""

    def __init__(self, config: pytest.Config) -> None:
        from .sim import Explored

        self.origins: list[str] = config.option.overlapped_sim
        self.rough: bool = config.option.overlapped_sim_rough
        self.limit: float = config.option.overlapped_sim_limit
        self.explored = Explored()

    # Wrappers of the newer kind would keep older versions of pytest from starting.
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        import tempfile

        from .sim._tree import confined

        trees = [tempfile.gettempdir()]
        if session.config.option.basetemp is not None:
            trees.append(str(session.config.option.basetemp))
        # The session's folder. The first test to ask for one would make it in its world, and what pytest writes there,
        # the process's number, is none of a seed's. Who has told pytest to do without folders has no such thing.
        if (folders := getattr(session.config, "_tmp_path_factory", None)) is not None:
            folders.getbasetemp()
        with confined(*trees):
            yield

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        from .sim import Rules

        marker = item.get_closest_marker("overlapped_sim")
        if marker is not None and marker.args[:1] == (False,):
            return None
        chosen = Rules.rough() if self.rough else Rules()
        rules = chosen if marker is None else marker.kwargs.get("rules", chosen)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports(item, rules):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _reports(self, item: pytest.Item, rules: Any) -> list[pytest.TestReport]:
        """What is to be said of a test: of the last seed, or of the first that fails."""
        reports: list[pytest.TestReport] = []
        for origin in self.origins:
            outcome = self._run(item, rules, origin)
            reports = outcome.result
            self.explored = self.explored._and(outcome)
            if _has_failed(outcome):
                return self._shortest(item, rules, origin, outcome)
            if any(report.skipped for report in reports):
                break
        return reports

    def _run(self, item: pytest.Item, rules: Any, origin: str) -> Outcome:
        from _pytest.runner import runtestprotocol

        from .sim._thread import on_a_thread

        # Nothing is left for the next test: sockets and threads of its fixtures would be of another world.
        outcome = on_a_thread(origin, rules, lambda: runtestprotocol(item, log=False, nextitem=None), self.limit)
        if outcome.is_late:
            # What was ended may have been another thread than the test's.
            if not (outcome.result and _has_failed(outcome)):
                outcome.result = [_late(item, str(outcome.error))]
        elif outcome.error is not None:
            raise outcome.error
        return outcome

    def _shortest(self, item: pytest.Item, rules: Any, seed: str, outcome: Outcome) -> list[pytest.TestReport]:
        """Look for fewer decisions with which it fails."""
        from .sim._shrink import shortest

        first = "" if seed.startswith("d") else f"It fails with seed {seed}. "
        outcome = shortest(outcome, lambda decisions: self._run(item, rules, decisions), _has_failed)
        text = f"{first}Again: pytest --overlapped-sim='{outcome.decisions}' '{item.nodeid}'"
        reports: list[pytest.TestReport] = outcome.result
        for report in reports:
            if report.failed:
                report.sections.append(("Simulated world", text))
        return reports

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        seen = self.explored
        line = f"simulated: {seen.runs} runs, {seen.elapsed:.3f} s passed in them, hash {seen.hash:016x}"
        terminalreporter.write_line(line)
