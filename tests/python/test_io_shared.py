"""Files and pipes of `overlapped.io`: only the caller blocks, and several tasklets use one file."""

from __future__ import annotations

import builtins
import errno
import importlib
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

import overlapped
from conftest import needs, unix_only
from overlapped import io, sleep, socket, spawn


def test_one_file_read_by_several_tasklets(tmp_path: Path) -> None:
    """Each byte goes to exactly one reader."""
    path = tmp_path / "file"
    records = [b"%07d\n" % number for number in range(20_000)]
    path.write_bytes(b"".join(records))
    for buffering in (-1, 64, 0):
        with io.open(path, "rb", buffering) as file:

            def read(file: Any = file) -> list[bytes]:
                got = []
                while record := file.read(8):
                    got.append(record)
                    if len(got) % 50 == 0:
                        sleep(0)
                return got

            readers = [spawn(read) for _ in range(5)]
            got = [record for reader in readers for record in reader.result()]
        assert sorted(got) == records


def test_one_file_written_by_several_tasklets(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for buffering in (-1, 100, 0):
        with io.open(path, "wb", buffering) as file:

            def write(letter: bytes, file: Any = file) -> None:
                for number in range(500):
                    file.write(letter * 40 + b"\n")
                    if number % 20 == 0:
                        file.flush()
                        sleep(0)

            writers = [spawn(write, bytes([65 + number])) for number in range(6)]
            for writer in writers:
                writer.result()
        lines = path.read_bytes().splitlines()
        assert sorted(lines) == sorted(bytes([65 + number]) * 40 for number in range(6) for _ in range(500))


def test_one_file_read_and_written_by_several_tasklets(tmp_path: Path) -> None:
    """No reentrant call is refused, and each record is at its place in the end."""
    path = tmp_path / "file"
    path.write_bytes(b"....\n" * 1000)
    with io.open(path, "r+b") as file:
        lock = overlapped.Semaphore(1)

        def write(first: int) -> None:
            for number in range(first, 1000, 4):
                with lock:
                    file.seek(5 * number)
                    file.write(b"%04d" % number)
                if number % 7 == 0:
                    sleep(0)

        def read() -> int:
            count = 0
            for number in range(0, 1000, 3):
                with lock:
                    file.seek(5 * number)
                    record = file.read(5)
                assert record in (b"....\n", b"%04d\n" % number)
                count += 1
            return count

        def disturb() -> None:
            for _ in range(100):
                file.flush()
                file.tell()
                sleep(0)

        tasklets = [spawn(write, first) for first in range(4)] + [spawn(read) for _ in range(3)] + [spawn(disturb)]
        for tasklet in tasklets:
            tasklet.result()
    assert path.read_bytes() == b"".join(b"%04d\n" % number for number in range(1000))


def test_a_pipe_read_and_written_by_several_tasklets() -> None:
    """All wait in the same buffers at once: their calls are whole, and none is refused."""
    reading, writing = os.pipe()
    with io.open(reading, "rb") as source, io.open(writing, "wb") as sink:

        def write(letter: bytes) -> None:
            for _ in range(300):
                sink.write(letter * 99 + b"\n")
                sink.flush()

        def read() -> list[bytes]:
            return [source.readline() for _ in range(300)]

        readers = [spawn(read) for _ in range(3)]
        sleep(0)
        writers = [spawn(write, letter) for letter in (b"a", b"b", b"c")]
        for writer in writers:
            writer.result()
        lines = [line for reader in readers for line in reader.result()]
    assert sorted(lines) == sorted(letter * 99 + b"\n" for letter in (b"a", b"b", b"c") for _ in range(300))


def test_text_written_by_several_tasklets(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with io.open(path, "w", encoding="utf-8") as file:

        def write(name: str) -> None:
            for number in range(300):
                print(f"{name} {number}", file=file)
                sleep(0)

        writers = [spawn(write, name) for name in ("\u00e4", "b", "c")]
        for writer in writers:
            writer.result()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == sorted(f"{name} {number}" for name in ("\u00e4", "b", "c") for number in range(300))


def test_text_lines_of_several_tasklets_stay_whole(tmp_path: Path) -> None:
    """More than a buffer holds: tasklets wait in the middle of a call, and others call meanwhile."""
    path = tmp_path / "file"
    lines = sorted(f"{number:03}" * 100 + "\n" for number in range(40) for _ in range(200))
    with io.open(path, "w", encoding="utf-8") as file:

        def write(number: int) -> None:
            for _ in range(200):
                file.write(f"{number:03}" * 100 + "\n")

        writers = [spawn(write, number) for number in range(40)]
        for writer in writers:
            writer.result()
    with io.open(path, encoding="utf-8") as file:
        readers = [spawn(lambda: [line for line in file]) for _ in range(10)]
        read = sorted(line for reader in readers for line in reader.result())
    assert sorted(path.read_text(encoding="utf-8").splitlines(keepends=True)) == lines
    assert read == lines


def test_lines_of_a_pair_of_streams_stay_whole() -> None:
    left, right = socket.socketpair()
    lines = sorted(b"x" * (97 * number % 200) + b"%d\n" % number for number in range(1000))
    with right, left, left.makefile("rwb") as shared:
        readers = [spawn(lambda: list(shared)) for _ in range(4)]
        sleep(0)
        text = b"".join(lines)
        for start in range(0, len(text), 333):
            right.sendall(text[start : start + 333])
            sleep(0)
        right.close()
        assert sorted(line for reader in readers for line in reader.result()) == lines


def test_text_is_read_and_written_at_the_same_time() -> None:
    """Whoever waits for a line of a conversation keeps nobody from writing."""
    left, right = socket.socketpair()
    with left, right, left.makefile("rw", newline="\n") as ours, right.makefile("rw", newline="\n") as theirs:
        waiting = spawn(ours.readline)
        sleep(0.005)
        ours.write("question\n")
        ours.flush()
        assert theirs.readline() == "question\n"
        theirs.write("answer\n")
        theirs.flush()
        assert waiting.result() == "answer\n"


def test_thirty_files_copied_at_once_while_a_ticker_runs(tmp_path: Path, ticker: Any) -> None:
    """The file scene: 10 big and 20 small files."""
    rng = random.Random(3)
    sizes = [3 << 20] * 10 + [3000] * 20
    for number, size in enumerate(sizes):
        (tmp_path / f"from{number}").write_bytes(rng.randbytes(size))

    def copy(number: int) -> None:
        with (
            io.open(tmp_path / f"from{number}", "rb") as source,
            io.open(tmp_path / f"to{number}", "wb") as target,
        ):
            while piece := source.read(64 << 10):
                target.write(piece)

    with ticker:
        while ticker.ticks < 3:
            copies = [spawn(copy, number) for number in range(len(sizes))]
            for tasklet in copies:
                tasklet.result()
    for number in range(len(sizes)):
        assert (tmp_path / f"to{number}").read_bytes() == (tmp_path / f"from{number}").read_bytes()


@needs("os.mkfifo")
def test_a_fifo_blocks_only_the_caller(tmp_path: Path, ticker: Any) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def read() -> str:
        with io.open(path, encoding="utf-8") as file:
            return file.read()

    with ticker:
        reader = spawn(read)
        ticker.wait(3)
        assert reader.alive
        with io.open(path, "w", encoding="utf-8") as file:
            file.write("first ")
            file.flush()
            ticker.wait(3)
            assert reader.alive
            file.write("second")
        assert reader.result() == "first second"


def test_many_pipes_wait_at_once(ticker: Any) -> None:
    """More than any pool has threads."""
    pipes = [os.pipe() for _ in range(200)]

    def read(descriptor: int) -> bytes:
        with io.open(descriptor, "rb") as file:
            return file.read()

    with ticker:
        readers = [spawn(read, reading) for reading, _ in pipes]
        ticker.wait(3)
        for number, (_, writing) in enumerate(pipes):
            with io.open(writing, "wb") as file:
                file.write(b"%d" % number)
        assert [reader.result() for reader in readers] == [b"%d" % number for number in range(200)]


def test_a_broken_pipe() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with io.open(writing, "wb", buffering=0) as file, pytest.raises(BrokenPipeError):
        file.write(b"x")


def test_a_close_wakes_who_reads() -> None:
    for buffering in (0,):
        reading, writing = os.pipe()
        file = io.open(reading, "rb", buffering)
        waiting = spawn(file.read, 10)
        sleep(0.005)
        file.close()
        with pytest.raises(OSError) as caught:
            waiting.result()
        assert caught.value.errno == errno.EBADF
        os.close(writing)


def test_a_cancelled_reader_loses_nothing() -> None:
    reading, writing = os.pipe()
    with io.open(reading, "rb") as source, builtins.open(writing, "wb", buffering=0) as sink:
        for number in range(20):
            waiting = spawn(source.read, 4)
            sleep(0.001)
            waiting.cancel()
            waiting.join()
            sink.write(b"%04d" % number)
            assert source.read(4) == b"%04d" % number


@unix_only("descriptors have no such mode")
def test_a_non_blocking_descriptor_behaves_as_always() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with io.open(reading, "rb", buffering=0) as source, builtins.open(writing, "wb", buffering=0) as sink:
        assert source.read(10) is None
        assert source.readinto(bytearray(10)) is None
        assert source.readall() is None
        sink.write(b"x")
        assert source.read(10) == b"x"


@needs("os.openpty")
def test_a_terminal_is_read_without_blocking_the_others(ticker: Any) -> None:
    master, slave = os.openpty()
    with (
        io.open(slave, "rb", buffering=0) as terminal,
        ticker,
    ):
        waiting = spawn(terminal.read, 100)
        ticker.wait(3)
        assert waiting.alive
        os.write(master, b"typed\n")
        assert waiting.result() == b"typed\n"
    os.close(master)


def test_files_in_several_threads(tmp_path: Path) -> None:
    def work(number: int) -> None:
        for turn in range(20):
            path = tmp_path / f"{number}-{turn}"
            with io.open(path, "wb") as file:
                file.write(b"%d" % number * 1000)
            with io.open(path, "rb") as file:
                assert file.read() == b"%d" % number * 1000
        done.append(number)

    done: list[int] = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    tasklets = [spawn(work, 10 + number) for number in range(4)]
    for tasklet in tasklets:
        tasklet.result()
    for thread in threads:
        thread.join()
    assert len(done) == 8


def test_who_reads_line_after_line_does_not_keep_a_file_from_others(tmp_path: Path) -> None:
    """Lines that are there need no wait, and whoever came while another had the file is served all the same."""
    path = tmp_path / "file"
    path.write_text(f"{'line' * 25}\n" * 20_000)
    with io.open(path) as file:
        readers = [spawn(lambda: sum(1 for _ in file)) for _ in range(4)]
        counts = [reader.result() for reader in readers]
    assert sum(counts) == 20_000 and all(counts)


@unix_only("its pipes are no files")
def test_two_that_write_word_after_word_do_not_take_turns_once_one_has_waited() -> None:
    reads, writes = os.pipe()
    begun = overlapped.Event()
    with io.open(reads, "rb") as reader, io.open(writes, "w") as file:

        def work(word: str) -> None:
            for number in range(1000):
                file.write(word)
                if not number:
                    begun.set()

        def fill() -> None:
            file.write("a" * 200_000)
            file.flush()
            work("a")

        first = spawn(fill)
        sleep(0)
        second = spawn(work, "b")
        sleep(0)
        assert not begun.is_set(), "the second one waits for the first"
        said = spawn(reader.read, 202_000)
        for one in (first, second):
            one.join()
        file.flush()
        written = said.result().decode()
    assert (written.count("a"), written.count("b")) == (201_000, 1000)
    assert written.count("ab") < 10


def test_one_that_leaves_its_wait_for_a_file_keeps_nobody_else_waiting() -> None:
    left, right = socket.socketpair()
    with left, right, left.makefile("r") as shared:
        readers = [spawn(shared.readline) for _ in range(4)]
        sleep(0)
        readers[1].cancel()
        sleep(0)
        right.sendall(b"a\nb\nc\n")
        assert [readers[number].result() for number in (0, 2, 3)] == ["a\n", "b\n", "c\n"]
        with pytest.raises(overlapped.TaskletExit):
            readers[1].result()


@pytest.mark.parametrize("opener", [builtins.open, io.open])
def test_tell_and_iteration(tmp_path: Path, opener: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n")
    with opener(path) as file:
        assert file.tell() == 0
        assert next(file) == "one\n"
        with pytest.raises(OSError, match="telling position disabled by next"):
            file.tell()
        with pytest.raises(OSError, match="telling position disabled by next"):
            file.seek(0, 1)
        assert list(file) == ["two\n"]
        assert file.tell() == 8
        for act in (file.flush, lambda: file.seek(0)):
            file.seek(0)
            assert next(file) == "one\n"
            act()
            file.tell()
    with pytest.raises(ValueError, match="closed file"):
        next(file)


@pytest.mark.parametrize("opener", [builtins.open, io.open])
def test_a_refused_tell_writes_nothing(tmp_path: Path, opener: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n")
    with opener(path, "r+") as file:
        assert next(file) == "one\n"
        file.write("three")
        with pytest.raises(OSError, match="telling position disabled by next"):
            file.tell()
        assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("module", ["io", "overlapped.io"])
def test_iteration_of_a_subclass_calls_its_own_readline(module: str) -> None:
    base = importlib.import_module(module).TextIOWrapper

    class Shouting(base):  # type: ignore[misc, valid-type]
        def readline(self, size: int = -1) -> str:
            return str(super().readline(size).upper())

    assert list(Shouting(io.BytesIO(b"a\nb\n"), "ascii")) == ["A\n", "B\n"]


def test_a_file_without_its_locks_is_used_as_the_standard_librarys() -> None:
    file = io.TextIOWrapper(io.BytesIO(b"a\nb\n"), "ascii")
    file._whole = "gone"
    assert [next(file), file.readline()] == ["a\n", "b\n"]
    del file._whole
    assert file.read() == ""
    with pytest.raises(ValueError, match="uninitialized"):
        io.TextIOWrapper.__new__(io.TextIOWrapper).readline()
    with pytest.raises(TypeError):
        file.readline(1, 2)
    with pytest.raises(TypeError):
        file.write()
