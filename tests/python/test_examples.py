"""The programs in `examples/` run, and notice what they claim to check."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import WINDOWS
from load import crowd

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOR_UNIX = {"simulation.py", "terminal.py"}
NAMES = sorted(path.name for path in EXAMPLES.glob("*.py") if not (WINDOWS and path.name in FOR_UNIX))
FOR_STACKLESS = sorted(path.name for path in EXAMPLES.glob("stackless/*.py"))


PLAIN_PROGRAM = ["--clients", "40", "--rounds", "5"] if WINDOWS else []
"""Wine takes a millisecond to open a file, and longer to start a thread."""


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-X", "dev", *command], capture_output=True, text=True, timeout=50 * crowd())


@pytest.mark.parametrize("name", NAMES)
def test_runs(name: str) -> None:
    done = run(EXAMPLES / name, *(PLAIN_PROGRAM if name == "plain_program.py" else []))
    # asyncio's debug mode tells of what was slow, on a crowded machine of anything.
    told = re.sub(r"(?m)^Executing .* took [\d.]+ seconds\n", "", done.stderr)
    assert (done.returncode, told) == (0, ""), told
    assert done.stdout.splitlines()[-1].startswith(Path(name).stem.split("_")[0])


@pytest.mark.parametrize("name", FOR_STACKLESS)
def test_what_was_written_for_stackless_runs(name: str) -> None:
    done = run("-m", "overlapped", "--stackless", EXAMPLES / "stackless" / name)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"stackless {Path(name).stem}")


def test_the_plain_program_runs_under_overlapped() -> None:
    done = run("-m", "overlapped", EXAMPLES / "plain_program.py", *PLAIN_PROGRAM)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert f"{200 if PLAIN_PROGRAM else 10_000} requests" in done.stdout


SPOILED_WRITE = """
import overlapped.io, runpy, sys
whole = overlapped.io.BufferedWriter.write
def write(self, data):
    return whole(self, bytes([data[0] ^ 1]) + data[1:])
overlapped.io.BufferedWriter.write = write
runpy.run_path(sys.argv[1])
"""

SPOILED_SEND = """
import overlapped.socket, runpy, sys
whole = overlapped.socket.socket.sendall
overlapped.socket.socket.sendall = lambda self, data: whole(self, data[:-1] + b"!")
runpy.run_path(sys.argv[1])
"""


@pytest.mark.parametrize(
    ("name", "spoiled", "complaint"),
    [
        ("file_copies.py", SPOILED_WRITE, "differs from the original"),
        ("socket_scene.py", SPOILED_SEND, "was told b'Disconnecting you.!'"),
    ],
)
def test_notices_a_wrong_byte(name: str, spoiled: str, complaint: str) -> None:
    done = run("-c", spoiled, EXAMPLES / name)
    assert done.returncode == 1
    assert complaint in done.stderr
