"""The stub of the native part says what is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy, which checks the types, is not installed here")


def test_the_stub_agrees_with_the_native_module(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    # PyO3 makes this list of all names; the package does not look at it.
    allowed.write_text("overlapped._engine.__all__\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "overlapped._engine", "--allowlist", str(allowed)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPY_CACHE_DIR": str(tmp_path)},
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_programs_that_use_the_package_are_checked(tmp_path: Path) -> None:
    """What a tasklet returns, a channel carries, a queue holds: the types go through."""
    program = tmp_path / "program.py"
    program.write_text(
        """
import overlapped
from overlapped import io, socket

def work(number: int, *, name: str) -> float:
    return number + len(name)

def total(channel: overlapped.Channel[int]) -> int:
    return sum(channel)

result: float = overlapped.spawn(work, 1, name="x").result()
wrong: str = overlapped.spawn(work, 1, name="x").result()
overlapped.spawn(work, "1", name="x")
overlapped.Queue[str]().put(3)
data: bytes = socket.create_connection(("host", 80)).recv(10)
text: str = io.open("name").read()
family: int = socket.AF_INET
with overlapped.timeout(2.5) as limit:
    expired: bool = limit.expired
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", str(program)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
    )
    lines = [line.split(":")[1] for line in done.stdout.splitlines()]
    assert lines == ["12", "13", "14"], done.stdout + done.stderr
