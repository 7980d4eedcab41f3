"""The main job, as `make demo` runs it: every scene as a program of its own, from `examples/`, and a table at the end.

Each program compares what it moved, byte for byte, and fails where something differs; so does this one then.
"""

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUST = ROOT / "target" / "release" / "examples"
PATIENCE = 120
"""Seconds after which a program that has not ended is killed."""

# What the programs print, in Python and in Rust alike: what moved, in how many seconds, and what else is to be told.
FILES = r"(?P<moved>.*), copied at once in (?P<seconds>.*) s and right; (?P<note>.*)"
SOCKETS = r"(?P<note>.*); then (?P<moved>.*) at once, .* disconnected, in (?P<seconds>.*) s"
PLAIN = r"(?P<moved>.*) stored and back as sent, in (?P<seconds>.*) s"
HELD = r"(?P<moved>.*) held at once on one thread after (?P<seconds>.*) s, (?P<note>.*)"
CHILDREN = r"(?P<moved>.*) as they came, in (?P<seconds>.*) s"
MIXED = r"(?P<moved>.*), answered right in (?P<seconds>.*) s"
HANDED = r"(?P<moved>.*) in (?P<seconds>.*) s; (?P<note>.*)"


@dataclass
class Part:
    """A program, and the row of the table that its last line becomes."""

    scene: str
    face: str
    command: list[str | Path]
    says: str
    moved: str = ""
    seconds: str = ""
    note: str = ""
    checked: str = "no"

    def run(self) -> bool:
        """Runs it; says whether all was right."""
        try:
            done = subprocess.run(self.command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.note = str(error)
            return False
        line = (done.stdout.splitlines() or [""])[-1]
        found = re.fullmatch(f"[a-z ]+: {self.says}", line)
        if done.returncode != 0 or found is None:
            self.note = f"exit status {done.returncode}, and said: {line or 'nothing'}"
            return False
        fields = found.groupdict()
        self.moved, self.seconds, self.note = fields["moved"], fields["seconds"], fields.get("note", "")
        self.checked = "every byte"
        return True


def stackless(name: str) -> list[str | Path]:
    """Runs a program that was written for Stackless."""
    return ["--stackless", f"examples/stackless/{name}.py"]


def parts() -> list[Part]:
    python = sys.executable
    plain = "examples/plain_program.py"
    return [
        Part("files", "Python", [python, "examples/file_copies.py"], FILES),
        Part("files", "Rust", [RUST / "file_copies"], FILES),
        Part("sockets", "Python", [python, "examples/socket_scene.py"], SOCKETS),
        Part("sockets", "Rust", [RUST / "socket_scene"], SOCKETS),
        Part("files", "Stackless's way", [python, "-m", "overlapped", *stackless("files")], FILES),
        Part("sockets", "Stackless's way", [python, "-m", "overlapped", *stackless("sockets")], SOCKETS),
        Part("plain program", "python", [python, plain], PLAIN),
        Part("plain program", "python -m overlapped", [python, "-m", "overlapped", plain], PLAIN),
        Part("children", "Python", [python, "examples/children.py"], CHILDREN),
        Part("children", "Rust", [RUST / "children"], CHILDREN),
        Part("coroutines", "Python", [python, "examples/coroutines.py"], MIXED),
        Part("hand-off", "Python", [python, "examples/handoff.py"], HANDED),
        Part("hand-off", "Rust", [RUST / "handoff"], HANDED),
        Part("hand-off", "Rust to Python", [RUST / "handoff", python, "examples/handoff.py"], HANDED),
        Part("held connections", "Rust", [RUST / "held_connections"], HELD),
    ]


def table(rows: Iterable[Iterable[str]]) -> str:
    rows = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def main() -> None:
    # A thousand connections have two thousand ends here; most systems allow that, but only to those who ask.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    report = subprocess.run(
        [sys.executable, "-c", "import overlapped; print(overlapped.report())"], stdout=subprocess.PIPE, text=True
    )
    if report.returncode != 0:
        sys.exit("demo: the package cannot be imported; `make demo` builds it")
    print(report.stdout.partition("operations:")[0].strip())
    print(f"machine: {os.cpu_count()} cores; a process may have {most} descriptors", flush=True)

    all_parts = parts()
    right = True
    begun = time.monotonic()
    for number, part in enumerate(all_parts, 1):
        print(f"{number}/{len(all_parts)}  {part.scene}, {part.face} ...", end=" ", flush=True)
        good = part.run()
        print(f"{part.seconds} s" if good else "FAILED", flush=True)
        right = right and good
    plain, under_overlapped = (part for part in all_parts if part.says == PLAIN)
    if plain.moved != under_overlapped.moved:
        print("the plain program did not do the same under python and under overlapped")
        right = False
    elif right:
        under_overlapped.note = f"{float(plain.seconds) / float(under_overlapped.seconds):.1f} times as fast"

    titles = ["scene", "in", "moved", "checked", "seconds", "note"]
    rows = [[part.scene, part.face, part.moved, part.checked, part.seconds, part.note] for part in all_parts]
    print("\n" + table([titles, *rows]))
    print(f"\ndemo: {'all is right' if right else 'FAILED'}, {time.monotonic() - begun:.1f} s")
    sys.exit(not right)


main()
