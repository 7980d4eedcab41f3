#!/usr/bin/env python3
"""Plants faults in the port, the scheduler and what stands on them, and sees whether the simulation finds each.

    scripts/planted.py [--check] [--list] [WORD ...]

Each fault of `planted.toml` is made in a copy of the tree under target/mutants, where the storms of
crates/overlapped/tests/sim_storm then run under many seeds, for a minute at most: they are to fail, with a seed that
says how. A fault that does not build is a mistake in the list. WORD chooses those whose file or description has it in
it; --check only looks whether each text is there, once. An exit code other than 0 says that one was not found.

It differs from `mutants.py` in what is to notice: there, tests that were written for each promise; here, a handful of
scenes that know nothing of the fault. It is not part of `make test`: a fault costs half a minute, most of it to build.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from mutants import PLACE, Mutant, work_off

LIST = Path(__file__).with_suffix(".toml")
SOURCE = "crates/"
LIMIT = 60
"""Seconds in which the simulation is to find it."""
SEEDS = ("0..200", "200..5000")
"""Of each scene, the first part for what shows at once: a run ends when all of its scenes have."""
FOUND = re.compile(r"^(seed \d+ fails: .*|OVERLAPPED_SIM=\S+ fails: .*)$", re.MULTILINE)
SCENE = re.compile(r"^---- (\S+) stdout", re.MULTILINE)


def verdict(copy: Path, _: Mutant) -> tuple[bool, str]:
    """Whether it was found, and in which scene by which seed."""
    build = ["cargo", "test", "--quiet", "-p", "overlapped", "--test", "sim_storm"]
    build += ["--target-dir", str(PLACE / "storms")]
    built = subprocess.run([*build, "--no-run"], cwd=copy, capture_output=True, text=True)
    if built.returncode:
        return False, "builds not"
    start = time.monotonic()
    for seeds in SEEDS:
        environment, left = os.environ | {"OVERLAPPED_SEEDS": seeds}, LIMIT - (time.monotonic() - start)
        try:
            ran = subprocess.run(build, cwd=copy, env=environment, capture_output=True, text=True, timeout=left)
        except subprocess.TimeoutExpired:
            # A scene that hangs tells nobody why: time passes in it, or it would be found.
            return False, f"hangs: not found within {LIMIT} s"
        if ran.returncode:
            break
    else:
        return False, f"not found by the seeds {' and '.join(SEEDS)} of each scene"
    seconds = time.monotonic() - start
    scenes, found = SCENE.findall(ran.stdout), FOUND.findall(ran.stdout) or FOUND.findall(ran.stderr)
    where = scenes[0] if scenes else "a scene ends the program"
    return True, f"found in {seconds:.1f} s: {where}, {found[0][:90] if found else 'by a signal'}"


if __name__ == "__main__":
    _, missed = work_off(LIST, SOURCE, __doc__, verdict)
    sys.exit(missed > 0)
