"""The standard library's own tests of sockets, files and threads, under ``python -m overlapped``."""

import importlib.util
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from known_failures import ASKS_LESS_BEFORE, KNOWN_FAILURES, SKIPPED

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
    "test_subprocess",
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

TIME_LIMIT = 240
"""Seconds for each module's tests: the longest take a sixth of that on two idle cores."""

needs_tests = pytest.mark.skipif(
    importlib.util.find_spec("test.support") is None,
    reason="this Python comes without the standard library's tests (Debian: libpython3.11-testsuite)",
)


@needs_tests
@pytest.mark.time_limit(TIME_LIMIT + 10)
@pytest.mark.parametrize("module", MODULES)
def test_standard_library(module: str, tmp_path: Path) -> None:
    results = tmp_path / "results.xml"
    ignored = [word for pattern in SKIPPED for word in ("-i", pattern)]
    command = [sys.executable, "-m", "overlapped", "-m", "test", "-u", "network", "--junit-xml", str(results)]
    done = subprocess.run(
        [*command, *ignored, module],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        cwd=tmp_path,
    )
    assert results.exists(), f"{module} did not come to its end:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    cases = list(ElementTree.parse(results).iter("testcase"))
    assert len(cases) >= FEWEST.get(module, 1)

    failed = {
        case.get("name", "") for case in cases if case.find("failure") is not None or case.find("error") is not None
    }
    known = {name for name in KNOWN_FAILURES if name.startswith(f"test.{module}.")}
    ran = {case.get("name", "") for case in cases}
    new = sorted(failed - known)
    asks_less = {name for name, version in ASKS_LESS_BEFORE.items() if sys.version_info < version}
    mended = sorted((known & ran) - failed - asks_less)
    assert not new, f"fail and are not known to:\n{done.stdout[-8000:]}"
    assert not mended, "pass and are on the list of known failures: take them off"
