"""Text files of `overlapped.io`, character for character like the built-in ones: newlines, positions, encodings."""

from __future__ import annotations

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
