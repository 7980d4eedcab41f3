"""Tests that others wrote, a process for each module: what `loops` and `stdlib` need in common to run them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "python"))
from load import crowd

TIMEOUT = "Timeout ("
"""How pytest-timeout begins to say that a test has taken too long."""


@dataclass
class Result:
    """How a module's tests ended, by name; what was skipped is not among them."""

    ran: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    """Those of the failed that hang."""
    note: str = ""
    """What kept the module from its end."""

    def keep(self, file: Path) -> None:
        """Writes it to a file."""
        file.write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @staticmethod
    def kept(file: Path) -> Result:
        """One that was written to a file."""
        return Result(**json.loads(file.read_text()))


def run_until_silent(
    command: list[str],
    folder: Path,
    *,
    patience: float,
    longest: float = float("inf"),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, bool]:
    """The output of a command, given these variables besides its own, and whether it came to its end by itself.

    Else it had said nothing for so many seconds, or had run for so many; for more on a crowded machine.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1", **environment},
        )
        begun = since = time.monotonic()
        size, ended = 0, False
        while not ended:
            try:
                process.wait(timeout=0.5)
                ended = True
            except subprocess.TimeoutExpired:
                now, grown, slow = time.monotonic(), os.fstat(output.fileno()).st_size, min(crowd(), 2)
                if grown > size:
                    size, since = grown, now
                if now - since > patience * slow or now - begun > longest * slow:
                    break
        # What a test has left behind goes with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        output.seek(0)
        return output.read().decode(errors="replace"), ended


def begin_anew(
    run: Callable[[list[str]], tuple[Result, str, bool]], begun: re.Pattern[str], most: int, *, results_are_last: bool
) -> tuple[Result, str, bool]:
    """Runs tests, begun anew without each that hangs, which has failed then; no more often than `most` times.

    `run` is told which to leave out, and returns the results, and then what `run_until_silent` does; `begun` finds the
    tests in the output that have begun. Where `results_are_last`, and there are some, it was the end of the process
    that did not come.
    """
    hung: list[str] = []
    while True:
        result, output, ended = run(hung)
        names = begun.findall(output)
        told = results_are_last and result.ran
        if ended or told or not names or names[-1] in hung or len(hung) == most:
            result.hung = sorted({*result.hung, *hung})
            result.failed = sorted({*result.failed, *hung})
            result.ran = sorted({*result.ran, *hung})
            return result, output, ended
        hung.append(names[-1])


IN_PARTS = re.compile(r"^(?:FAIL|ERROR): \w+ \((test\.[\w.]+)\) [\[(]", re.MULTILINE)
"""How unittest tells that part of a test has failed, one of its `subTest`."""


def read_regrtest(file: Path, output: str) -> Result:
    """What regrtest writes to a file, and what it says of tests that fail in part: from Python 3.12 on these have no
    name in the file."""
    result = read_junit(file)
    result.failed = sorted({*result.failed, *IN_PARTS.findall(output)})
    result.ran = sorted({*result.ran, *result.failed})
    return result


def read_junit(file: Path) -> Result:
    """Results in the form of JUnit, as regrtest and pytest write them."""
    result = Result()
    for case in ElementTree.parse(file).iter("testcase") if file.exists() else []:
        name = ".".join(filter(None, (case.get("classname"), case.get("name"))))
        if not name:
            continue
        bad = case.find("failure") is not None or case.find("error") is not None
        if case.find("skipped") is None or bad:
            result.ran.append(name)
            result.failed += [name] * bad
            result.hung += [name] * any(TIMEOUT in part.get("message", "") for part in case)
    return result


def source(python: Path, name: str, folder: Path, members: str = ".*") -> Path:
    """A package's source distribution, of the version that is installed: its tests come with that alone. What the
    regular expression names of it is unpacked; the package is tested as it is installed."""
    question = f"import importlib.metadata; print(importlib.metadata.version({name!r}))"
    answer = subprocess.run([python, "-c", question], check=True, capture_output=True, text=True)
    version = answer.stdout.strip()
    unpacked = folder / f"{name.replace('-', '_')}-{version}"
    if not unpacked.exists():
        folder.mkdir(parents=True, exist_ok=True)
        download: list[str | Path] = [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        download += ["--no-deps", "--no-binary", name, "--dest", folder, f"{name}=={version}"]
        subprocess.run(download, check=True)
        with tarfile.open(f"{unpacked}.tar.gz") as archive:
            wanted = re.compile(f"{re.escape(unpacked.name)}/{members}")
            archive.extractall(folder, [it for it in archive if wanted.match(it.name)], filter="data")
    return unpacked
