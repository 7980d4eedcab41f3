"""The types say what is there, and two checkers make of them what a user's program needs.

The second is pyright, as basedpyright packs it for PyPI: with its Node.js, so that it runs without a network once it is
installed (PyPI's `pyright` fetches its program from npm when it is first called). It is asked as pyright is, strictly.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from load import crowd

pytest.importorskip("mypy", reason="mypy, which checks the types, is not installed here")


TYPED = Path(__file__).parent / "typed"


def refused_by_mypy(program: Path) -> tuple[list[str], str]:
    """The numbers of the lines that mypy complains of, and all that it says."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", str(program)],
        capture_output=True,
        text=True,
        cwd=program.parent,
        timeout=100 * crowd(),
    )
    return [line.split(":")[1] for line in done.stdout.splitlines()], done.stdout + done.stderr


ALLOWED = r"""
# What is not in the sources that a checker reads, but is made when they run: a list of all names.
overlapped\.(_engine|_thread|io|select|socket|subprocess)\.__all__
# A stand-in defines again what it takes from the standard library by its star: a checker has it under two names.
overlapped\..*-redefinition
# Types within functions, and names that the checker itself makes up.
overlapped\._thread\.Unraisable@\d+
overlapped\..*<callable subtype of object>
# stubtest does not know a TypeVarTuple, an alias as text, a Literal with "|", who made a named tuple generic, and
# that an int with attributes is a base that goes with no other.
overlapped\._ties\.Flags
overlapped\..*\._?Ts
overlapped\.stackless\._hooks\.(Channel|Schedule)Callback
overlapped\._journal\.Choice
overlapped\._ends\.Waited\.__class_getitem__
# The standard library's as annotated there, and what stands in for it.
overlapped\.select\._poll
overlapped\.subprocess\._PollSelector\._selector_cls
# Of a Python that was built with Bluetooth.
overlapped\.socket\.(AF_BLUETOOTH|BDADDR_|BT|HCI_|L2CAP_|SOL_(BLUETOOTH|HCI|L2CAP|RFCOMM|SCO)).*
# It has a cache.
overlapped\.asyncio\._numeric\.look_up
# Windows's alone.
overlapped\._(winapi|channel_windows)
overlapped\.asyncio\._windows
"""
"""What stubtest finds and is no difference; by versions of Python it is more or less of it."""


def test_the_types_agree_with_the_package_as_it_runs(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text(ALLOWED)
    command = [sys.executable, "-m", "mypy.stubtest", "--concise", "overlapped"]
    done = subprocess.run(
        [*command, "--allowlist", str(allowed), "--ignore-unused-allowlist"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPY_CACHE_DIR": str(tmp_path)},
        timeout=100 * crowd(),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def refused_by_pyright(folder: Path) -> list[tuple[str, int]]:
    """Files and lines, from 1 on, of which pyright complains, strictly, in the programs in a folder."""
    pytest.importorskip("basedpyright", reason="basedpyright, pyright with the Node.js that it needs, is not installed")
    config = folder / "pyrightconfig.json"
    config.write_text(json.dumps({"typeCheckingMode": "strict", "include": ["."]}))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, "--project", str(config)], capture_output=True, text=True, cwd=folder, timeout=100 * crowd()
    )
    told = json.loads(done.stdout)
    assert told["summary"]["filesAnalyzed"] == len(list(folder.glob("*.py"))), done.stdout
    found = [(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in told["generalDiagnostics"]]
    for each in told["generalDiagnostics"]:
        print(each["file"], each["message"])
    return found


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Copies of the programs of users, which say every public name, in a folder of their own."""
    return Path(shutil.copytree(TYPED, tmp_path / "typed"))


def test_mypy_finds_nothing_in_programs_that_use_every_public_name(programs: Path) -> None:
    for program in programs.glob("*.py"):
        lines, told = refused_by_mypy(program)
        assert lines == [], told


def test_pyright_finds_nothing_in_programs_that_use_every_public_name(programs: Path) -> None:
    assert refused_by_pyright(programs) == []


def test_pyright_sees_through_the_types_of_the_package(programs: Path) -> None:
    wrong = programs / "wrong.py"
    wrong.write_text(
        "import overlapped\n"
        "from overlapped import socket\n"
        "text: str = overlapped.spawn(len, 'text').result()\n"
        "overlapped.Queue[str]().put(3)\n"
        "data: str = socket.create_connection(('host', 80)).recv(10)\n"
    )
    assert refused_by_pyright(programs) == [("wrong.py", 3), ("wrong.py", 4), ("wrong.py", 5)]


OUR_OWN = [
    "overlapped",
    "overlapped.asyncio",
    "overlapped.handoff",
    "overlapped.monkey",
    "overlapped.stackless",
    "overlapped.stackless.stacklessfile",
    "overlapped.stackless.stacklesssocket",
]
STAND_INS = [f"overlapped.{name}" for name in ("io", "select", "socket", "ssl", "subprocess")]
"""Modules that have the standard library's names, of which only some are ours."""

OF_THE_STANDARD_LIBRARY = {"EventLoop", "EventLoopPolicy"}
"""Classes whose methods are said as those of asyncio."""


def is_ours(thing: object) -> bool:
    return getattr(thing, "__module__", "").startswith("overlapped")


def public_names() -> set[str]:
    """Each name of the package's own, and each attribute of its classes."""
    names: set[str] = set()
    for module in map(importlib.import_module, OUR_OWN):
        names.update(module.__all__)
        for name in set(module.__all__) - OF_THE_STANDARD_LIBRARY:
            kind = getattr(module, name)
            if isinstance(kind, type) and is_ours(kind):
                names.update(vars(kind))
    for module in map(importlib.import_module, STAND_INS):
        names.update(name for name, thing in vars(module).items() if is_ours(thing))
    return {name for name in names if not name.startswith("_")}


ALIASES = {
    "acquire_lock": "Lock.acquire, by the name of before",
    "locked_lock": "Lock.locked, by the name of before",
    "release_lock": "Lock.release, by the name of before",
}


def test_every_public_name_is_in_a_program_that_is_checked() -> None:
    said: set[str] = set()
    for program in TYPED.glob("*.py"):
        for node in ast.walk(ast.parse(program.read_text())):
            match node:
                case ast.Attribute(attr=name) | ast.Name(id=name) | ast.alias(name=name):
                    said.add(name)
    assert public_names() - said - ALIASES.keys() == set()


def test_programs_that_use_the_package_are_checked(tmp_path: Path) -> None:
    """What a tasklet returns, a channel carries, a queue holds: the types go through."""
    program = tmp_path / "program.py"
    program.write_text(
        """
import overlapped
from overlapped import io, socket

def work(number: int, *, name: str) -> float:
    return number + len(name)

def total(channel: overlapped.Channel[int]) -> int:
    return sum(channel)

result: float = overlapped.spawn(work, 1, name="x").result()
wrong: str = overlapped.spawn(work, 1, name="x").result()
overlapped.spawn(work, "1", name="x")
overlapped.Queue[str]().put(3)
data: bytes = socket.create_connection(("host", 80)).recv(10)
text: str = io.open("name").read()
family: int = socket.AF_INET
with overlapped.timeout(2.5) as limit:
    expired: bool = limit.expired
def double(number: int) -> float:
    return 2.0 * number
with overlapped.Group() as group:
    member: overlapped.Tasklet[float] = group.spawn(double, 2, name="x")
    group.spawn(double, "2")
with overlapped.Pool(3) as pool:
    results: list[float] = list(pool.map(double, [1, 2]))
done: list[overlapped.Tasklet[float]] = overlapped.wait([member], timeout=1).done
soonest: float = overlapped.first_completed([member]).result()
saved: float = overlapped.shield(double, 2)
wrong = overlapped.shield(double, 2)
for tick in overlapped.every(1):
    missed: int = tick
first: tuple[int, object] = overlapped.first_of(overlapped.Queue[str](), overlapped.after(1), member, timeout=2)
overlapped.first_of("this")
words = overlapped.Channel[str]()
word: str = words.receive(timeout=1)
words.send("this", 1)
overlapped.first_of(overlapped.sending(words, "this"), overlapped.readable(socket.socket()), overlapped.writable(1))
overlapped.sending(words, 1)
for item in overlapped.Queue[str]():
    wrong = item
"""
    )
    lines, told = refused_by_mypy(program)
    assert lines == ["12", "13", "14", "24", "30", "34", "39"], told


def test_programs_for_stackless_are_checked(tmp_path: Path) -> None:
    """Each public name, as a typed program uses it."""
    program = tmp_path / "program.py"
    program.write_text(
        """
from overlapped import stackless
from overlapped.stackless import stacklesssocket

class Named(stackless.tasklet):
    pass

def told(before: stackless.tasklet | None, after: stackless.tasklet | None) -> None: ...
def acted(where: stackless.channel[int], who: stackless.tasklet, sending: bool, willblock: bool) -> None: ...

numbers: stackless.channel[int] = stackless.channel()
named: Named = Named(numbers.send)(1)
first: int = numbers.receive()
wrong: str = numbers.receive()
numbers.send("1")
waits: stackless.tasklet | None = numbers.queue
total: int = sum(numbers) + numbers.send_sequence([1, 2])
stackless.set_schedule_callback(told)
stackless.set_channel_callback(acted)
stackless.set_error_handler(lambda kind, value, traceback: None)
me: stackless.tasklet = stackless.schedule() or stackless.schedule_remove() or stackless.current or stackless.main
victim: stackless.tasklet | None = stackless.run(0.5, totaltimeout=True)
count: int = stackless.runcount + stackless.getruncount() + stackless.getcurrentid() + stackless.switch_trap()
threads: list[int] = stackless.threads
main, running, ready = stackless.get_thread_info()
with stackless.atomic():
    stackless.getmain().next.kill()
try:
    stackless.getcurrent().throw(stackless.TaskletExit, pending=True)
except SystemExit:
    stacklesssocket.install()
"""
    )
    lines, told = refused_by_mypy(program)
    assert lines == ["14", "15", "27"], told
