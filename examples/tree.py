"""A tree of processes that is ended as a whole: each starts two more, three generations deep, and none would end by
itself.

python examples/tree.py
"""

import os
import sys
import time

import overlapped
from overlapped import subprocess

GENERATIONS = 3
PROCESSES = 2**GENERATIONS - 1


def root(generations: int) -> list[str]:
    """This program, to be the root of so many generations."""
    return [sys.executable, __file__, str(generations)]


def live(generations: int) -> None:
    """One of the tree."""
    children = [subprocess.Popen(root(generations - 1)) for _ in range(2 if generations > 1 else 0)]
    print(f"process {os.getpid()} lives, of generation {GENERATIONS - generations + 1}", flush=True)
    overlapped.sleep(600)
    sys.exit(f"nobody has ended it, nor its {len(children)} children")


def main() -> None:
    begun = time.perf_counter()
    with overlapped.timeout(60), subprocess.Child(root(GENERATIONS), own_tree=True, stdout=subprocess.PIPE) as child:
        output = child.stdout
        assert output is not None
        for _ in range(PROCESSES):
            print(output.readline().decode(), end="")
        child.kill_tree()
        # All had the pipe, which ends with the last of them.
        assert output.read() == b"", "more lived than were started"
    seconds = time.perf_counter() - begun
    print(f"tree: {PROCESSES} processes in {GENERATIONS} generations, ended at once, in {seconds:.2f} s")


if len(sys.argv) > 1:
    live(int(sys.argv[1]))
else:
    main()
