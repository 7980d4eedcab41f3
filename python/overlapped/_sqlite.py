""":mod:`sqlite3` for a program whose threads are tasklets: who waits for a lock of the database waits alone.

SQLite waits within its own calls, in C. So these run on a thread of the pool where another tasklet could run meanwhile,
and a connection's thread, by ``check_same_thread``, is the tasklet that has made it. What they do there, they do with
everything that goes with it: a lock is waited for as long as ``timeout`` says, and functions, adapters and iterators
that a program has given them are called there too. A call that has begun is not left.

Where no other tasklet is alive, where a database is in memory, and for the rows of a cursor that are fetched one by
one (which wait for no lock: the statement has it), the call is made at once.

(Rejected: to try again after SQLITE_BUSY, with a sleep in between. SQLite tells a deadlock by the same error, without
a wait; a statement of ``executemany`` is half done by then. A busy handler that switches tasklets: SQLite calls it with
its own locks held, and Python has no interface to set one.)
"""

from __future__ import annotations

import sqlite3 as _std
from collections.abc import Callable
from contextvars import copy_context
from functools import wraps
from typing import Any

from . import _engine

__all__ = ["Connection", "Cursor", "connect"]

_Chosen = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
_THREAD = 4  # The place of `check_same_thread` among the arguments, and of `factory`.
_FACTORY = 5


def _run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call what may wait for a database, on a thread of the pool."""
    context = copy_context()
    with _engine.uncancellable():
        return _engine.offload_endless(lambda: context.run(function, *args, **kwargs))


def _may_wait(connection: Any) -> bool:
    """Whether a call that waits for the connection's database would keep anybody waiting."""
    return not (getattr(connection, "_in_memory", True) or _engine.is_alone() or _engine.program_ends())


def _check(connection: Any) -> None:
    """Refuse a connection that is another thread's."""
    owner, me = getattr(connection, "_thread", None), _engine.get_ident()
    if owner is not None and owner != me:
        raise _std.ProgrammingError(
            "SQLite objects created in a thread can only be used in that same thread. The object was created in thread"
            f" id {owner} and this is thread id {me}."
        )


def _checked(method: Callable[..., Any], connection_of: Callable[[Any], Any], waits: bool) -> Callable[..., Any]:
    def choose(self: Any, *args: Any, **kwargs: Any) -> _Chosen:
        connection = connection_of(self)
        _check(connection)
        if waits and _may_wait(connection):
            return _run, (method, self, *args), kwargs
        return method, (self, *args), kwargs

    return _frameless(method, choose)


def _frameless(like: Callable[..., Any], choose: Callable[..., _Chosen]) -> Callable[..., Any]:
    """What the module warns of, it does at the line of the program that calls it."""
    return wraps(like)(_engine.Frameless(choose))


def _of_cursor(name: str) -> Callable[..., Any]:
    """A connection's method that makes a cursor for the call: by the standard library's it would be one of its own."""
    method = getattr(Cursor, name)
    return _frameless(
        getattr(_std.Connection, name), lambda self, *args: (method, (Connection.cursor(self), *args), {})
    )


def _methods(base: type, connection_of: Callable[[Any], Any], waiting: str, others: str) -> dict[str, Any]:
    names = [(name, True) for name in waiting.split()] + [(name, False) for name in others.split()]
    found = ((name, getattr(base, name, None), waits) for name, waits in names)
    return {name: _checked(method, connection_of, waits) for name, method, waits in found if method is not None}


def _is_in_memory(database: Any, uri: bool) -> bool:
    return database in (":memory:", "", b":memory:", b"") or (
        uri and isinstance(database, str) and (":memory:" in database or "mode=memory" in database)
    )


class Cursor(_std.Cursor):
    __doc__ = _std.Cursor.__doc__
    __module__ = _std.Cursor.__module__


# As long as the module has its own.
_init, _connect = _std.Connection.__init__, _std.connect


class Connection(_std.Connection):
    __doc__ = _std.Connection.__doc__
    __module__ = _std.Connection.__module__
    # Of one that was not made, the standard library tells so.
    _thread: int | None = None
    _in_memory = True

    def _choose(self, database: Any, *args: Any, **kwargs: Any) -> _Chosen:
        if len(args) >= _THREAD:
            checks, args = args[_THREAD - 1], (*args[: _THREAD - 1], False, *args[_THREAD:])
        else:
            checks = kwargs.get("check_same_thread", True)
            kwargs["check_same_thread"] = False
        self._thread = _engine.get_ident() if checks else None
        self._in_memory = _is_in_memory(database, kwargs.get("uri", False))
        return _init, (self, database, *args), kwargs

    __init__ = _frameless(_init, _choose)

    def cursor(self, factory: Any = Cursor) -> Any:
        _check(self)
        return super().cursor(factory)


for _name, _method in _methods(
    _std.Connection,
    lambda connection: connection,
    "commit rollback close backup __exit__ load_extension serialize deserialize",
    "create_function create_aggregate create_window_function create_collation set_authorizer set_progress_handler"
    " set_trace_callback enable_load_extension getlimit setlimit blobopen getconfig setconfig",
).items():
    setattr(Connection, _name, _method)
for _name, _method in _methods(
    _std.Cursor,
    lambda cursor: getattr(cursor, "connection", None),
    "execute executemany executescript fetchmany fetchall",
    "fetchone close",
).items():
    setattr(Cursor, _name, _method)
for _name in ("execute", "executemany", "executescript"):
    setattr(Connection, _name, _of_cursor(_name))


def _choose_connect(*args: Any, **kwargs: Any) -> _Chosen:
    if len(args) <= _FACTORY:
        kwargs.setdefault("factory", Connection)
    return _connect, args, kwargs


connect = _engine.as_builtin(_frameless(_connect, _choose_connect), _connect)
