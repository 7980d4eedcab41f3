"""The scripts that run for hours begin: what they do is not done here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conftest import ROOT, unix_only
from load import crowd

pytestmark = unix_only("they are not run there")


@pytest.mark.parametrize("script", ["library_suites.py", "loops/compare.py", "stdlib/run_beside.py"])
def test_a_script_says_what_can_be_asked_of_it(script: str) -> None:
    command = [sys.executable, ROOT / "scripts" / script, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * crowd())
    assert (done.returncode, done.stderr) == (0, "") and "--python" in done.stdout


def test_each_mutant_of_the_port_has_its_place() -> None:
    command = [sys.executable, ROOT / "scripts" / "mutants.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * crowd())
    assert (done.returncode, done.stdout) == (0, "")
