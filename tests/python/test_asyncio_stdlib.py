"""asyncio's own tests with our event loop in the place of the standard one.

`make loops` shows them beside other loops', on each CPython.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from conftest import unix_only
from known_failures import KNOWN_FAILURES_OF_THE_LOOP, known_failures, to_take_off
from stdlib_run import LOOP_MODULES, OUR_LOOP, TIME_LIMIT, Run, needs_tests

FEWEST = {
    "test_asyncio.test_events": 200,
    "test_asyncio.test_sock_lowlevel": 35,
    "test_asyncio.test_streams": 50,
    "test_asyncio.test_subprocess": 80,
    "test_asyncio.test_tasks": 300,
}
"""How many tests there are at the least: a run of fewer has lost some on the way."""

SIDE_BY_SIDE = 3
"""How many modules are run at once."""


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """Nothing is looked for: after each test the others' runs are under way, with their pipes."""


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Future[Run]]]:
    """The modules' runs, side by side: most of their time they wait."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield {module: pool.submit(Run, OUR_LOOP, module) for module in LOOP_MODULES}


@needs_tests
@unix_only("the tests of asyncio's default loop there are of another kind of loop")
@pytest.mark.time_limit(3 * TIME_LIMIT)
@pytest.mark.parametrize("module", LOOP_MODULES)
def test_asyncio_on_our_loop(module: str, runs: dict[str, Future[Run]]) -> None:
    run = runs[module].result()
    known = known_failures(module, KNOWN_FAILURES_OF_THE_LOOP)
    if run.failed - known:
        # Some measure times, and have measured the others' here.
        run = Run(OUR_LOOP, module)
    assert len(run.ran) >= FEWEST.get(module, 1), f"{module} did not come to its end:\n{run.output[-8000:]}"

    new = sorted(run.failed - known)
    mended = to_take_off(module, run.ran, run.failed, KNOWN_FAILURES_OF_THE_LOOP)
    assert not new, f"fail and are not known to:\n{run.output[-8000:]}"
    assert not mended, "pass and are on the list of known failures: take them off"
