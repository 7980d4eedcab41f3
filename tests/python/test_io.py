"""`overlapped.io.open` is the built-in `open`: compared with it in every mode, byte for byte, character for character.

What only ours does: a read or write blocks the calling tasklet alone, and several tasklets use one file.
"""

from __future__ import annotations

import builtins
import errno
import gc
import io as std_io
import os
import pickle
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import overlapped
from overlapped import io, sleep, spawn

MODES = [prefix + kind + plus for prefix in ("r", "w", "a", "x") for kind in ("", "b", "t") for plus in ("", "+")]
OPENERS = [builtins.open, io.open]


def outcome(action: Callable[[], Any]) -> Any:
    """What an action returns, or the kind, number and words of its error."""
    try:
        return action()
    except (OSError, ValueError, TypeError, LookupError) as error:
        number = error.errno if isinstance(error, OSError) else None
        name = error.filename if isinstance(error, OSError) else None
        return type(error), number, name, str(error)


def both(action: Callable[[Any], Any]) -> Any:
    """What ours does, after a look that the built-in does the same."""
    expected, got = (outcome(lambda opener=opener: action(opener)) for opener in OPENERS)
    assert got == expected
    return got


# Opening.


@pytest.mark.parametrize("exists", [True, False], ids=["there", "not there"])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode(tmp_path: Path, mode: str, exists: bool) -> None:
    path = tmp_path / "file"

    def use(opener: Any) -> Any:
        path.unlink(missing_ok=True)
        if exists:
            path.write_bytes(b"0123456789")
        encoding = None if "b" in mode else "ascii"
        new: Any = b"new" if "b" in mode else "new"
        with opener(path, mode, encoding=encoding) as file:
            seen = [file.mode, file.name == path, file.readable(), file.writable(), file.seekable(), file.tell()]
            seen += [outcome(lambda: file.read(4)), outcome(file.tell), outcome(lambda: file.write(new))]
            seen += [outcome(file.flush), outcome(lambda: file.seek(0)), outcome(file.read)]
        return seen, path.read_bytes()

    both(use)


@pytest.mark.filterwarnings("ignore:line buffering:RuntimeWarning")
@pytest.mark.parametrize("buffering", [-1, 0, 1, 2, 7, 100_000])
@pytest.mark.parametrize("mode", ["rb", "wb", "r+b", "ab", "r", "w"])
def test_every_buffering(tmp_path: Path, mode: str, buffering: int) -> None:
    path = tmp_path / "file"

    def use(opener: Any) -> Any:
        path.write_bytes(b"0123456789\n" * 20)
        with opener(path, mode, buffering) as file:
            layers = [type(file).__name__, getattr(file, "line_buffering", None)]
            new: Any = b"line\npart" if "b" in mode else "line\npart"
            result = [outcome(lambda: file.read(5)), outcome(lambda: file.write(new))]
            return layers, result, path.read_bytes()

    both(use)


def test_arguments_that_are_wrong(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    for arguments, keywords in [
        (("rw",), {}),
        (("",), {}),
        (("rr",), {}),
        (("q",), {}),
        (("rbt",), {}),
        (("b",), {}),
        (("+",), {}),
        (("U",), {}),
        (("rb",), {"encoding": "utf-8"}),
        (("rb",), {"errors": "strict"}),
        (("rb",), {"newline": "\n"}),
        (("r",), {"newline": "x"}),
        (("r",), {"newline": b"\n"}),
        (("r", 0), {}),
        (("rb", -5), {}),
        (("rb", "1"), {}),
        ((3,), {}),
        (("r",), {"encoding": "no-such-encoding"}),
        (("r",), {"errors": "no-such-handler", "encoding": "utf-8"}),
        (("r",), {"closefd": False}),
        (("r",), {"unknown": 1}),
    ]:
        if (arguments, keywords) == (("r",), {"unknown": 1}):
            for opener in OPENERS:
                with pytest.raises(TypeError):
                    opener(path, *arguments, **keywords)
            continue

        # The words are those of `_pyio`, which has the same rules.
        results = []
        for opener in OPENERS:
            try:
                opener(path, *arguments, **keywords).close()
                results.append(None)
            except (ValueError, TypeError, LookupError) as error:
                results.append(type(error))
        assert results[0] is results[1], (arguments, keywords)
    for wrong in (None, 1.5, [], -1, True and object()):
        for opener in OPENERS:
            with pytest.raises((TypeError, ValueError, OSError)):
                opener(wrong)


def test_errors_have_the_built_in_ones_numbers_and_names(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.write_bytes(b"x")
    locked = tmp_path / "locked"
    locked.write_bytes(b"x")
    locked.chmod(0)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for name, mode in [
        (tmp_path / "missing", "r"),
        (tmp_path / "missing", "r+b"),
        (tmp_path / "missing" / "deeper", "w"),
        (folder, "r"),
        (folder, "w"),
        (folder, "rb"),
        (file, "x"),
        (file / "below", "r"),
        (loop, "r"),
        (locked, "r"),
        ("x" * 300, "w"),
        ("nul\0byte", "r"),
        ("", "r"),
        (str(tmp_path / "missing"), "r"),
        (os.fsencode(tmp_path / "missing"), "rb"),
        (bytes(tmp_path / "missing" / "m\u00f6re"), "wb"),
        (9999, "rb"),
        (-1, "rb"),
    ]:

        def use(opener: Any, name: Any = name, mode: str = mode) -> str:
            opener(name, mode).close()
            return "opened"

        both(use)


def test_names_of_all_kinds(tmp_path: Path) -> None:
    path = tmp_path / "n\u00e4me"
    path.write_bytes(b"contents")

    class Named:
        def __fspath__(self) -> str:
            return str(path)

    named = Named()
    for name in (path, str(path), os.fsencode(path), named):

        def use(opener: Any, name: Any = name) -> Any:
            with opener(name, "rb") as file:
                return file.name, file.raw.name, file.read()

        both(use)


def test_permissions_of_a_new_file_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with io.open(tmp_path / "file", "w"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_descriptors_are_not_inherited(tmp_path: Path) -> None:
    with io.open(tmp_path / "file", "w") as file:
        assert not os.get_inheritable(file.fileno())


def test_opener(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"found")
    calls = []

    def opener(name: Any, flags: int) -> int:
        calls.append((name, flags))
        return os.open(path, flags)

    with io.open("another name", "rb", opener=opener) as file:
        assert file.read() == b"found"
        assert file.name == "another name"
    ((name, flags),) = calls
    assert name == "another name"
    assert flags & os.O_ACCMODE == os.O_RDONLY
    with pytest.raises(TypeError):
        io.open("name", "rb", opener=lambda name, flags: "no descriptor")
    with pytest.raises(ValueError, match="opener returned -1"):
        io.open("name", "rb", opener=lambda name, flags: -1)


def test_by_descriptor_and_closefd(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    descriptor = os.open(path, os.O_RDWR)
    with io.open(descriptor, "r+b", closefd=False) as file:
        assert file.name == descriptor
        assert file.fileno() == descriptor
        file.seek(5)
        file.write(b"X")
    assert os.fstat(descriptor).st_size == 10
    with io.open(descriptor, "rb") as file:
        assert file.tell() == 6
        assert file.read() == b"6789"
    with pytest.raises(OSError) as caught:
        os.fstat(descriptor)
    assert caught.value.errno == errno.EBADF


def test_types_are_those_of_the_standard_library(tmp_path: Path) -> None:
    for mode, buffering, kind in [
        ("wb", 0, std_io.FileIO),
        ("wb", -1, std_io.BufferedWriter),
        ("rb", -1, std_io.BufferedReader),
        ("r+b", -1, std_io.BufferedRandom),
        ("w", -1, std_io.TextIOWrapper),
    ]:
        with io.open(tmp_path / "file", mode, buffering) as file:
            assert isinstance(file, kind)
            assert type(file).__name__ == kind.__name__
            assert isinstance(file, io.IOBase)


def test_module_has_every_name_of_the_original() -> None:
    assert [name for name in std_io.__all__ if not hasattr(io, name)] == []
    assert io.StringIO is std_io.StringIO
    assert io.SEEK_END == 2


def test_open_is_a_function_that_is_no_method() -> None:
    class Holder:
        opener = io.open

    with Holder().opener(os.devnull) as file:
        assert file.read() == ""


def test_repr_and_pickle(tmp_path: Path) -> None:
    for mode, buffering in (("wb", 0), ("wb", -1), ("w", -1)):
        with io.open(tmp_path / "file", mode, buffering) as file:
            assert "name=" in repr(file)
            with pytest.raises(TypeError, match="pickle"):
                pickle.dumps(file)


# Text: universal newlines, positions, encodings.


def random_text(rng: random.Random) -> str:
    pieces = [
        "\n",
        "\r",
        "\r\n",
        "a",
        "word ",
        "\u00fcml\u00e4ut",
        "\U0001f40d",
        "\u2028",
        "\x85",
        "\x0b",
        "\x1c",
        "x" * 30,
    ]
    return "".join(rng.choice(pieces) for _ in range(rng.randrange(200)))


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
def test_newlines_like_the_built_in(tmp_path: Path, newline: str | None) -> None:
    """Written, and read in lines, in pieces and whole: the same bytes, the same characters, the same `newlines`."""
    rng = random.Random(2026)
    path = tmp_path / "file"
    for _ in range(150):
        text, seed = random_text(rng), rng.random()
        encoding = rng.choice(["utf-8", "utf-16", "utf-8-sig", "cp1252"])

        def write(opener: Any, text: str = text, encoding: str = encoding) -> bytes:
            with opener(path, "w", encoding=encoding, errors="replace", newline=newline) as file:
                file.write(text)
            return path.read_bytes()

        both(write)
        raw = text.encode(encoding, "replace")
        path.write_bytes(raw)

        def read(opener: Any, encoding: str = encoding, seed: float = seed) -> Any:
            rng = random.Random(seed)
            seen: list[Any] = []
            with opener(path, encoding=encoding, newline=newline) as file:
                while True:
                    how = rng.randrange(3)
                    got = (
                        file.readline() if how == 0 else file.read(rng.randrange(1, 40)) if how == 1 else next(file, "")
                    )
                    seen.append((got, file.newlines))
                    if not got:
                        break
            with opener(path, encoding=encoding, newline=newline) as file:
                seen.append((file.read(), file.newlines, list(file)))
            with opener(path, encoding=encoding, newline=newline) as file:
                seen.append((file.readlines(), file.newlines))
            return seen

        both(read)


def test_the_newlines_attribute(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\r\nthree\rfour")
    with io.open(path, encoding="ascii") as file:
        assert file.newlines is None
        assert file.readline() == "one\n"
        assert file.read() == "two\nthree\nfour"
        assert file.newlines == ("\r", "\n", "\r\n")


def test_text_tell_and_seek_like_the_built_in(tmp_path: Path) -> None:
    """Cookies of `tell`, in the middle of lines and of characters: going back to one reads on as the first time."""
    rng = random.Random(7)
    path = tmp_path / "file"
    for _ in range(60):
        encoding = rng.choice(["utf-8", "utf-16", "utf-16-le", "utf-8-sig", "latin-1"])
        newline = rng.choice([None, "", "\n", "\r\n"])
        path.write_bytes(random_text(rng).encode(encoding, "replace"))
        seed = rng.random()

        def use(opener: Any, encoding: str = encoding, newline: Any = newline, seed: float = seed) -> Any:
            rng = random.Random(seed)
            seen: list[Any] = []
            with opener(path, encoding=encoding, newline=newline) as file:
                cookies = [file.tell()]
                for _ in range(30):
                    how = rng.randrange(4)
                    if how == 0:
                        seen.append(file.seek(rng.choice(cookies)))
                    elif how == 1:
                        seen.append(file.readline())
                    elif how == 2:
                        seen.append(file.read(rng.randrange(20)))
                    else:
                        cookies.append(file.tell())
                seen.append(cookies)
                seen += [file.seek(0, 2), file.read(), file.seek(0), file.read()]
            return seen

        both(use)


def test_text_seeks_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("line\nline\n")

    def use(opener: Any) -> Any:
        with opener(path, "r+", encoding="utf-8") as file:
            next(file)
            return [
                outcome(file.tell),
                outcome(lambda: file.seek(1, 1)),
                outcome(lambda: file.seek(-1, 2)),
                outcome(lambda: file.seek(-1)),
                outcome(lambda: file.seek(0, 3)),
                outcome(lambda: file.seek(0, 1)),
                outcome(lambda: file.seek(0, 2)),
                outcome(file.tell),
            ]

    both(use)


def test_encoding_errors_like_the_built_in(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"fine \xff\xfe broken \xc3")
    for errors in ("strict", "ignore", "replace", "backslashreplace", "surrogateescape"):

        def use(opener: Any, errors: str = errors) -> Any:
            with opener(path, encoding="utf-8", errors=errors) as file:
                return outcome(file.read)

        both(use)


def test_reconfigure_and_detach(tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = io.open(path, "w", encoding="utf-8")
    file.write("eins\n")
    file.reconfigure(encoding="latin-1", newline="\r\n")
    file.write("zw\u00f6lf\n")
    with file.detach() as buffer:
        buffer.write(b"raw")
    assert path.read_bytes() == b"eins\nzw\xf6lf\r\nraw"


# Bytes: positions, truncation, appending.


def test_random_operations_like_the_built_in(tmp_path: Path) -> None:
    """Random reads, writes, seeks of all three kinds, truncations and flushes, at every buffering."""
    rng = random.Random(11)
    path = tmp_path / "file"
    for round_number in range(120):
        mode = ["r+b", "w+b", "a+b", "rb", "wb", "ab"][round_number % 6]
        buffering = rng.choice([0, -1, 3, 64, 5000])
        start = rng.randbytes(rng.randrange(300))
        seed = rng.random()

        def use(
            opener: Any, mode: str = mode, buffering: int = buffering, start: bytes = start, seed: float = seed
        ) -> Any:
            rng = random.Random(seed)
            path.write_bytes(start)
            seen: list[Any] = []
            with opener(path, mode, buffering) as file:
                for _ in range(40):
                    seen.append(outcome(lambda: operate(file, rng)))
                seen.append(file.tell())
            return seen, path.read_bytes()

        both(use)


def operate(file: Any, rng: random.Random) -> Any:
    size = rng.randrange(1, 120)
    which = rng.randrange(12)
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


# Several tasklets.


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
        copies = [spawn(copy, number) for number in range(len(sizes))]
        for tasklet in copies:
            tasklet.result()
    for number in range(len(sizes)):
        assert (tmp_path / f"to{number}").read_bytes() == (tmp_path / f"from{number}").read_bytes()
    assert ticker.ticks >= 3


def test_a_fifo_blocks_only_the_caller(tmp_path: Path, ticker: Any) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def read() -> str:
        with io.open(path, encoding="utf-8") as file:
            return file.read()

    with ticker:
        reader = spawn(read)
        sleep(0.02)
        assert reader.alive
        with io.open(path, "w", encoding="utf-8") as file:
            file.write("first ")
            file.flush()
            sleep(0.02)
            assert reader.alive
            file.write("second")
        assert reader.result() == "first second"
    assert ticker.ticks >= 3


def test_many_pipes_wait_at_once(ticker: Any) -> None:
    """More than any pool has threads."""
    pipes = [os.pipe() for _ in range(200)]

    def read(descriptor: int) -> bytes:
        with io.open(descriptor, "rb") as file:
            return file.read()

    with ticker:
        readers = [spawn(read, reading) for reading, _ in pipes]
        sleep(0.01)
        for number, (_, writing) in enumerate(pipes):
            with io.open(writing, "wb") as file:
                file.write(b"%d" % number)
        assert [reader.result() for reader in readers] == [b"%d" % number for number in range(200)]
    assert ticker.ticks >= 1


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
            waiting.result(5)
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


def test_a_non_blocking_descriptor_behaves_as_always() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with io.open(reading, "rb", buffering=0) as source, builtins.open(writing, "wb", buffering=0) as sink:
        assert source.read(10) is None
        assert source.readinto(bytearray(10)) is None
        assert source.readall() is None
        sink.write(b"x")
        assert source.read(10) == b"x"


def test_a_terminal_is_read_without_blocking_the_others(ticker: Any) -> None:
    master, slave = os.openpty()
    with (
        io.open(slave, "rb", buffering=0) as terminal,
        ticker,
    ):
        waiting = spawn(terminal.read, 100)
        sleep(0.02)
        assert waiting.alive
        os.write(master, b"typed\n")
        assert waiting.result(5) == b"typed\n"
    os.close(master)
    assert ticker.ticks >= 3


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


# The end of a file object.


def test_a_forgotten_file_is_closed_with_a_warning(tmp_path: Path) -> None:
    for mode, buffering in (("wb", 0), ("wb", -1), ("w", -1)):
        file = io.open(tmp_path / "file", mode, buffering)
        file.write(b"kept" if "b" in mode else "kept")
        descriptor = file.fileno()
        with pytest.warns(ResourceWarning, match="unclosed file"):
            del file
            gc.collect()
        with pytest.raises(OSError):
            os.fstat(descriptor)
        assert (tmp_path / "file").read_bytes() == b"kept"


def test_a_file_that_is_waited_on_is_not_collected() -> None:
    reading, writing = os.pipe()

    def read() -> bytes:
        return io.open(reading, "rb", buffering=0).read(10)  # type: ignore[no-any-return]

    waiting = spawn(read)
    sleep(0.001)
    gc.collect()
    os.write(writing, b"alive")
    with pytest.warns(ResourceWarning):
        assert waiting.result() == b"alive"
        gc.collect()
    os.close(writing)


def test_files_that_are_open_at_exit_are_flushed(tmp_path: Path, run_python: Any) -> None:
    path = tmp_path / "file"
    done = run_python(
        """
import sys
from overlapped import io
file = io.open(sys.argv[1], "w")
file.write("not flushed")
""",
        str(path),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_text() == "not flushed"


def test_files_and_sockets_work_to_the_very_end(tmp_path: Path, run_python: Any) -> None:
    """In exit handlers that came before ours, and in destructors after all of them."""
    path = tmp_path / "file"
    done = run_python(
        """
import atexit, os, sys

@atexit.register
def last():
    with io.open(path, "a") as file:
        file.write("handler ")
    overlapped.sleep(0.001)
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"x")
        assert other.recv(1) == b"x"

import overlapped
from overlapped import io, socket

path = sys.argv[1]

class Late:
    def __init__(self):
        self.me = self
        self.file = io.open(path, "a")
        self.source = io.open(path, "rb")

    def __del__(self):
        self.file.write("destructor")
        self.file.close()
        assert self.source.read() == b"handler destructor"

late = Late()
overlapped.spawn(overlapped.sleep, 60)
overlapped.sleep(0)
""",
        str(path),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_text() == "handler destructor"


def test_warnings_about_encoding_point_at_the_caller(tmp_path: Path) -> None:
    program = f"from overlapped import io\nio.open({str(tmp_path / 'file')!r}, 'w').close()\n"
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "<string>:2: EncodingWarning" in done.stderr


def test_speed_is_not_absurd(tmp_path: Path) -> None:
    """A guard against a mistake of the order of magnitude, not a benchmark."""
    path = tmp_path / "file"
    path.write_bytes(bytes(8 << 20))
    started = time.monotonic()
    with io.open(path, "rb") as file:
        while file.read(4096):
            pass
    assert time.monotonic() - started < 20
