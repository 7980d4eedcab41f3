"""What the Windows Python does about Wine's failed starts, on whichever system: with a stand-in for Windows."""

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest


class Failed(OSError):
    """As on Windows, where alone an error has this number."""

    def __init__(self, winerror: int) -> None:
        super().__init__(f"[WinError {winerror}]")
        self.winerror = winerror


def start(monkeypatch: pytest.MonkeyPatch, outcomes: Iterator[int]) -> Callable[..., object]:
    """A start whose attempts end with these errors, or well where that is 0."""

    def create(*arguments: object) -> tuple[object, ...]:
        if error := next(outcomes):
            raise Failed(error)
        return arguments

    windows = SimpleNamespace(CreateProcess=create)
    monkeypatch.setitem(sys.modules, "_winapi", windows)
    runpy.run_path(str(Path(__file__).with_name("sitecustomize.py")))
    started: Callable[..., object] = windows.CreateProcess
    return started


def test_a_start_that_wine_has_failed_is_tried_again_with_the_same_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start(monkeypatch, iter([1359, 1359, 0]))("program", "arguments") == ("program", "arguments")


def test_what_always_fails_fails_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = iter([1359] * 10)
    with pytest.raises(Failed, match="1359"):
        start(monkeypatch, outcomes)()
    assert len(list(outcomes)) == 5


def test_another_error_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = iter([1359, 2, 0])
    with pytest.raises(Failed, match="2"):
        start(monkeypatch, outcomes)()
    assert next(outcomes) == 0
