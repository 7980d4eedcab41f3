"""Runs of the standard library's own tests in a Python of their own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from load import crowd

TIME_LIMIT = 240
"""Seconds for each module's tests."""

needs_tests = pytest.mark.skipif(
    importlib.util.find_spec("test.support") is None,
    reason="this Python comes without the standard library's tests (Debian: libpython3.11-testsuite)",
)

PLAIN = ["-m", "test"]
OUR_LOOP = [str(Path(__file__).with_name("programs") / "with_loop.py"), "overlapped.asyncio:EventLoop", "test"]
"""What runs tests with our event loop in the place of the standard one."""

LOOP_MODULES = [
    f"test_asyncio.test_{name}"
    for name in (
        "events",
        "tasks",
        "subprocess",
        "sendfile",
        "sock_lowlevel",
        "streams",
        "server",
        "buffered_proto",
        "unix_events",
        "runners",
        "sslproto",
        "threads",
        "timeouts",
        "taskgroups",
        "waitfor",
    )
]
"""asyncio's own tests that run a loop: those that take longest come first."""


class Run:
    """One run of a module's tests by ``python program``: how each of them ended."""

    def __init__(self, program: list[str], module: str) -> None:
        command = [sys.executable, *program, "-u", "network"]
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder, "results.xml")
            done = subprocess.run(
                [*command, "--junit-xml", str(results), module],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=TIME_LIMIT * crowd(),
                cwd=folder,
            )
            self.output = done.stdout
            cases = list(ElementTree.parse(results).iter("testcase")) if results.exists() else []
        self.ran = {case.get("name", "") for case in cases}
        ended_badly = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
        self.failed = {case.get("name", "") for case in ended_badly}
