"""Random programs on files, of `overlapped.io` and of the standard library's `io`: what comes of them is the same.

That is what each call returns or raises (the words too), where the descriptor stands and how long the file is after it,
and what is in the file at the end. See differential.py.
"""

from __future__ import annotations

import array
import errno
import gc
import io as std_io
import os
import random
from pathlib import Path
from typing import Any

import pytest

from conftest import WINDOWS
from differential import Program, Trace, compare, failed, into
from overlapped import io

MODES = ["r", "w", "a", "x", "r+", "w+", "a+", "x+"]
BUFFERINGS = ["-1", "-1", "0", "1", "2", "5", "16", "100", "8192", "100_000"]
ENCODINGS = [
    "'utf-8'",
    "'ascii'",
    "'latin-1'",
    "'utf-16'",
    "'utf-8-sig'",
    "'utf-32-le'",
    "'utf-7'",
    "'shift_jis'",
    "None",
]
ERRORS = ["None", "'strict'", "'ignore'", "'replace'", "'surrogateescape'", "'backslashreplace'"]
NEWLINES = ["None", "''", "'\\n'", "'\\r'", "'\\r\\n'"]
WRONG = ["None", "'x'", "b'x'", "2.5", "[]", "-1", "1 << 62", "1 << 63", "-(1 << 63)", "1 << 70", "True"]
SIZES = ["0", "1", "2", "3", "7", "20", "100", "5000", "8192", "10_000", "-1", "None"]
LETTERS = [
    "a",
    "b",
    "line",
    "\n",
    "\n",
    "\r",
    "\r\n",
    "\u00e9",
    "\u20ac",
    "\U0001f600",
    "\x1a",
    "\ufeff",
    " ",
    "\u3042",
]


AGAIN = "'ab+' if 'a' in file.mode else 'r+b'" if WINDOWS else "'r+b'"
"""The mode in which a copy of a descriptor is opened. On Windows the C runtime alone knows that it appends, and
tells nobody: ours appends where the mode says so."""

KNOWN = {
    # `open` is `_pyio`'s, with our classes.
    "can't have read/write/append mode at once": "must have exactly one of create/read/write/append mode",
}
"""Words of errors that differ, ours and theirs."""


class Author:
    """Writes programs."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.one_of = rng.choice

    def program(self) -> Program:
        kind = self.one_of(["bytes", "bytes", "text", "text", "layers"])
        target = self.target()
        begin = {"target": target, "contents": self.bytes(self.one_of([0, 5, 40, 300, 20_000]))}
        opening = f"files.append({self.opening(kind, target)})"
        steps = [opening]
        for _ in range(self.rng.randrange(1, 25)):
            steps.append(self.step(kind, target))
        return Program(begin, tuple(steps))

    def target(self) -> str:
        if WINDOWS or self.rng.random() < 0.7:
            return "path"
        return self.one_of(
            ["missing", "folder", "number", "number", "drained", "drained", "pipe", "sink", "full", "null", "deaf"]
        )

    # What is given.

    def bytes(self, size: int) -> bytes:
        text = "".join(self.rng.choices(LETTERS, k=size))
        data = text.encode(self.one_of(["utf-8", "utf-8", "latin-1", "utf-16"]), "replace")
        if self.rng.random() < 0.2:
            data = bytes(byte if self.rng.random() < 0.95 else self.rng.randrange(256) for byte in data)
        return data

    def data(self) -> str:
        """What may be written to a binary file."""
        if self.rng.random() < 0.15:
            return self.one_of(WRONG)
        some = f"b'{self.one_of('abc')}' * {self.one_of([0, 1, 3, 10, 17, 200, 4096, 8191, 8192, 8193, 20_000])}"
        return self.one_of(
            [
                repr(self.bytes(self.rng.randrange(8))),
                some,
                some,
                f"bytearray({some})",
                f"memoryview({some})[1:]",
                f"memoryview({some})[::2]",
                "array.array('h', [1, 2, 3])",
                "memoryview(b'abcdef').cast('B', (2, 3))",
            ]
        )

    def text(self) -> str:
        """What may be written to a text file."""
        if self.rng.random() < 0.12:
            return self.one_of([*WRONG, "'\\udc80'", "'\\ud800x'"])
        some = "".join(self.rng.choices(LETTERS, k=self.rng.randrange(6)))
        return self.one_of([repr(some), repr(some), f"{some!r} * {self.one_of([2, 100, 2000, 9000])}"])

    def size(self) -> str:
        return self.one_of(WRONG) if self.rng.random() < 0.06 else self.one_of(SIZES)

    def place(self) -> str:
        """Where to seek to."""
        if self.rng.random() < 0.08:
            return self.one_of(WRONG)
        return str(self.one_of([0, 0, 1, 2, 5, 10, 33, 100, 400, 8191, 8192, 8193, 20_000, "marks[-1]", "marks[0]"]))

    def buffer(self) -> str:
        if self.rng.random() < 0.15:
            return self.one_of([*WRONG, "memoryview(bytearray(6))[::2]", "memoryview(b'ro')"])
        size = self.one_of([0, 1, 3, 10, 100, 8192, 10_000])
        return self.one_of([f"bytearray({size})", f"memoryview(bytearray({size}))", f"array.array('i', [0] * {size})"])

    # How it is opened.

    def opening(self, kind: str, target: str) -> str:
        mode = self.one_of(MODES)
        if target in ("drained", "pipe"):
            mode = self.one_of(["r", "r", "r", "w", "r+"])
        elif target in ("full", "deaf", "sink"):
            # What is read from the full device has no end.
            mode = self.one_of(["w", "w", "a"])
        if self.rng.random() < 0.02:
            mode = self.one_of(["rw", "z", "r++", "U", "rr", "wa"])
        if kind == "layers":
            return self.layers(mode)
        arguments = ["target", repr(mode + ("b" if kind == "bytes" else ""))]
        # Ours looks at these before it opens what "w", "a" or "x" would create or truncate: theirs does not.
        safe = mode[:1] == "r"
        if self.rng.random() < 0.7:
            buffering = self.one_of(BUFFERINGS)
            arguments.append(f"buffering={'-1' if buffering == '0' and kind == 'text' and not safe else buffering}")
        if kind == "text" or self.rng.random() < 0.03:
            arguments.append(f"encoding={self.one_of(ENCODINGS if self.rng.random() < 0.5 else ENCODINGS[:1])}")
            if self.rng.random() < 0.4:
                arguments.append(f"errors={self.one_of(ERRORS)}")
            if self.rng.random() < 0.6:
                arguments.append(f"newline={self.one_of(NEWLINES)}")
        if safe and self.rng.random() < 0.06:
            wrong = ["encoding='no-such'", "errors='no-such'", "newline='x'", "closefd=False", "closefd=0", "opener=1"]
            wrong += [
                f"opener={opener}" for opener in ("lambda *_: -1", "lambda *_: 'x'", "lambda *_: 1 / 0", "os.open")
            ]
            arguments.append(self.one_of(wrong))
        arguments = list({argument.partition("=")[0]: argument for argument in arguments}.values())
        return f"open({', '.join(arguments)})"

    def layers(self, mode: str) -> str:
        """The classes one by one, in combinations that `open` does not make."""
        raw = f"io.FileIO(target, {mode!r})"
        size = self.one_of(["", ", 1", ", 7", ", 64", ", 8192", ", 0", ", -1", ", 'x'"])
        buffered = self.one_of(["BufferedReader", "BufferedWriter", "BufferedRandom"])
        if self.rng.random() < 0.8:
            buffered = "BufferedRandom" if "+" in mode else "BufferedReader" if "r" in mode else "BufferedWriter"
        over = f"io.{buffered}({raw}{size})"
        options = f"'utf-8', newline={self.one_of(NEWLINES)}"
        if self.rng.random() < 0.5:
            options += f", write_through={self.one_of(['True', 'False'])}"
        if self.rng.random() < 0.5:
            options += f", line_buffering={self.one_of(['True', 'False'])}"
        pair = f"io.BufferedRWPair({raw}, io.FileIO(target, 'w'){size})"
        return self.one_of([raw, over, over, f"io.TextIOWrapper({over}, {options})", pair])

    # What is done.

    def step(self, kind: str, target: str) -> str:
        on = self.one_of(["file"] * 12 + ["files[0]", "file.buffer", "file.raw", "kept[-1]"])
        if self.rng.random() < 0.06:
            return self.aside(kind, target)
        text = (kind == "text" and on == "file") or (kind == "layers" and self.rng.random() < 0.3)
        give = self.text if text else self.data
        match self.rng.randrange(24):
            case 0 | 1 | 2:
                return f"{on}.read({self.size() if self.rng.random() < 0.8 else ''})"
            case 3 | 4 | 5:
                return f"{on}.write({give()})"
            case 6 | 7:
                return f"{on}.readline({self.size() if self.rng.random() < 0.4 else ''})"
            case 8:
                return f"{on}.readlines({self.size() if self.rng.random() < 0.5 else ''})"
            case 9 | 10:
                return f"{on}.seek({self.place()})"
            case 11:
                whence = self.one_of(["1", "2", "0", "3", "-1", "None"])
                return f"{on}.seek({self.one_of(['0', '0', '-1', '-5', '3', '-100'])}, {whence})"
            case 12 | 13:
                return self.one_of([f"{on}.tell()", f"marks.append({on}.tell())"])
            case 14:
                return (
                    f"{on}.truncate({self.one_of(['', '', '0', '3', '50', '9000', '-1', 'None', self.one_of(WRONG)])})"
                )
            case 15 | 16:
                return f"{on}.flush()"
            case 17:
                return f"next({on})"
            case 18:
                return f"list({on})" if self.rng.random() < 0.3 else f"list(itertools.islice({on}, 2))"
            case 19:
                return self.one_of([f"into({on}.{name}, {self.buffer()})" for name in ("readinto", "readinto1")])
            case 20:
                names = ["peek", "read1", "readall", "detach", "fileno", "isatty", "readable", "writable", "seekable"]
                name = self.one_of(names)
                if name == "detach":
                    # Not the buffer of a text file: theirs looks past it whether the file is closed, if no subclass.
                    on = "file" if on == "file.buffer" else on
                    return f"kept.append({on}.detach())" if self.rng.random() < 0.3 else f"{on}.seekable()"
                if name == "fileno":
                    return f"{on}.fileno() > 2"
                return f"{on}.{name}({self.size() if name in ('peek', 'read1') and self.rng.random() < 0.8 else ''})"
            case 21:
                items = ", ".join(give() for _ in range(self.rng.randrange(4)))
                lines = self.one_of(
                    [f"[{items}]", f"[{items}]", f"iter([{items}])", "(1 / 0 for _ in 'x')", "5", "'ab'"]
                )
                return f"{on}.writelines({lines})"
            case 22:
                return self.one_of(
                    [f"{on}.{name}" for name in ("closed", "mode", "encoding", "errors", "newlines", "line_buffering")]
                    + [f"{on}.{name}" for name in ("write_through", "closefd", "no_such", "buffer", "raw")]
                    + [f"repr({on}).replace(repr({on}.name), 'NAME')", f"{on}.name == target"]
                )
            case _:
                if self.rng.random() < 0.4:
                    return f"{on}.close()"
                return self.one_of([f"{on}.__enter__()", f"{on}.readable()", f"{on}.seek(0)", f"{on}.__exit__()"])

    def aside(self, kind: str, target: str) -> str:
        """What happens to the file on another way, and what is rare."""
        if target == "path" and self.rng.random() < 0.5:
            other = self.one_of(["bytes", "text"]) if kind == "layers" else kind
            return self.one_of([f"files.append({self.opening(other, target)})", "os.truncate(target, 10)"])
        options = [
            f"encoding={self.one_of(ENCODINGS)}",
            f"errors={self.one_of(ERRORS)}",
            f"newline={self.one_of(NEWLINES)}",
        ]
        options += [
            f"{name}={self.one_of(['True', 'False', 'None', '5'])}" for name in ("line_buffering", "write_through")
        ]
        return self.one_of(
            [
                f"file.reconfigure({', '.join(self.rng.sample(options, self.rng.randrange(3)))})",
                "os.lseek(file.fileno(), 3, 0)",
                "os.write(file.fileno(), b'aside')",
                "os.read(file.fileno(), 4)",
                f"files.append(io.open(mode={AGAIN}, buffering=0, file=os.dup(file.fileno())))",
                "print('a', 5, file=file)",
                "file.__init__(files[0], 'r')",
                "copy.copy(file)",
                "pickle.dumps(file)",
                "file.__sizeof__() > 0",
                "file.readinto()",
                "file.write()",
                "file.read(1, 2)",
                "file.read(size=1)",
                "file.seek(0, whence=0)",
                "file.write(b=b'x')",
            ]
        )


class Names(dict[str, Any]):
    """The names of a program: `file` is the last of its files."""

    def __missing__(self, name: str) -> Any:
        if name == "file":
            return self["files"][-1]
        raise KeyError(name)


def run(program: Program, path: Path, module: Any) -> Trace:
    """Runs a program with the names of a module."""
    target, contents = program.begin["target"], program.begin["contents"]
    if WINDOWS:
        # What the last program has left open keeps the file there.
        gc.collect()
    path.unlink(missing_ok=True)
    path.write_bytes(contents)
    ends: list[int] = []
    match target:
        case "path":
            opened: Any = path
        case "missing":
            opened = path.parent / "missing"
        case "folder":
            opened = path.parent
        case "null" | "full":
            opened = f"/dev/{target}"
        case "number":
            opened = os.open(path, os.O_RDWR)
        case "drained" | "pipe" | "deaf" | "sink":
            # A pipe with something in it: it is drained to its end; or, in non-blocking mode, one of its ends is used;
            # or there is no reader.
            ends = list(os.pipe())
            os.write(ends[1], contents[:60_000])
            os.set_blocking(ends[0], target == "drained")
            os.set_blocking(ends[1], target == "drained")
            opened = ends.pop(1 if target in ("deaf", "sink") else 0)
            if target not in ("pipe", "sink"):
                os.close(ends.pop())
    names = Names(
        files=[], kept=[], marks=[], target=opened, io=module, open=module.open, into=into, os=os, array=array
    )
    for name in ("copy", "itertools", "pickle"):
        names[name] = __import__(name)

    def state() -> Any:
        try:
            number = names["file"].fileno()
            return os.lseek(number, 0, os.SEEK_CUR), os.fstat(number).st_size
        except Exception as error:
            return type(error).__name__, getattr(error, "errno", None)

    trace = Trace(KNOWN)
    for step in program.steps:
        trace.step(step, names, state)
    for number in range(len(names["kept"]) + len(names["files"])):
        trace.step(f"[*kept, *files][{number}].close()", names, lambda: None)
    for number in ends:
        trace.note("the pipe", drained(number))
    for number in (*ends, opened if isinstance(opened, int) else -1):
        try:
            os.close(number)
        except OSError as error:
            trace.note("closed", error.errno)
    trace.note("the file", path.stat().st_size, path.read_bytes()[:200_000])
    (path.parent / "missing").unlink(missing_ok=True)
    return trace


def drained(number: int) -> Any:
    try:
        return os.read(number, 100_000)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


ENDED = (b"", "", 0, [0, b""], [])
"""What a read brings at the end of a file."""

NOTHING = ("* 0", "* 1)[1:]", "b''", "bytearray(0)", "[0] * 0")
"""What makes a buffer of no bytes."""


def alike(step: str, theirs: Any, ours: Any) -> bool | None:
    """Whether they may differ so."""
    if WINDOWS and not failed(ours) and (theirs in ENDED or (failed(theirs) and theirs[0] == "StopIteration")):
        # Wine's C runtime, once at the end of a file, stays there though the file grows.
        return None
    if failed(theirs) and failed(ours):
        # Which arguments a method takes, each tells in words of its own version's.
        return all(came[0] == "TypeError" and "argument" in came[-1] for came in (theirs, ours))
    # To read or write nothing, io_uring asks nobody who might refuse it.
    return failed(theirs) and ours in (0, [0, b""]) and any(nothing in step for nothing in NOTHING)


# Of files that are dropped when their descriptor is closed already.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_random_programs(tmp_path: Path) -> None:
    path = tmp_path / "file"
    compare(
        400 if WINDOWS else 1500,
        lambda rng: Author(rng).program(),
        lambda program: run(program, path, std_io),
        lambda program: run(program, path, io),
        alike,
    )
