"""What the suites need: the loops that are to be had, and the sources of those that come with nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# At the end: test.py there is not the standard library's `test`.
sys.path.append(str(ROOT / "scripts"))
import outside  # noqa: E402

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
SOURCES = ROOT / "target" / "loops"


def loops(python: Path, wanted: list[str]) -> list[str]:
    """Those of the loops that this Python can import."""
    module = {"standard": "asyncio", "ours": "overlapped.asyncio"}
    question = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    return [name for name in wanted if subprocess.run([python, "-c", question, module.get(name, name)]).returncode == 0]


def source(python: Path, name: str) -> Path:
    """A package's source distribution, unpacked: its tests, and what they read, alone."""
    return outside.source(python, name, SOURCES, r"(tests/.*|pytest\.ini|pyproject\.toml|README\.rst)")
