"""Differential fuzzing: a random program is run on ours and on the standard library's, and the same must come of both.

A program is how it begins and a list of steps, each an expression of Python's: what failed can be read, shortened by
leaving steps out, and typed in. Rejected: Hypothesis, which would do the same with another library and other seeds.

The programs are the same ones each time, so that a change is not blamed for what another draw finds; other ones begin
with ``OVERLAPPED_SEED=number``, as `make fuzz` does, and ``OVERLAPPED_ROUNDS=number`` runs so many.
"""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pprint import pformat
from typing import Any

from seeds import with_seeds


@dataclass(frozen=True)
class Program:
    """How it begins, in words of the test's own, and its steps."""

    begin: dict[str, Any]
    steps: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([f"begin: {self.begin!r}", *(f"    {step}" for step in self.steps)])


@dataclass
class Trace:
    """What came of a program: of each step what it returned or raised, and the state after it."""

    known: dict[str, str] = field(default_factory=dict)
    """Words of errors that are known to differ, and what stands for them."""

    shown: Callable[[Any], Any] = lambda value: value
    """What stands for a value that is another one each time."""

    seen: list[tuple[str, tuple[Any, Any]]] = field(default_factory=list)

    def step(self, step: str, names: dict[str, Any], state: Callable[[], Any]) -> Any:
        """Evaluates a step, and notes what came of it and what is so after it. Returns what the step did."""
        result = None
        try:
            result = eval(step, names)
            came = plain(self.shown(result))
        except AssertionError:
            # The test's time is up: see conftest.py.
            raise
        except Exception as error:
            *came, words = failure(error)
            came.append(self.known.get(words, words))
        self.note(step, came, plain(state()))
        return result

    def note(self, what: str, came: Any, state: Any = None) -> None:
        """Notes what came of something, and what is so after it."""
        self.seen.append((what, (came, state)))


def failure(error: BaseException) -> list[Any]:
    """The kind, number, name and words of an error, and what a `BlockingIOError` has done."""
    number = name = written = None
    if isinstance(error, OSError):
        number, name = error.errno, error.filename
        written = getattr(error, "characters_written", None)
    # A class in C says which module it is from, one made in Python, as ours are, does not; a method says whose it is.
    words = re.sub(r"\b_io\.|\b_socket\.", "", str(error))
    words = re.sub(r"^\w+\.(\w+\(\))", r"\1", words)
    return [type(error).__name__, number, name, written, words]


def failed(came: Any) -> bool:
    """Whether it is what `failure` tells of an error."""
    return isinstance(came, list) and len(came) == 5 and isinstance(came[0], str)


def plain(value: Any) -> Any:
    """A value that can be compared with the other side's: an object that is not is told by its type."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (memoryview, bytearray)):
        return bytes(value)
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    return f"<{type(value).__name__}>"


def into(method: Any, buffer: Any, *more: Any) -> Any:
    """What a call that fills a buffer returned, and the buffer's bytes."""
    return method(buffer, *more), bytes(memoryview(buffer).cast("B"))


Run = Callable[[Program], Trace]


Alike = Callable[[str, Any, Any], bool | None]
"""Whether what came of a step may differ so, theirs and ours; None where all that comes after it may differ as well."""


def never(step: str, theirs: Any, ours: Any) -> bool | None:
    """Nothing may differ."""
    return False


def difference(program: Program, run_theirs: Run, run_ours: Run, alike: Alike = never) -> str | None:
    """Where the two first differ; None where they do not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, ours = run_theirs(program).seen, run_ours(program).seen
    for (step, expected), (_, got) in zip(theirs, ours, strict=False):
        if got == expected:
            continue
        may_differ = alike(step, expected[0], got[0])
        if may_differ is None:
            return None
        if not may_differ or got[1] != expected[1]:
            return f"{step}\n    theirs: {pformat(expected, width=110)}\n    ours:   {pformat(got, width=110)}"
    if len(theirs) != len(ours):
        return f"theirs has {len(theirs)} steps, ours {len(ours)}"
    return None


def shorter(program: Program) -> Iterator[Program]:
    """The same program with steps left out, many at a time first; then with less to begin with."""
    size = len(program.steps)
    while size:
        for at in range(0, len(program.steps), size):
            yield replace(program, steps=program.steps[:at] + program.steps[at + size :])
        size //= 2
    for name, value in program.begin.items():
        if isinstance(value, bytes) and value:
            middle = len(value) // 2
            for part in (value[:0], value[:middle], value[middle:], value[:-1], value[1:]):
                if part != value:
                    yield replace(program, begin={**program.begin, name: part})


def shrink(program: Program, fails: Callable[[Program], bool], tries: int = 2000) -> Program:
    """The shortest program found that still fails: each that does is where the search goes on from."""
    while True:
        for candidate in shorter(program):
            tries -= 1
            if tries < 0:
                return program
            if fails(candidate):
                program = candidate
                break
        else:
            return program


def compare(
    rounds: int,
    write: Callable[[random.Random], Program],
    run_theirs: Run,
    run_ours: Run,
    alike: Alike = never,
    times: int = 1,
) -> None:
    """Runs so many random programs on both; the first that differs is shortened and shown. It must differ several times
    in a row where it has to do with what is under way in the system."""

    def differ(program: Program) -> str | None:
        found = None
        for _ in range(times):
            if (found := difference(program, run_theirs, run_ours, alike)) is None:
                break
        return found

    def one(seed: int) -> None:
        program = write(random.Random(seed))
        if (found := differ(program)) is None:
            return
        least = shrink(program, lambda candidate: differ(candidate) is not None)
        raise AssertionError(f"ours differs from the standard library's\n{least}\nat {differ(least) or found}")

    with_seeds(rounds, one, first=0)
