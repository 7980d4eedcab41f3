"""The scripts that run for hours begin: what they do is not done here, or for seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, unix_only
from load import crowd

pytestmark = unix_only("they are not run there")


@pytest.mark.parametrize("script", ["library_suites.py", "loops/compare.py", "stdlib/run_beside.py"])
def test_a_script_says_what_can_be_asked_of_it(script: str) -> None:
    command = [sys.executable, ROOT / "scripts" / script, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * crowd())
    assert (done.returncode, done.stderr) == (0, "") and "--python" in done.stdout


@pytest.mark.parametrize("script", ["mutants.py", "planted.py"])
def test_each_mutant_and_each_planted_fault_has_its_place(script: str) -> None:
    command = [sys.executable, ROOT / "scripts" / script, "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * crowd())
    assert (done.returncode, done.stdout) == (0, "")


def run_script(*command: str | Path, limit: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=limit * crowd())


def test_fuzz_targets_are_run_with_so_many_rounds_and_their_failures_shown() -> None:
    script = ROOT / "scripts" / "fuzz.py"
    done = run_script(script, "--rounds", "3", "files")
    assert (done.returncode, done.stdout) == (0, "rounds: files 3\n"), done.stdout
    assert "no such target: fils" in run_script(script, "fils").stderr


@pytest.mark.time_limit(120)
def test_a_soak_of_seconds_ends_well() -> None:
    done = run_script(ROOT / "scripts" / "soak.py", "--minutes", "0.08", limit=100)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "nothing has grown" in done.stdout


LEAKS = """
import os, sys
sys.path.insert(0, sys.argv[1])
import soak
kept = []
def leaks(this, rng):
    kept.append(os.open("/dev/null", 0))
    kept.append(soak.spawn(soak.sleep, 600))
    kept.append(soak.spawn(soak.socket.create_server(soak.LOOPBACK).accept))
    kept.append(os.urandom(3 << 20))
    kept.append([str(number) for number in range(10_000)])
    soak.sleep(max(this.until - soak.time.monotonic(), 0))
soak.PARTS = {leaks: 1}
soak.PATIENCE = 1
soak.soak(2)
"""


def test_a_soak_names_what_grows() -> None:
    done = run_script("-c", LEAKS, ROOT / "scripts")
    assert done.returncode == 1 and "it has grown" in done.stderr, done.stdout + done.stderr
    for name in ("tasklets", "operations in flight", "operations not ended", "timers", "descriptors", "heap", "blocks"):
        assert f"\n{name}: " in done.stdout, (name, done.stdout)
    for what in ("1 more: /dev/null", "1 more: a tasklet: sleep", "1 more: a tasklet: accept"):
        assert what in done.stdout, (what, done.stdout)


COUNTS = r"""
import importlib.util, json, sys
from pathlib import Path
scripts, folder = map(Path, sys.argv[1:])
sys.path.insert(0, str(scripts))
spec = importlib.util.spec_from_file_location("all_tests", scripts / "test.py")
tests = sys.modules["all_tests"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
tests.SAID, tests.PROCESSORS = folder, 2
part = tests.Part("one", ["cat", str(folder / "output")])
part.run()
print(json.dumps([part.tests, part.counts]))
"""
OUTPUT = """
running 3 tests
test late ... ok
test other ... ok
test sound - should panic ... ok

test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

running 5 tests
test early ... ok
test left::out ... ignored
test wrong ... FAILED
error: test failed, to rerun pass `-p some --test other`

Caused by:
  process didn't exit successfully: `{runner} {program}` ({end})
"""


@pytest.mark.parametrize(
    "end, unended, crashed",
    [
        ("exit status: 101", "late slow unborn", []),
        ("exit status: 9", "late slow unborn", ["program crashed (exit status: 9) in: late or slow"]),
        ("signal: 6, SIGABRT: process abort signal", "late", ["program crashed (signal: 6) in: late"]),
        ("exit status: 139", "", ["program crashed (exit status: 139) in: none of its tests"]),
    ],
)
def test_a_test_that_crashes_its_program_is_named(tmp_path: Path, end: str, unended: str, crashed: list[str]) -> None:
    program = tmp_path / "program"
    program.write_text(f"early left::out wrong {unended}")
    runner = tmp_path / "runner"
    runner.write_text('#!/bin/sh\n[ "$2" = --list ] && for test in $(cat "$1"); do echo "$test: test"; done\n')
    runner.chmod(0o755)
    (tmp_path / "output").write_text(OUTPUT.format(runner=runner, program=program, end=end))
    done = run_script("-c", COUNTS, ROOT / "scripts", tmp_path)
    assert done.returncode == 0, done.stderr
    named, counts = json.loads(done.stdout.splitlines()[-1])
    assert (named, counts["passed"]) == (["wrong", *crashed], 3), done.stdout
    # Tests that are well have no line in what is shown.
    assert "test wrong" in done.stdout and "test early" not in done.stdout
