#!/usr/bin/env python3
"""Breaks the port on purpose, place by place, and sees whether its tests notice.

    scripts/mutants.py [--check] [--list] [WORD ...]

Each mutant of `mutants.toml` is a text in one file, another in its place, and what that breaks. It is made in a copy of
the tree under target/mutants, where the port's tests then run: the unit tests, the traps of the backends, the
conformance suite (for a backend's mutant that backend's part of it), until one fails. A mutant that does not build is a
mistake in the list. One that makes a test hang is noticed: the tests have limits of their own, and a run is ended after
LIMIT seconds, or later on a crowded machine.

WORD chooses those whose file or description has it in it. --check only looks whether each text is there, once: run it
after a change of the port. At the end stand those that survived. An exit code other than 0 says that more than 5 in 100
did.

It is not part of `make test`: a mutant costs one to two minutes. The list is written by hand, for what a tool would
change (an operator here, a constant there) is mostly caught by the first test that runs; what is listed is what
somebody might do wrong, or leave out. Mutants that change nothing which can be seen (a capacity, an order of two
independent steps) do not belong there.
"""

import argparse
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))

from load import crowd  # noqa: E402

LIST = Path(__file__).with_suffix(".toml")
PLACE = ROOT / "target" / "mutants"
SOURCE = "crates/overlapped-port/src/"
LIMIT = 300


@dataclass(frozen=True)
class Mutant:
    """What is broken, in which file, the text there, and what comes in its place."""

    what: str
    file: str
    text: str
    instead: str

    def title(self) -> str:
        return f"{self.file}: {self.what}"


def tree() -> Path:
    """A copy of what git knows, with the changes that are not committed."""
    copy = PLACE / "tree"
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    for name in filter(None, names):
        source, target = ROOT / name, copy / name
        if not source.is_file() or (target.is_file() and target.read_bytes() == source.read_bytes()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return copy


def cargo(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["cargo", "test", "--quiet", "-p", "overlapped-port", "--target-dir", str(PLACE / "build"), *arguments]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=LIMIT * crowd())


def suites(mutant: Mutant) -> list[list[str]]:
    """The tests that are to notice it, as arguments of `cargo test`, the fast ones first."""
    for backend in ("uring", "poll"):
        if mutant.file.startswith(f"backend/{backend}/"):
            return [["--lib"], ["--test", f"{backend}_traps"], ["--test", "conformance", f"::{backend}::"]]
    return [["--lib"], ["--test", "uring_traps", "--test", "poll_traps"], ["--test", "conformance"]]


def verdict(copy: Path, mutant: Mutant) -> tuple[bool, str]:
    """Whether it dies, and by which test first."""
    try:
        for tests in suites(mutant):
            ran = cargo(copy, *tests)
            if "could not compile" in ran.stderr:
                return False, "builds not"
            if ran.returncode:
                failed = [line.split()[1] for line in ran.stdout.split("\n") if line.startswith("---- ")]
                return True, "dies: " + (failed[0] if failed else "the test program ended")
    except subprocess.TimeoutExpired:
        return True, "dies: hangs"
    return False, "survives"


def work_off(
    listed: Path, source: str, description: str, noticed: Callable[[Path, Mutant], tuple[bool, str]]
) -> tuple[int, int]:
    """Make each mutant of a list that the command line chooses; `noticed` says whether the tests notice it, and how.

    Return how many there were, and how many were not noticed. End the program where only the list was asked for, or has
    mistakes.
    """
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="only look whether each text is there, once")
    parser.add_argument("--list", action="store_true", help="only name them")
    parser.add_argument("words", nargs="*", metavar="WORD")
    arguments = parser.parse_args()
    [(name, entries)] = tomllib.loads(listed.read_text()).items()
    mutants = [Mutant(**fields) for fields in entries]
    words = arguments.words
    chosen = [mutant for mutant in mutants if not words or any(word in mutant.title() for word in words)]
    wrong = [mutant for mutant in chosen if (ROOT / source / mutant.file).read_text().count(mutant.text) != 1]
    for mutant in wrong:
        print(f"{mutant.file}: not there, or more than once: {mutant.what}")
    if arguments.list:
        print(*(mutant.title() for mutant in chosen), sep="\n")
    if arguments.check or arguments.list or wrong:
        sys.exit(bool(wrong))
    copy, left = tree(), []
    for number, mutant in enumerate(chosen, 1):
        path = copy / source / mutant.file
        whole, start = path.read_text(), time.monotonic()
        path.write_text(whole.replace(mutant.text, mutant.instead))
        try:
            is_noticed, told = noticed(copy, mutant)
        finally:
            path.write_text(whole)
        print(f"{number}/{len(chosen)} {mutant.title()}: {told} ({time.monotonic() - start:.0f} s)", flush=True)
        if not is_noticed:
            left.append(f"{mutant.title()}: {told}")
    print(f"{len(chosen)} {name}s, {len(left)} left:", *left, sep="\n  ")
    return len(chosen), len(left)


if __name__ == "__main__":
    count, survived = work_off(LIST, SOURCE, __doc__, verdict)
    sys.exit(survived * 100 > 5 * count)
