"""A fresh Python for what is simulated: with a hash seed of its own, and its own directory for temporary files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from load import crowd


def python(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONHASHSEED", "TMPDIR")}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=55 * crowd(),
        env=kept | environment,
    )
