"""Which other CPythons there are on this machine, and environments of theirs that have the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNPACKED = ROOT / "target" / "python3.14" / "usr"


def find(version: str) -> str | None:
    """A CPython of that version that starts: on the path, pyenv's, uv's, or what benches/python3.14.sh unpacked."""
    home = Path.home()
    folders = [
        Path(os.environ.get("PYENV_ROOT", home / ".pyenv"), "versions").glob(f"{version}.*"),
        (home / ".local" / "share" / "uv" / "python").glob(f"cpython-{version}.*"),
    ]
    candidates = [shutil.which(f"python{version}")]
    candidates += [str(UNPACKED / "bin" / f"python{version}")]
    candidates += [str(folder / "bin" / "python3") for some in folders for folder in sorted(some)]
    question = "import sys, ensurepip; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"
    for candidate in filter(None, candidates):
        try:
            answer = subprocess.run([candidate, "-c", question], capture_output=True, text=True, timeout=30)
        except OSError:
            continue
        if answer.stdout.split() == ["cpython", version]:
            return candidate
    return None


def environment(kind: str, version: str, interpreter: str, build: bool, *requirements: str) -> Path:
    """The Python of a virtual environment that has the package and what else pip is told to install; where it is there
    already, it is made anew if `build` says so."""
    folder = ROOT / f".venv-{kind}-{version}"
    python = folder / "bin" / "python"
    if build or not python.exists():
        print(f"preparing {folder.name} ...", file=sys.stderr)
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
        # A build folder of its own: see test.py.
        target = {"CARGO_TARGET_DIR": str(ROOT / "target" / f"cpython{version}")}
        pip: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *requirements,
            ROOT,
        ]
        subprocess.run(pip, check=True, env=os.environ | target)
    return python
