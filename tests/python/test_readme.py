"""The Python programs of the README run. Its Rust program is a doctest of the crate."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from load import crowd

README = Path(__file__).resolve().parents[2] / "README.md"


def test_its_python_runs() -> None:
    programs = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(programs) == 1
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", programs[0]], capture_output=True, text=True, timeout=50 * crowd()
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == "".join(f"you are number {number}\n" for number in range(300)) + "\n"
