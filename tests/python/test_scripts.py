"""The scripts that run others' tests begin: what they do takes hours, and is not done here."""

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
