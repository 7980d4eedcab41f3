"""The options of :mod:`overlapped`'s simulated worlds for pytest: ``pytest --overlapped-sim=1000``.

It is a package of its own because pytest imports it in every run, also where nobody asks for a world: then nothing of
:mod:`overlapped` is imported.
"""

from __future__ import annotations

import sys

import pytest

_HELP = """run each test in simulated worlds: with that many seeds (1000), with some of them (500..600), with one
(seed:17), or with the decisions that a failure has printed (d0*14,3)"""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("overlapped", "simulated worlds (overlapped)")
    group.addoption("--overlapped-sim", metavar="SEEDS", type=_origins, help=_HELP)
    group.addoption("--overlapped-sim-rough", action="store_true", help="worlds in which everything fails now and then")
    group.addoption(
        "--overlapped-sim-limit", metavar="SECONDS", type=float, default=30.0, help="of real time for each run"
    )


def _origins(text: str) -> list[str]:
    """The seeds, or the decisions, that an option names."""
    if text.startswith("d"):
        return [text]
    if text.startswith("seed:"):
        return [str(int(text.removeprefix("seed:")))]
    first, dots, end = text.partition("..")
    return [str(seed) for seed in (range(int(first), int(end)) if dots else range(int(first)))]


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Patch before anything of the program is imported."""
    if early_config.known_args_namespace.overlapped_sim is None:
        return
    if sys.platform == "win32":
        raise pytest.UsageError("--overlapped-sim: Windows has no simulated world yet")
    from overlapped._pytest import patch

    patch(early_config)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "overlapped_sim(wanted, *, rules): whether and how --overlapped-sim runs the test"
    )
    if config.option.overlapped_sim is not None and sys.platform != "win32":
        from overlapped._pytest import Worlds

        config.pluginmanager.register(Worlds(config), "overlapped-worlds")
