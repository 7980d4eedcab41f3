"""The standard library's :mod:`io`, on the completion port: reads and writes block only the calling tasklet.

:func:`open` is the built-in :func:`open` with every mode and argument. The raw file is ours, :class:`FileIO`; the
buffers and the text layer above it (universal newlines, ``tell``, ``seek``) are the standard library's. Several
tasklets may use one file: each call on a buffer or a text file is whole.
"""

from __future__ import annotations

import _io as _c
import _pyio  # type: ignore[import-not-found]
import copyreg as _copyreg
import io as _std
import os as _os
import sys as _sys
import warnings as _warnings
from abc import ABCMeta as _ABCMeta
from io import *

# Not in its `__all__` before 3.11.4, and needed by the standard library's own `makefile`.
from io import DEFAULT_BUFFER_SIZE, IncrementalNewlineDecoder, text_encoding
from operator import index as _index
from types import SimpleNamespace as _SimpleNamespace
from typing import Any

from . import _engine
from ._rebind import rebind as _rebind

__all__ = [*_std.__all__, "DEFAULT_BUFFER_SIZE", "IncrementalNewlineDecoder", "text_encoding"]


class _StandIn(_ABCMeta):
    """The type of the classes that stand here for one of the standard library's, ``_stands_for``.

    What that has made, as ``sys.stdout`` and the layers under it, passes for an instance: where the program is patched,
    there is one name for both.
    """

    def __instancecheck__(cls, instance: Any) -> bool:
        standard = vars(cls).get("_stands_for")
        return super().__instancecheck__(instance) or (standard is not None and isinstance(instance, standard))


def _in_io(name: str) -> Any:
    return getattr(_std, name)


def _reduce_class(made: type) -> Any:
    # They say that they come from the module in C, which has the standard library's: pickled are they as what `io` has.
    return (_in_io, (made.__name__,)) if "_stands_for" in vars(made) else made.__qualname__


_copyreg.pickle(_StandIn, _reduce_class)


def _reduce(self: Any, protocol: Any) -> Any:
    """``__reduce_ex__`` of a file: only a subclass can have a state that is pickled, from Python 3.14 on."""
    if _sys.version_info < (3, 14) or "_stands_for" in vars(type(self)):
        what = "instances" if _sys.version_info >= (3, 12) else "object"
        raise TypeError(f"cannot pickle {type(self).__name__!r} {what}")
    return object.__reduce_ex__(self, protocol)


def _shown(base: Any) -> Any:
    """How an object shows itself: with the module of the class it stands for, as one made in C does."""
    bare, full = f"<{base.__name__} ", f"<{base.__module__}.{base.__name__} "

    def __repr__(self: Any) -> str:
        text: str = base.__repr__(self)
        return text.replace(bare, full, 1) if type(self).__module__ == base.__module__ else text

    return __repr__


def _open_on_port(path: Any, flags: int) -> int:
    """The opener of files that name none: opens on the port, as long as the program has one."""
    if _engine.program_ends():
        return _os.open(path, flags, 0o666)
    descriptor: int = _engine.open(_os.fsencode(path), flags, path)
    return descriptor


class FileIO(_c.FileIO, metaclass=_StandIn):  # type: ignore[no-redef]
    """A raw file whose reads and writes block only the calling tasklet. Made and used like :class:`io.FileIO`."""

    __module__ = _c.FileIO.__module__
    _stands_for = _c.FileIO

    __reduce_ex__ = _reduce
    __repr__ = _shown(_c.FileIO)

    # read, readinto, readall and write are native methods: see install_file below.

    def __init__(self, file: Any, mode: str = "r", closefd: bool = True, opener: Any = None) -> None:
        if opener is None and not isinstance(file, int):
            opener = _open_on_port
        super().__init__(file, mode, closefd, opener)

    def close(self) -> None:
        """Close the file. What other tasklets have in flight on it ends first."""
        if not self.closed and self.closefd:
            _engine.cancel_file(self.fileno())
        super().close()


_engine.install_file(FileIO)


# Ours are subclasses on which each call is whole, by a lock of the object's that is held meanwhile: the standard
# library's buffers belong to a thread while they wait, and another tasklet's call would be a reentrant one.


def _whole(base: type, sample: Any) -> Any:
    """A subclass of a buffer on which each call is whole."""

    def __init__(self: Any, raw: Any, *args: Any, **kwargs: Any) -> None:
        self._whole = _engine.Whole()
        base.__init__(self, raw, *args, **kwargs)  # type: ignore[misc]

    members = {
        "__init__": __init__,
        "__slots__": ("_whole",),
        "__reduce_ex__": _reduce,
        "__repr__": _shown(base),
        "__doc__": base.__doc__,
        "__module__": base.__module__,
        "_stands_for": base,
    }
    made = _StandIn(base.__name__, (base,), members)
    _engine.install_whole(made, sample)
    return made


_buffers = {
    "BufferedReader": _whole(_std.BufferedReader, _std.BufferedReader(_c.BytesIO())),
    "BufferedWriter": _whole(_std.BufferedWriter, _std.BufferedWriter(_c.BytesIO())),
    "BufferedRandom": _whole(_std.BufferedRandom, _std.BufferedRandom(_c.BytesIO())),  # type: ignore[arg-type]
}
globals().update(_buffers)


class BufferedRWPair(_std.BufferedRWPair):  # type: ignore[no-redef]
    """A buffer for reading and one for writing, as :class:`io.BufferedRWPair`; several tasklets may use it."""

    __slots__ = ("_whole",)

    def __init__(self, reader: Any, writer: Any, buffer_size: int = _std.DEFAULT_BUFFER_SIZE, /) -> None:
        super().__init__(reader, writer, buffer_size)
        self._whole = _engine.Whole(two_streams=True)


_engine.install_whole(
    BufferedRWPair,
    _std.BufferedRWPair(_c.BytesIO(), _c.BytesIO()),
    leave=["close", "detach", "seek", "tell", "truncate"],
)


class TextIOWrapper(_std.TextIOWrapper, metaclass=_StandIn):  # type: ignore[no-redef]
    """Text over a buffer, as :class:`io.TextIOWrapper`; several tasklets may use it, and each call is whole."""

    __slots__ = ("_whole",)
    __module__ = _std.TextIOWrapper.__module__
    _stands_for = _std.TextIOWrapper

    def __init__(self, buffer: Any, *args: Any, **kwargs: Any) -> None:
        # A file has one position; what may be two streams is read and written at the same time.
        one = isinstance(buffer, (_c.BufferedReader, _c.BufferedWriter, _c.BufferedRandom))
        self._whole = _engine.Whole(two_streams=not one)
        super().__init__(buffer, *args, **kwargs)

    __reduce_ex__ = _reduce
    __repr__ = _shown(_std.TextIOWrapper)

    def reconfigure(self, **options: Any) -> None:
        """Change the encoding, the handling of errors, how lines end, or when they are flushed."""
        with self._whole:
            super().reconfigure(**options)


_engine.install_whole(TextIOWrapper, _std.TextIOWrapper(_c.BytesIO(), "utf-8"))


# The standard library's own `open`, over the classes above: it knows every rule of modes and buffers.
_names = dict(vars(_pyio))
_names.update(
    _buffers,
    FileIO=FileIO,
    TextIOWrapper=TextIOWrapper,
    text_encoding=_std.text_encoding,
    # In C it asks the system, and nobody who has put something else into the module.
    os=_SimpleNamespace(fspath=_os.fspath, fstat=_os.fstat),
)
_open = _rebind(_pyio.open, _names, __name__)


def _open_checked(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    # What is wrong with the arguments shows before the file is opened: that may create or truncate it.
    for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
        if not isinstance(value, str) and value is not None:
            raise TypeError(f"open() argument {name!r} must be str or None, not {type(value).__name__}")
    buffering = _index(buffering)
    if not -(1 << 31) <= buffering < 1 << 31:
        raise OverflowError("signed integer is greater than maximum")
    if isinstance(mode, str) and "b" not in mode:
        # Said here, as is what follows, for it is to point at the caller.
        encoding = text_encoding(encoding)
        if "r" not in mode:
            if buffering == 0:
                raise ValueError("can't have unbuffered text I/O")
            _c.TextIOWrapper(_c.BytesIO(), encoding, errors, newline)
    elif buffering == 1:
        problem = "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be used"
        _warnings.warn(problem, RuntimeWarning, stacklevel=2)
        buffering = -1
    return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)


_open_checked.__name__ = _open_checked.__qualname__ = "open"
open = _engine.as_builtin(_open_checked, _std.open)
# From Python 3.12 on that says that it comes from the module in C, which has the standard library's.
open.__module__ = "io"
