"""Text files of `overlapped.io`, character for character like the built-in ones: newlines, positions, encodings."""

from __future__ import annotations

import gc
import random
from pathlib import Path
from typing import Any

import pytest

from like_builtin import both, outcome
from overlapped import io


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
    file = io.open(path, "w", encoding="utf-8", newline="\n")
    file.write("eins\n")
    file.reconfigure(encoding="latin-1", newline="\r\n")
    file.write("zw\u00f6lf\n")
    with file.detach() as buffer:
        buffer.write(b"raw")
    assert path.read_bytes() == b"eins\nzw\xf6lf\r\nraw"


def test_lines_at_hand_like_the_built_in(tmp_path: Path) -> None:
    """Lines of every width, over the ends of what is decoded at once, mixed with all other ways to read and to move."""
    rng = random.Random(88)
    path = tmp_path / "file"
    for alphabet in ("ab", "a\u00fc", "\u00fc\u0416", "a\U0001f40d"):
        lines = ["".join(rng.choice(alphabet) for _ in range(rng.choice([0, 3, 40, 5000]))) for _ in range(300)]
        text, seed = "\n".join(lines), rng.random()

        def use(opener: Any, text: str = text, seed: float = seed) -> Any:
            path.write_text(text, encoding="utf-8")
            rng = random.Random(seed)
            seen: list[Any] = []
            with opener(path, "r+", encoding="utf-8") as file:
                for _ in range(600):
                    how = rng.randrange(40)
                    if how < 14:
                        seen.append(next(file, None))
                    elif how < 34:
                        seen.append(file.readline())
                    elif how < 36:
                        seen.append(file.readline(rng.randrange(-1, 50)))
                    elif how < 38:
                        seen.append(file.read(rng.randrange(50)))
                    elif how == 38:
                        seen.append(outcome(file.tell))
                    else:
                        file.write("written\n")
                        file.seek(rng.randrange(1000) if text.isascii() else 0)
                seen += list(file)
            return seen, path.read_bytes()

        both(use)


def test_what_is_written_is_kept_and_flushed_like_by_the_built_in(tmp_path: Path) -> None:
    """When it reaches the file shows in the file: after each write, the bytes that are there."""

    class Text(str):
        pass

    path = tmp_path / "file"
    writes: list[Any] = [
        "a",
        "",
        "b\n",
        "\u00fc",
        Text("c"),
        "d" * 5000,
        "e" * 4000,
        "f",
        "g" * 9000,
        "h\r\n",
        b"i",
        None,
    ]
    writes += ["jj\n"] * 5000
    options: list[dict[str, Any]] = [
        {},
        {"encoding": "ascii", "errors": "replace"},
        {"encoding": "latin-1"},
        {"encoding": "utf-8-sig"},
        {"encoding": "utf-16"},
        {"encoding": "utf-8", "newline": "\r\n"},
        {"encoding": "utf-8", "newline": ""},
        {"encoding": "utf-8", "buffering": 1},
        {"encoding": "utf-8", "mode": "w+"},
    ]
    for option in options:

        def use(opener: Any, option: dict[str, Any] = option) -> Any:
            seen: list[Any] = []
            with opener(path, **{"mode": "w", "encoding": "utf-8", **option}) as file:
                for number, text in enumerate(writes):
                    seen.append(outcome(lambda text=text: file.write(text)))
                    if number % 50 < 12:
                        seen.append(path.stat().st_size)
                    if number % 1000 == 999:
                        seen.append(file.tell())
                file.reconfigure(write_through=True)
                file.write("through")
                seen.append(path.stat().st_size)
            return seen, path.read_bytes()

        both(use)


def close(file: Any) -> None:
    file.close()


def close_the_buffer(file: Any) -> None:
    file.buffer.close()


def close_the_raw_file(file: Any) -> None:
    file.buffer.raw.close()


def detach(file: Any) -> None:
    file.kept = file.detach()


@pytest.mark.parametrize("how", [close, close_the_buffer, close_the_raw_file, detach])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_line_is_at_hand_of_a_file_that_is_closed(tmp_path: Path, how: Any) -> None:
    path = tmp_path / "file"

    def use(opener: Any) -> Any:
        path.write_text("one\ntwo\n")
        reader, writer = opener(path, encoding="utf-8"), opener(tmp_path / "other", "w", encoding="utf-8")
        assert reader.readline() == "one\n" and writer.write("x") == 1
        how(reader)
        how(writer)
        return [outcome(reader.readline), outcome(lambda: next(reader)), outcome(lambda: writer.write("x"))]

    both(use)


def test_a_finalizer_that_writes_while_a_write_is_kept_loses_nothing(tmp_path: Path) -> None:
    """Keeping the second write makes a list, which may have garbage collected."""
    path = tmp_path / "file"

    class Writes:
        def __del__(self) -> None:
            file.write("finalizer\n")

    for threshold in range(1, 12):
        with io.open(path, "w", encoding="utf-8") as file:
            garbage: Any = Writes()
            garbage.itself = garbage
            del garbage
            before = gc.get_threshold()
            gc.set_threshold(threshold)
            try:
                for number in range(100):
                    file.write(f"{number}\n")
                    if number % 10 == 9:
                        file.flush()
            finally:
                gc.set_threshold(*before)
            gc.collect()
        written = path.read_text().splitlines()
        assert [line for line in written if line != "finalizer"] == [str(number) for number in range(100)]
        assert written.count("finalizer") == 1
