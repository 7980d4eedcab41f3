"""The Python programs of the README, and of the page for those who come from elsewhere, run. The README's Rust program
is a doctest of the crate."""

from __future__ import annotations

import contextlib
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import overlapped
from load import crowd

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = (ROOT / "docs" / "coming_from.md").read_text(encoding="utf-8")


def programs(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def said_by(program: str) -> str:
    """What a program says, which ends well and complains of nothing."""
    command = [sys.executable, "-X", "dev", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50 * crowd())
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_its_python_runs() -> None:
    (program,) = programs((ROOT / "README.md").read_text(encoding="utf-8"))
    assert said_by(program) == "".join(f"you are number {number}\n" for number in range(300)) + "\n"


@pytest.mark.parametrize("program", programs(ELSEWHERE), ids=lambda program: program.splitlines()[-1])
def test_programs_for_those_who_come_from_elsewhere_run(program: str) -> None:
    assert said_by(program) == ""


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`overlapped\.(\w+(?:\.\w+)*)[(`]", ELSEWHERE))))
def test_names_for_those_who_come_from_elsewhere_are_there(name: str) -> None:
    thing = overlapped
    for part in name.split("."):
        with contextlib.suppress(ImportError):
            importlib.import_module(f"{thing.__name__}.{part}")
        thing = getattr(thing, part)
