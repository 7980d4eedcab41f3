#!/usr/bin/env python3
"""Plants faults in the port, the scheduler and what stands on them, and sees whether the simulation finds each.

    scripts/planted.py [--check] [--list] [WORD ...]

Each fault of `planted.toml` is made in a copy of the tree under target/mutants, where the storms of
crates/overlapped/tests/sim_storm.rs then run under many seeds, for a minute at most: they are to fail, with a seed that
says how. A fault that does not build is a mistake in the list. WORD chooses those whose file or description has it in
it; --check only looks whether each text is there, once. An exit code other than 0 says that one was not found.

It differs from `mutants.py` in what is to notice: there, tests that were written for each promise; here, a handful of
scenes that know nothing of the fault. It is not part of `make test`: a fault costs half a minute, most of it to build.
"""

import argparse
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from mutants import PLACE, ROOT, Mutant, tree

LIST = Path(__file__).with_suffix(".toml")
SOURCE = "crates/"
LIMIT = 60
"""Seconds in which the simulation is to find it."""
SEEDS = "0..1000"
FOUND = re.compile(r"^(seed \d+ fails: .*|OVERLAPPED_SIM=\S+ fails: .*)$", re.MULTILINE)
SCENE = re.compile(r"^---- (\S+) stdout", re.MULTILINE)


def verdict(copy: Path) -> tuple[bool, str]:
    """Whether it was found, and in which scene by which seed."""
    build = ["cargo", "test", "--quiet", "-p", "overlapped", "--test", "sim_storm"]
    build += ["--target-dir", str(PLACE / "storms")]
    built = subprocess.run([*build, "--no-run"], cwd=copy, capture_output=True, text=True)
    if built.returncode:
        return False, "builds not"
    start = time.monotonic()
    try:
        environment = os.environ | {"OVERLAPPED_SEEDS": SEEDS}
        ran = subprocess.run(build, cwd=copy, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        # A scene that hangs tells nobody why: time passes in it, or it would be found.
        return False, f"hangs: not found within {LIMIT} s"
    seconds = time.monotonic() - start
    if not ran.returncode:
        return False, f"not found by the seeds {SEEDS} of each scene"
    scenes, seeds = SCENE.findall(ran.stdout), FOUND.findall(ran.stdout)
    seeds = seeds or FOUND.findall(ran.stderr)
    where = scenes[0] if scenes else "a scene ends the program"
    return True, f"found in {seconds:.1f} s: {where}, {seeds[0][:90] if seeds else 'by a signal'}"


def main() -> bool:
    """Whether one was not found, or the list has a mistake."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="only look whether each text is there, once")
    parser.add_argument("--list", action="store_true", help="only name them")
    parser.add_argument("words", nargs="*", metavar="WORD")
    arguments = parser.parse_args()
    faults = [Mutant(**fields) for fields in tomllib.loads(LIST.read_text())["fault"]]
    words = arguments.words
    chosen = [fault for fault in faults if not words or any(word in fault.title() for word in words)]
    wrong = [fault for fault in chosen if (ROOT / SOURCE / fault.file).read_text().count(fault.text) != 1]
    for fault in wrong:
        print(f"{fault.file}: not there, or more than once: {fault.what}")
    if arguments.list:
        print(*(fault.title() for fault in chosen), sep="\n")
    if arguments.check or arguments.list or wrong:
        return bool(wrong)
    copy, missed = tree(), []
    for number, fault in enumerate(chosen, 1):
        path = copy / SOURCE / fault.file
        whole = path.read_text()
        path.write_text(whole.replace(fault.text, fault.instead))
        try:
            found, told = verdict(copy)
        finally:
            path.write_text(whole)
        print(f"{number}/{len(chosen)} {fault.title()}: {told}", flush=True)
        if not found:
            missed.append(f"{fault.title()}: {told}")
    print(f"{len(chosen)} faults, {len(missed)} not found:", *missed, sep="\n  ")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
