"""What the suites need: the loops that are to be had, and the sources of those that come with nothing else."""

from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
SOURCES = ROOT / "target" / "loops"


def loops(python: Path, wanted: list[str]) -> list[str]:
    """Those of the loops that this Python can import."""
    module = {"standard": "asyncio", "ours": "overlapped.asyncio"}
    question = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    return [name for name in wanted if subprocess.run([python, "-c", question, module.get(name, name)]).returncode == 0]


def source(python: Path, name: str) -> Path:
    """A package's source distribution, unpacked, of the version that is installed: its tests come with that alone."""
    answer = subprocess.run(
        [python, "-c", f"import importlib.metadata; print(importlib.metadata.version({name!r}))"],
        check=True,
        capture_output=True,
        text=True,
    )
    folder = SOURCES / f"{name}-{answer.stdout.strip()}"
    if not folder.exists():
        SOURCES.mkdir(parents=True, exist_ok=True)
        download: list[str | Path] = [
            python,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            name,
            "--dest",
            SOURCES,
        ]
        subprocess.run([*download, f"{name}=={answer.stdout.strip()}"], check=True)
        with tarfile.open(f"{folder}.tar.gz") as archive:
            # The tests, and what they read, alone: the package is tested as it is installed.
            names = re.compile(re.escape(folder.name) + r"/(tests/.*|pytest\.ini|pyproject\.toml|README\.rst)")
            archive.extractall(SOURCES, [member for member in archive if names.match(member.name)], filter="data")
    return folder
