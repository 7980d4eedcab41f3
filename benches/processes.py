"""A measured process: pinned to a core, its clock and memory read from outside, ended by its handle."""

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

PATIENCE = 60
"""Seconds without a word after which a process counts as hung."""

FIELDS = {"resident": "VmRSS", "page_tables": "VmPTE"}
"""What is read of `/proc/PID/status`."""


class Failed(Exception):
    """A measured process did not do its part."""


class Process:
    """Runs a command on one core (on any where `core` is None) and talks to it by lines.

    It is ended when the `with` block is left, however that happens. Servers and the load generator also end by
    themselves when their stdin closes, so none outlives a runner that was killed.
    """

    def __init__(self, command: Sequence[object], core: int | None = None) -> None:
        self.command = [str(word) for word in command]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        self._lines = b""
        pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(
            self.command, stdin=pipe, stdout=pipe, stderr=self._errors, preexec_fn=pin, bufsize=0
        )
        # clock_getcpuclockid(3): the CPU clock of any process, in nanoseconds, threads that have ended included.
        self._clock = (~self._child.pid << 3) | 2
        assert self._child.stdin and self._child.stdout
        self._in, self._out = self._child.stdin, self._child.stdout

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._in.close()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._out.close()
        self._errors.close()

    def say(self, line: str) -> None:
        self._in.write(line.encode() + b"\n")

    def line(self) -> str:
        """The next line that it prints.

        Raises Failed, with the end of its stderr, where it ended or fell silent.
        """
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self._lines:
            ready, _, _ = select.select([self._out], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise Failed(f"{self._name}: silent for {PATIENCE} s")
            piece = self._out.read(65536)
            if not piece:
                raise Failed(f"{self._name}: {self._last_words()}")
            self._lines += piece
        line, _, self._lines = self._lines.partition(b"\n")
        return line.decode()

    def figures(self) -> dict[str, float]:
        """The next line, as the JSON object that it is."""
        found: dict[str, float] = json.loads(self.line())
        return found

    @property
    def _name(self) -> str:
        return " ".join(Path(word).name for word in self.command)

    def _last_words(self) -> str:
        self._child.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        told = next((line for line in lines if "rror" in line), lines[-1] if lines else "")
        return f"ended with status {self._child.returncode}" + (f": {told.strip()}" if told else "")

    def cpu(self) -> float:
        """CPU seconds that it has used, all threads together, its time in the kernel included."""
        return time.clock_gettime(self._clock)

    def memory(self) -> dict[str, int]:
        """Bytes of resident memory and of page tables, from proc(5)."""
        status = Path(f"/proc/{self._child.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in status)
        return {kind: int(fields[name].split()[0]) * 1024 for kind, name in FIELDS.items()}


def figures(command: Sequence[object], core: int | None = None) -> dict[str, float]:
    """What a program prints that measures itself."""
    with Process(command, core) as process:
        return process.figures()
