"""Calls of a patched program on descriptors and files that wait: vectors, copies, FIFOs, locks, standard output."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from beside import Programs
from conftest import needs, unix_only
from load import crowd

pytestmark = unix_only("it has none of these calls")

HEAD = """
import errno, fcntl, mmap, os, shutil, socket, subprocess, sys, tempfile, threading, time
folder = tempfile.TemporaryDirectory(); path = os.path.join(folder.name, "it")
def begin(function, *args):
    thread = threading.Thread(target=function, args=args); thread.start(); return thread
def error_of(function, *args):
    try: return function(*args)
    except Exception as error: return type(error).__name__, getattr(error, "errno", None)
"""


programs = Programs(HEAD)
run, both = programs.run, programs.both


@needs("os.readv")
def test_a_read_into_several_buffers_waits_alone() -> None:
    assert both("""
a, b = os.pipe(); first, second = bytearray(3), bytearray(4)
t = begin(lambda: (time.sleep(0.02), os.write(b, b"abcde")))
print(os.readv(a, [first, second]), first, second); t.join()
print(error_of(os.readv, a, []), error_of(os.readv, a, [b"x"]), error_of(os.readv, a, 1))
print(error_of(os.readv, -1, [first]))
os.close(b); print(os.readv(a, [first]))
""").startswith("5 bytearray(b'abc') bytearray(b'de")


@needs("os.writev")
def test_a_write_of_several_buffers_waits_alone() -> None:
    assert both("""
a, b = os.pipe(); big = b"x" * 300_000; got = []
def read():
    while sum(map(len, got)) < 600_003: got.append(os.read(a, 1 << 16))
t = begin(read); print(os.writev(b, [big, b"abc", bytearray(big)])); t.join(); print(sum(map(len, got)))
print(error_of(os.writev, b, []), error_of(os.writev, b, ["x"]), error_of(os.writev, b, 1))
print(error_of(os.writev, -1, [b"x"]))
""").startswith("600003\n600003\n")


@needs("os.preadv")
def test_reads_and_writes_at_an_offset() -> None:
    assert both("""
other = begin(time.sleep, 0.1)
fd = os.open(path, os.O_RDWR | os.O_CREAT); buffer = bytearray(4)
print(os.pwrite(fd, b"hello", 2), os.pwritev(fd, [b"a", b"b"], 0), os.pread(fd, 9, 1))
print(os.preadv(fd, [buffer], 3), buffer)
print(os.pread(fd, 5, 100), error_of(os.pread, fd, 5, -1), error_of(os.pread, -1, 1, 0))
print(error_of(os.pwrite, fd, "x", 0))
other.join()
""").startswith("5 2 b'bhello'\n4 bytearray(b'ello')\n")


@needs("os.sendfile")
def test_a_copy_within_the_system_waits_alone() -> None:
    assert both("""
with open(path, "wb") as file: file.write(b"x" * 3_000_000)
a, b = socket.socketpair(); got = []
def read():
    while data := b.recv(1 << 16): got.append(len(data))
t = begin(read); fd = os.open(path, os.O_RDONLY); at = 0
while sent := os.sendfile(a.fileno(), fd, at, 3_000_000): at += sent
a.close(); t.join(); print(at, sum(got)); print(error_of(os.sendfile, 1, -1, 0, 1))
""").startswith("3000000 3000000\n")


@needs("os.mkfifo")
def test_who_opens_a_fifo_waits_alone_for_the_other_end() -> None:
    assert both("""
os.mkfifo(path)
def write():
    fd = os.open(path, os.O_WRONLY); os.write(fd, b"through"); os.close(fd)
t = begin(write); fd = os.open(path, os.O_RDONLY); print(os.read(fd, 100), os.get_inheritable(fd))
t.join(); os.close(fd)
t = begin(lambda: print(open(path).read()))
with open(path, "w") as file: file.write("again")
t.join(); print(type(error_of(os.open, path, os.O_WRONLY | os.O_NONBLOCK)), error_of(os.open, path + "x", os.O_RDONLY))
print(shutil.rmtree.avoids_symlink_attacks, os.open in os.supports_dir_fd, os.execve in os.supports_fd)
""").startswith("b'through' False\nagain\n")


LOCKS = {
    "flock": ("fcntl.flock(file, fcntl.LOCK_EX)", "fcntl.flock(file, fcntl.LOCK_UN)"),
    "lockf": ("fcntl.lockf(file, fcntl.LOCK_EX)", "fcntl.lockf(file, fcntl.LOCK_UN)"),
    "os.lockf": ("os.lockf(file.fileno(), os.F_LOCK, 0)", "os.lockf(file.fileno(), os.F_ULOCK, 0)"),
    "fcntl": ("fcntl.fcntl(file, fcntl.F_SETLKW, lock)", "fcntl.fcntl(file, fcntl.F_SETLKW, unlock)"),
}


@pytest.mark.parametrize("kind", LOCKS)
def test_who_waits_for_a_lock_of_a_file_lets_the_others_run(kind: str) -> None:
    take, release = LOCKS[kind]
    assert (
        both(f"""
import struct
lock, unlock = (struct.pack("hhqqi4x", kind, 0, 0, 0, 0) for kind in (fcntl.F_WRLCK, fcntl.F_UNLCK))
here, there = os.pipe(); done, end = os.pipe()
if not (child := os.fork()):
    file = open(path, "a+"); {take}; os.write(there, b"!"); os.close(end); os.read(done, 1); os._exit(0)
os.read(here, 1); go = threading.Event()
def tick():
    for number in range(3): time.sleep(0.01); print("others run")
    os.close(end)
t = begin(tick); file = open(path, "a+"); {take}; print("has it"); {release}; t.join(); os.waitpid(child, 0)
""")
        == "others run\nothers run\nothers run\nhas it\n"
    )


def test_threads_exclude_one_another_by_locks_of_a_file() -> None:
    assert both("""
inside = []
def work(number):
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX); inside.append(number); time.sleep(0.01); assert inside.pop() == number
threads = [begin(work, number) for number in range(5)]
for t in threads: t.join()
with open(path, "a") as one, open(path, "a") as other:
    fcntl.flock(one, fcntl.LOCK_EX)
    begin(lambda: print(error_of(fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB))).join()
    print(error_of(fcntl.flock, -1, fcntl.LOCK_EX), error_of(fcntl.flock, "x", fcntl.LOCK_EX), inside)
""").endswith("[]\n")


def test_a_map_of_a_file_is_flushed_beside_other_threads() -> None:
    assert both("""
other = begin(time.sleep, 0.05)
with open(path, "wb+") as file:
    file.write(bytes(8192)); file.flush()
    with mmap.mmap(file.fileno(), 0) as there:
        there[:5] = b"hello"; print(there.flush(), there.flush(0, 4096), error_of(there.flush, 1 << 40, 1))
        print(type(there), isinstance(there, mmap.mmap), there[:5], there)
    class Mine(mmap.mmap): pass
    print(Mine(file.fileno(), 0))
print(open(path, "rb").read(5)); other.join()
""").endswith("b'hello'\n")


@needs("os.posix_spawn")
def test_programs_that_are_spawned_run_beside_the_threads() -> None:
    assert (
        both("""
names = ("posix_spawn", "posix_spawnp"); ended = []
def start(name):
    pid = getattr(os, name)(sys.executable, [sys.executable, "-c", ends], os.environ, file_actions=stdin)
    ended.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
ends = "import os; os.read(0, 1)"
a, b = os.pipe(); stdin = [(os.POSIX_SPAWN_DUP2, a, 0)]; threads = [begin(start, name) for name in names]
time.sleep(0.02); os.write(b, b"!"); time.sleep(0.02); os.write(b, b"!")
for t in threads: t.join()
print(len(ended))
""")
        == "2\n"
    )


@pytest.mark.parametrize("stream, number", [("stdout", 1), ("stderr", 2)])
def test_what_is_printed_to_a_pipe_is_read_by_another_thread(stream: str, number: int) -> None:
    assert (
        both(f"""
stream = sys.{stream}
r, w = os.pipe(); saved = os.dup({number}); os.dup2(w, {number}); os.close(w); chunks = []
def collect():
    while data := os.read(r, 65536): chunks.append(data)
t = begin(collect)
for line in range(3000): print("line", line, "x" * 50, file=stream)
stream.flush(); os.dup2(saved, {number}); t.join(); print(b"".join(chunks).count(b"\\n"))
""")
        == "3000\n"
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_lines_that_threads_print_stay_whole(unbuffered: str) -> None:
    code = """
import threading
def work(number):
    for line in range(300): print("line", line, "of", number)
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for t in threads: t.start()
for t in threads: t.join()
"""
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "overlapped", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50 * crowd(), env=environment)
    whole = {f"line {line} of {number}" for line in range(300) for number in range(4)}
    assert (done.returncode, done.stderr) == (0, "")
    # A reader that is slow has one wait in the middle of a line.
    assert len(whole - set(done.stdout.splitlines())) < 20


def test_the_standard_streams_are_as_python_makes_them() -> None:
    both("""
for stream in (sys.stdout, sys.stderr):
    names = "name mode encoding errors newlines line_buffering write_through closed"
    print([getattr(stream, name) for name in names.split()])
    raw = getattr(stream.buffer, "raw", stream.buffer)
    print(type(stream).__name__, type(stream.buffer).__name__, type(raw).__name__, raw.name)
    print(isinstance(stream, type(open(os.devnull, "w"))), repr(stream))
print(sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__, sys.stdout.fileno(), sys.stdout.isatty())
sys.stdout.write("no newline"); sys.stdout.buffer.flush(); sys.stdout.reconfigure(encoding="utf-8")
if not (child := os.fork()): print("in the child"); sys.stdout.flush(); os._exit(0)
os.waitpid(child, 0); print("at the end", end="")
""")


@pytest.mark.parametrize("unbuffered", [[], ["-u"]])
def test_a_reader_of_standard_output_that_has_gone_is_told_of_as_by_python(unbuffered: list[str]) -> None:
    answers = []
    for options in ([], ["-m", "overlapped"]):
        command = [sys.executable, *unbuffered, *options, "-c", "print('x' * 10)"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stderr is not None
            process.stdout.close()
            errors = process.stderr.read().decode()
            answers.append((process.wait(), errors.replace("_io.", "")))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("at_exit", ["logging", "print"])
def test_what_is_said_at_the_end_of_the_program_is_said(at_exit: str) -> None:
    says = "logging.error('logged')" if at_exit == "logging" else "print('printed')"
    code = f"""
import atexit, builtins, logging
class Ends:
    def __del__(self): {says}
logging.basicConfig(filename=path, encoding="utf-8", format="%(message)s")
import shutil
print(path); folder._finalizer.detach(); ends = Ends(); atexit.register(lambda: {says})
"""
    logs = []
    for under in (True, False):
        path, *printed = run(code, under=under).splitlines()
        with open(path) as file:
            logs.append((printed, file.read()))
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
    assert logs[0] == logs[1]
    assert logs[0] in (([], "logged\nlogged\n"), (["printed", "printed"], ""))
