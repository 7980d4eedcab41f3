"""`overlapped.io.open` is the built-in `open`: every mode and argument, names, errors, and the end of a file object."""

from __future__ import annotations

import errno
import gc
import io as std_io
import os
import pickle
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import unix_only
from like_builtin import OPENERS, both, outcome
from load import crowd
from overlapped import io, sleep, spawn

MODES = [prefix + kind + plus for prefix in ("r", "w", "a", "x") for kind in ("", "b", "t") for plus in ("", "+")]


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


@unix_only("files have no such permissions")
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
    assert flags & (os.O_WRONLY | os.O_RDWR) == 0
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


@pytest.mark.parametrize(("mode", "buffering"), [("wb", 0), ("wb", -1), ("w", -1)])
def test_repr_and_pickle(tmp_path: Path, mode: str, buffering: int) -> None:
    def use(opener: Any) -> Any:
        with opener(tmp_path / "file", mode, buffering) as file:
            with pytest.raises(TypeError, match="cannot pickle") as refused:
                pickle.dumps(file)
            open_one = repr(file)
        return open_one, repr(file), str(refused.value).replace("_io.", "")

    both(use)


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


@pytest.mark.parametrize("mode", ["w", "a", "w+", "wb", "wt"])
def test_a_wrong_argument_leaves_the_file_as_it_was(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    never = tmp_path / "never"
    wrong: list[tuple[type[Exception], dict[str, Any]]] = [
        (TypeError, {"encoding": 5}),
        (TypeError, {"errors": 5}),
        (TypeError, {"newline": b"\n"}),
        (TypeError, {"buffering": 1.5}),
        (OverflowError, {"buffering": 1 << 40}),
        # From 3.12 on, whatever is true or false will do.
        *([(TypeError, {"closefd": "yes"})] if sys.version_info < (3, 12) else []),
        (TypeError, {"opener": 5}),
        (ValueError, {"newline": "x"}),
        (ValueError, {"newline": ""} if "b" in mode else {"buffering": 0}),
        (ValueError if "b" in mode else LookupError, {"encoding": "no-such-encoding"}),
        (ValueError if "b" in mode else LookupError, {"encoding": "hex"}),
    ]
    for error, keywords in wrong:
        for file in (path, never):
            with pytest.raises(error):
                io.open(file, mode, **keywords)
        assert path.read_text() == "precious", keywords
        assert not never.exists(), keywords


def test_the_size_of_a_buffer_may_be_any_index(tmp_path: Path) -> None:
    class Index:
        def __index__(self) -> int:
            return 3

    both(lambda opener: opener(tmp_path / "file", "w", Index()).close())


def test_a_warning_about_buffering_points_at_the_caller(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="line buffering") as caught:
        io.open(tmp_path / "file", "wb", 1).close()
    assert [warning.filename for warning in caught] == [__file__]


def test_warnings_about_encoding_point_at_the_caller(tmp_path: Path) -> None:
    program = f"from overlapped import io\nio.open({str(tmp_path / 'file')!r}, 'w').close()\n"
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", program],
        capture_output=True,
        text=True,
        timeout=60 * crowd(),
    )
    assert done.returncode == 0
    assert "<string>:2: EncodingWarning" in done.stderr


def test_speed_is_not_absurd(tmp_path: Path) -> None:
    """A guard against a mistake of the order of magnitude, not a benchmark."""
    path = tmp_path / "file"
    path.write_bytes(bytes(8 << 20))
    started = time.perf_counter()
    with io.open(path, "rb") as file:
        while file.read(4096):
            pass
    assert time.perf_counter() - started < 20
