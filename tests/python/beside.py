"""Programs under `python -m overlapped`, beside plain python."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from load import crowd


def with_path(folder: Path) -> str:
    """A PYTHONPATH with one more folder: on Windows, the package may be found by the one that there is."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


@dataclass
class Programs:
    """Programs that begin alike."""

    head: str

    def result(
        self, code: str, *options: str, under: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A program that has run to its end."""
        # From Python 3.12 on, a fork beside threads is warned of; in plain python there are some.
        quietly = [sys.executable, "-W", "ignore:This process:DeprecationWarning"]
        overlapped = ["-m", "overlapped", *options] if under else []
        return subprocess.run(
            [*quietly, *overlapped, "-c", self.head + textwrap.dedent(code)],
            capture_output=True,
            text=True,
            timeout=50 * crowd(),
            env={**os.environ, **environment},
        )

    def run(self, code: str, *, under: bool = True) -> str:
        """What a program says, which ends well and complains of nothing."""
        done = self.result(code, under=under)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def both(self, code: str) -> str:
        """What a program says under us, which is what it says under python."""
        ours, theirs = self.run(code), self.run(code, under=False)
        assert ours == theirs, f"ours:\n{ours}\npython's:\n{theirs}"
        return ours
