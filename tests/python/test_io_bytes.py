"""Binary files of `overlapped.io`, byte for byte like the built-in ones: positions, truncation, appending."""

from __future__ import annotations

import builtins
import errno
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import needs
from like_builtin import both, outcome
from overlapped import io


def test_random_operations_like_the_built_in(tmp_path: Path) -> None:
    """Random reads, writes, seeks of all three kinds, truncations and flushes, at every buffering."""
    rng = random.Random(11)
    path = tmp_path / "file"
    for round_number in range(120):
        mode = ["r+b", "w+b", "a+b", "rb", "wb", "ab"][round_number % 6]
        buffering = rng.choice([0, -1, 3, 64, 5000])
        start = bytes(rng.choices(b"ab\n\0", k=rng.randrange(300)))
        seed = rng.random()

        def use(
            opener: Any, mode: str = mode, buffering: int = buffering, start: bytes = start, seed: float = seed
        ) -> Any:
            rng = random.Random(seed)
            path.write_bytes(start)
            seen: list[Any] = []
            with opener(path, mode, buffering) as file:
                for _ in range(60):
                    seen.append(outcome(lambda: operate(file, rng)))
                seen.append(file.tell())
            return seen, path.read_bytes()

        both(use)


def operate(file: Any, rng: random.Random) -> Any:
    size = rng.randrange(1, 120)
    which = rng.randrange(14)
    if which == 0:
        return file.read(size)
    if which == 1:
        return file.write(rng.randbytes(size))
    if which == 2:
        return file.seek(rng.randrange(400))
    if which == 3:
        return file.seek(rng.randrange(-50, 50), 1)
    if which == 4:
        return file.seek(rng.randrange(-50, 50), 2)
    if which == 5:
        return file.truncate(rng.choice([None, size, size * 3]))
    if which == 6:
        return file.tell()
    if which == 7:
        return file.flush()
    if which == 8:
        buffer = bytearray(size)
        return file.readinto(buffer), bytes(buffer)
    if which == 9:
        return file.readline(size)
    if which == 10:
        return file.writelines([b"one\n", b"two\n"])
    if which == 11:
        return file.readline()
    if which == 12:
        return next(file, None)
    return file.read() if rng.randrange(4) == 0 else file.read(0)


def test_peek_read1_readinto1(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 100)

    def use(opener: Any) -> Any:
        with opener(path, "rb", 100) as file:
            buffer = bytearray(30)
            return (
                file.peek(3)[:100],
                file.read1(10),
                file.readinto1(buffer),
                bytes(buffer),
                file.read1(),
                file.tell(),
                file.readlines(50),
            )

    both(use)


def test_readinto_of_buffers_of_all_kinds(tmp_path: Path) -> None:
    import array

    path = tmp_path / "file"
    path.write_bytes(b"0123456789abcdef")
    for buffering in (0, -1):

        def use(opener: Any, buffering: int = buffering) -> Any:
            with opener(path, "rb", buffering) as file:
                numbers, plain = array.array("I", [0]), bytearray(8)
                counts = [file.readinto(numbers), file.readinto(memoryview(plain)[2:5]), file.readinto(bytearray())]
                wrong = [outcome(lambda: file.readinto(b"read-only")), outcome(lambda: file.readinto("text"))]
                return numbers.tobytes(), bytes(plain), counts, wrong, file.read()

        both(use)


def test_write_of_buffers_of_all_kinds(tmp_path: Path) -> None:
    import array

    path = tmp_path / "file"
    for buffering in (0, -1):

        def use(opener: Any, buffering: int = buffering) -> Any:
            with opener(path, "wb", buffering) as file:
                counts = [file.write(b"bytes"), file.write(bytearray(b"array")), file.write(memoryview(b"view"))]
                counts += [file.write(array.array("H", [1, 2])), file.write(b"")]
                wrong = [outcome(lambda: file.write("text")), outcome(lambda: file.write(3))]
            return counts, wrong, path.read_bytes()

        both(use)


def test_append_goes_to_the_end_whatever_the_position(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"start ")
    with io.open(path, "ab", buffering=0) as one, io.open(path, "ab", buffering=0) as other:
        for number in range(10):
            one.seek(0)
            one.write(b"%d" % number)
            other.write(b"-")
    assert path.read_bytes() == b"start 0-1-2-3-4-5-6-7-8-9-"


def test_closed_files_refuse(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")

    def use(opener: Any) -> Any:
        seen = []
        for mode, buffering in (("r+b", 0), ("r+b", -1), ("r+", -1)):
            file = opener(path, mode, buffering)
            file.close()
            file.close()
            seen.append(file.closed)
            seen += [
                outcome(action)
                for action in (file.read, lambda file=file: file.write(b"x"), file.tell, file.fileno, file.flush)
            ]
            seen += [outcome(lambda file=file: file.readinto(bytearray(1))) if "b" in mode else None]
            seen += [outcome(file.truncate), outcome(file.__enter__)]
        return seen

    both(use)


def test_big_file(tmp_path: Path) -> None:
    """Past 4 GiB: a sparse file."""
    path = tmp_path / "big"
    far = (5 << 30) + 3
    with io.open(path, "w+b") as file:
        file.seek(far)
        file.write(b"far away")
        assert file.tell() == far + 8
        file.seek(far - 2)
        assert file.read() == b"\0\0far away"
        assert file.seek(-4, 2) == far + 4
        assert file.read() == b"away"
        file.truncate(far + 3)
        assert file.seek(0, 2) == far + 3
    assert path.stat().st_size == far + 3


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3_000_001])
def test_whole_files_of_all_sizes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    data = random.Random(size).randbytes(size)
    for buffering in (0, -1):
        with io.open(path, "wb", buffering) as file:
            assert file.write(data) == size
        with io.open(path, "rb", buffering) as file:
            assert file.read() == data
            assert file.read() == b""
        with io.open(path, "rb", buffering) as file:
            assert file.read(size + 10) == data
    assert path.read_bytes() == data


def test_reading_what_grows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with io.open(path, "wb", buffering=0) as writer, io.open(path, "rb") as reader:
        for number in range(20):
            writer.write(b"entry %d\n" % number)
            assert reader.read() == b"entry %d\n" % number
            assert reader.read() == b""


def test_iteration(tmp_path: Path) -> None:
    path = tmp_path / "file"
    lines = [b"line %d\n" % number for number in range(5000)]
    path.write_bytes(b"".join(lines))
    for buffering in (-1, 0, 10):
        with io.open(path, "rb", buffering) as file:
            assert list(file) == lines
    with io.open(path, encoding="ascii") as file:
        assert [line.encode() for line in file] == lines


def close(file: Any) -> None:
    file.close()


def close_the_raw_file(file: Any) -> None:
    file.raw.close()


def detach(file: Any) -> None:
    file.kept = file.detach()


@pytest.mark.parametrize("how", [close, close_the_raw_file, detach])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_at_hand_of_a_buffer_that_is_closed(tmp_path: Path, how: Any) -> None:
    path = tmp_path / "file"

    def use(opener: Any) -> Any:
        path.write_bytes(b"one\ntwo\nthree\n")
        reader, writer = opener(path, "rb"), opener(tmp_path / "other", "wb")
        assert reader.readline() == b"one\n" and writer.write(b"x") == 1
        how(reader)
        how(writer)
        return [
            outcome(action)
            for action in (reader.readline, lambda: next(reader), lambda: reader.read(1), lambda: writer.write(b"x"))
        ]

    both(use)


def test_lines_of_bytes_and_writes_of_every_width_like_the_built_in(tmp_path: Path) -> None:
    """Over the ends of the buffer, and of writes that just fit into it."""
    path, copy = tmp_path / "file", tmp_path / "copy"
    for size in (2, 7, 64, 8192):
        lines = [
            b"x" * width + b"\n" for width in (0, 1, size - 2, size - 1, size, size + 1, 3, 0, 2 * size) if width >= 0
        ]

        def use(opener: Any, size: int = size, lines: list[bytes] = lines) -> Any:
            path.write_bytes(b"".join(lines) + b"end")
            with opener(path, "rb", size) as source, opener(copy, "wb", size) as target:
                told = [(target.write(line), target.tell()) for line in source]
            assert copy.read_bytes() == path.read_bytes()
            with opener(copy, "rb", size) as source:
                return told, [source.read(size // 2) for _ in range(30)], source.tell()

        both(use)


def test_proc_files_whose_size_is_not_known() -> None:
    with io.open("/proc/self/status", "rb") as file, builtins.open("/proc/self/status", "rb") as plain:
        assert file.read().split()[:2] == plain.read().split()[:2]
    with io.open("/proc/cpuinfo", encoding="utf-8") as file:
        assert file.read() != ""


def test_dev_full(tmp_path: Path) -> None:
    with io.open("/dev/full", "wb", buffering=0) as file, pytest.raises(OSError) as caught:
        file.write(b"x")
    assert caught.value.errno == errno.ENOSPC
    file = io.open("/dev/full", "w", encoding="ascii")
    file.write("x")
    with pytest.raises(OSError) as caught:
        file.flush()
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError):
        file.close()
    assert file.closed


def test_dev_zero_and_null() -> None:
    with io.open("/dev/zero", "rb") as file:
        assert file.read(100_000) == bytes(100_000)
    with io.open(os.devnull, "wb") as file:
        assert file.write(bytes(100_000)) == 100_000
    with io.open(os.devnull, "rb") as file:
        assert file.read() == b""


def test_a_size_is_whatever_is_an_index(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")

    class Index:
        def __init__(self, number: Any) -> None:
            self.number = number

        def __index__(self) -> Any:
            return self.number

    for size in (Index(3), Index(-1), Index("no"), True, 0, -5, 2.5, "3", -(2**63) - 1, 2**63, None, b"", Index(2**70)):

        def read(opener: Any, size: Any = size) -> Any:
            with opener(path, "rb", 0) as file:
                return outcome(lambda: file.read(size)), outcome(lambda: file.read(size, size)), file.tell()

        both(read)


def test_what_a_file_was_not_opened_for_is_refused_whatever_its_descriptor_can(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def use(opener: Any, mode: str) -> Any:
        path.write_bytes(b"abcdef")
        descriptor = os.open(path, os.O_RDWR)
        with opener(descriptor, mode, 0) as file:
            actions = [file.read, lambda: file.read(2), file.readall, lambda: file.readinto(bytearray(2))]
            return [outcome(action) for action in [*actions, lambda: file.write(b"x")]]

    both(lambda opener: use(opener, "rb"))
    both(lambda opener: use(opener, "wb"))


@needs("resource.RLIMIT_AS")
def test_memory_that_is_not_there_is_a_memory_error(tmp_path: Path, run_python: Any) -> None:
    program = """
import os, resource, sys
import overlapped
from overlapped import io, monkey, socket
monkey.patch_os()

path, limit = sys.argv[1], 1 << 32
with io.open(path, "wb") as file:
    file.truncate(limit << 2)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
reader, writer = os.pipe()
os.write(writer, b"x")
one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
other.send(b"x")
file = io.open(path, "rb", 0)
buffered = io.open(path, "rb")
huge = limit << 1
for read in (
    file.read,
    file.readall,
    lambda: file.read(huge),
    lambda: file.read(sys.maxsize),
    buffered.read,
    lambda: buffered.read(huge),
    lambda: os.read(reader, huge),
    lambda: os.read(reader, 2**40),
    lambda: one.recv(huge),
    lambda: one.recvfrom(huge),
    lambda: one.recvmsg(huge),
):
    try:
        got = read()
    except (MemoryError, OverflowError):
        pass
    else:
        sys.exit(f"{len(got)} bytes")
assert os.read(reader, 10) == b"x"
assert one.recv(10) == b"x"
assert file.read(3) == bytes(3)
print("alive")
"""
    done = run_python(program, str(tmp_path / "file"))
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has touched is told in /proc")
def test_a_large_read_of_a_small_file_touches_as_much_memory_as_it_brings(tmp_path: Path, run_python: Any) -> None:
    program = """
import os, sys
from overlapped import io, monkey
monkey.patch_os()

path = sys.argv[1]
with io.open(path, "wb") as file:
    file.write(b"abcdef")
with io.open(path, "rb", 0) as file:
    assert file.read(1_000_000_000) == b"abcdef"
    file.seek(0)
    assert os.read(file.fileno(), 1_000_000_000) == b"abcdef"
# Not getrusage(2)'s number: it goes on from that of the process that has started this one.
with io.open("/proc/self/status") as status:
    print(next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:")))
"""
    done = run_python(program, str(tmp_path / "file"))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300
