"""Fifty children at once, whose lines are shown as they come: on one thread, which waits for none of them alone.

python examples/children.py
"""

import sys
import time

import overlapped
from overlapped import subprocess

CHILDREN = 50


def command(number: int) -> list[str]:
    """A child that says a few words, some of them late."""
    if sys.platform == "win32":
        return ["cmd", "/d", "/c", f"echo child {number} begins& echo child {number} ends"]
    pause = number % 5 / 50
    return ["sh", "-c", f"echo child {number} begins; sleep {pause}; echo child {number} ends"]


def follow(number: int) -> list[str]:
    """Runs one child; returns its lines."""
    lines = []
    with subprocess.Popen(command(number), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            print(line, end="")
            lines.append(line.strip())
    assert child.returncode == 0, f"child {number} ended with {child.returncode}"
    return lines


def main() -> None:
    begun = time.perf_counter()
    with overlapped.Group() as children:
        followed = [children.spawn(follow, number) for number in range(CHILDREN)]
    for number, child in enumerate(followed):
        assert child.result() == [f"child {number} begins", f"child {number} ends"]
    seconds = time.perf_counter() - begun
    print(f"children: {CHILDREN} children, {2 * CHILDREN} lines as they came, in {seconds:.2f} s")


main()
