"""The standard library's own tests of sockets, files and threads, under ``python -m overlapped``."""

import importlib.util
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from known_failures import IGNORED, known_failures, to_take_off
from stdlib_run import TIME_LIMIT, Run, needs_tests

MODULES = [
    "test_socket",
    "test_file",
    "test_fileio",
    "test_select",
    "test_socketserver",
    "test_poll",
    "test_epoll",
    "test_selectors",
    "test_thread",
    "test_threading_local",
    "test_threading",
    "test_threadedtempfile",
    "test_queue",
    "test_time",
    "test_threadsignals",
    "test_fork1",
    "test_sys",
    "test_sys_settrace",
    "test_sys_setprofile",
    "test_bdb",
    "test_cprofile",
    "test_shutil",
    "test_sqlite3",
    "test_tempfile",
    "test_subprocess",
    "test_pty",
    "test_logging",
    "test_ssl",
    "test_io",
    "test_asyncio.test_runners",
    "test_asyncio.test_server",
    "test_asyncio.test_sock_lowlevel",
    "test_asyncio.test_streams",
    "test_asyncio.test_subprocess",
    "test_asyncio.test_threads",
    "test_asyncio.test_unix_events",
]

FEWEST = {
    "test_socket": 600,
    "test_file": 30,
    "test_fileio": 80,
    "test_threading": 180,
    "test_io": 600,
    "test_ssl": 150,
}
"""How many tests there are at the least: a run of fewer has lost some on the way."""

SIDE_BY_SIDE = 4
"""How many modules are run at once."""

PROGRAM = ["-m", "overlapped", "-m", "test", *IGNORED]


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """Nothing is looked for: after each test the others' runs are under way, with their pipes."""


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Future[Run]]]:
    """The modules' runs, side by side: most of their time they wait."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield {module: pool.submit(Run, PROGRAM, module) for module in MODULES}


@needs_tests
@pytest.mark.time_limit(3 * TIME_LIMIT)
@pytest.mark.parametrize("module", MODULES)
def test_standard_library(module: str, runs: dict[str, Future[Run]]) -> None:
    if importlib.util.find_spec(f"test.{module}") is None:
        pytest.skip("not among the tests that this Python has: Debian's package leaves some out")
    run = runs[module].result()
    known = known_failures(module)
    if run.failed - known:
        # Some measure times, and have measured the others' here.
        run = Run(PROGRAM, module)
    assert len(run.ran) >= FEWEST.get(module, 1), f"{module} did not come to its end:\n{run.output[-8000:]}"

    new = sorted(run.failed - known)
    mended = to_take_off(module, run.ran, run.failed)
    assert not new, f"fail and are not known to:\n{run.output[-8000:]}"
    assert not mended, "pass and are on the list of known failures: take them off"
