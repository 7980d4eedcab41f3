"""What stands in the place of the standard library's is pickled, copied and shown as that is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import unix_only
from load import crowd

THINGS = [
    "builtins.open", "io.open", "io.FileIO", "io.TextIOWrapper", "io.BufferedReader", "io.BufferedRandom", "time.sleep",
    "os.read", "os.fsync", "os.system", "os.waitpid", "select.select", "select.poll", "socket.socket",
    "socket.getaddrinfo", "socket.create_connection", "threading.Lock", "threading.RLock", "threading.local",
    "threading.get_ident", "queue.SimpleQueue", "queue.Queue", "signal.signal", "signal.getsignal",
]  # fmt: skip

SHOW = """
import builtins, copy, functools, inspect, io, mmap, os, pickle, queue, re, select, signal, socket, sys, threading, time
def outcome(action):
    try: return action()
    except Exception as error: return type(error).__name__
for name in sys.argv[1:]:
    module, _, name = name.partition(".")
    thing = getattr(sys.modules[module], name, None)
    in_c = {"posix": "os", "nt": "os", "_queue": "queue", "_io": "io"}
    at = outcome(lambda: in_c.get(thing.__module__, thing.__module__))
    print(module, name, at, outcome(lambda: pickle.loads(pickle.dumps(thing)) is thing),
          outcome(lambda: copy.deepcopy(thing) is thing))
import shutil
for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
    print(sorted(one.__name__ for one in able if getattr(os, one.__name__) is one))
print(shutil.rmtree.avoids_symlink_attacks)
with mmap.mmap(-1, 4096) as mapped: print(mapped)
for make in (threading.Lock, threading.RLock, threading.local):
    thing = make()
    print(re.sub("0x[0-9A-Fa-f]+", "", repr(thing)), outcome(lambda: copy.copy(thing) and 1),
          outcome(lambda: pickle.dumps(thing) and 1))
print(open, inspect.isroutine(open), inspect.signature(open), functools.wraps(open)(lambda: 1).__name__)
class Numbered(threading._CRLock):
    def __init__(self, a, *, b): super().__init__()
print(re.sub("0x[0-9A-Fa-f]+", "", repr(Numbered(1, b=2))))
class IsAnything:
    def __eq__(self, other): return True
class Kept(io.TextIOWrapper):
    def __getstate__(self): return self.buffer.getvalue()
    def __setstate__(self, state): self.__init__(io.BytesIO(state))
files = [open(os.devnull), open(os.devnull, "rb"), open(os.devnull, "rb", 0)]
if sys.version_info >= (3, 14):
    # Before, CPython fails in other ways where one of these could have worked.
    print(outcome(lambda: threading.local().__setattr__(IsAnything(), 2)))
    files.append(Kept(io.BytesIO(b"kept")))
for file in files:
    print([outcome(lambda: pickle.loads(pickle.dumps(file, protocol)).read()) for protocol in range(4)])
print(pickle.loads(pickle.dumps(Kept)) is Kept)
class HasThem: open, os_open, close = open, os.open, os.close
HasThem().open(os.devnull).close()
HasThem().close(HasThem().os_open(os.devnull, os.O_RDONLY))
"""

MANAGES = """
import multiprocessing, sys
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Manager() as manager:
        numbers = manager.list([1])
        numbers.append(2)
        print(list(numbers))
"""

POOLS = """
import multiprocessing, os, sys, time
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(pool.map(time.sleep, [0.01] * 4), pool.map(os.path.exists, [os.devnull]))
"""


def run(script: Path, *arguments: str, under: bool) -> str:
    command = [sys.executable, *(["-m", "overlapped"] if under else []), str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50 * crowd())
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_names_copies_and_pickles_are_those_of_the_standard_library(tmp_path: Path) -> None:
    script = tmp_path / "show.py"
    script.write_text(SHOW)
    assert run(script, *THINGS, under=True) == run(script, *THINGS, under=False)


@unix_only("what multiprocessing waits for there is not patched")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("program", [MANAGES, POOLS], ids=["manager", "pool"])
def test_multiprocessing_sends_what_was_patched_to_its_processes(program: str, method: str, tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(program)
    assert run(script, method, under=True) == run(script, method, under=False)
