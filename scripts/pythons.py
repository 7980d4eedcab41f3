"""Which other CPythons there are on this machine."""

import os
import shutil
import subprocess
from pathlib import Path

UNPACKED = Path(__file__).resolve().parent.parent / "target" / "python3.14" / "usr"


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
