"""Puts the completion port under a program that knows nothing of it.

After :func:`patch_all`, sockets, files, ``time.sleep``, ``select``, threads with their locks, queues and locals, pipes,
waits for child processes and asyncio's loop are those of Overlapped: what looks like a thread is a tasklet, and what
blocks it lets the others run. Call it first, before other modules are imported and before threads are started::

    from overlapped import monkey
    monkey.patch_all()

or run the program by ``python -m overlapped script.py``. The functions may be called in any order and again. What the
standard library's modules took from each other when they were imported is put right; what others took
(``from time import sleep``) before the call stays what it was.

Not touched is what C extensions do by themselves, which blocks the thread (``docs/libraries.md`` has a table, and
:func:`patch_blocking` helps), and what the system does where a page is not in memory. A thread that computes gives way
after :func:`sys.getswitchinterval`, as threads do. In a C function it does not, nor within
:class:`overlapped.no_preempt`; and tasklets of :func:`overlapped.spawn` never do.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from ._engine import as_builtin

__all__ = [
    "MonkeyPatchWarning",
    "is_patched",
    "original",
    "patch_all",
    "patch_asyncio",
    "patch_blocking",
    "patch_files",
    "patch_interpreters",
    "patch_libraries",
    "patch_multiprocessing",
    "patch_os",
    "patch_preemption",
    "patch_queue",
    "patch_select",
    "patch_signal",
    "patch_socket",
    "patch_sqlite",
    "patch_ssl",
    "patch_stdin",
    "patch_stdout",
    "patch_thread",
    "patch_time",
]


class MonkeyPatchWarning(RuntimeWarning):
    """It is too late for part of what was to be patched."""


_originals: dict[tuple[str, str], Any] = {}
_done: set[str] = set()


def patch_all(
    *,
    socket: bool = True,
    ssl: bool = True,
    files: bool = True,
    time: bool = True,
    thread: bool = True,
    queue: bool = True,
    select: bool = True,
    os: bool = True,
    multiprocessing: bool = True,
    signal: bool = True,
    asyncio: bool = True,
    preemption: bool = True,
    sqlite: bool = True,
    interpreters: bool = True,
    libraries: bool = True,
    stdin: bool = False,
    stdout: bool = False,
) -> None:
    """Patch all that is not switched off.

    ``stdin`` is only safe where nothing has read from it yet; ``stdout`` where nobody has kept what it was.
    """
    # Threads first: their locks are in everything else.
    chosen = {
        patch_thread: thread,
        patch_queue: queue,
        patch_time: time,
        patch_select: select,
        patch_os: os,
        patch_multiprocessing: multiprocessing,
        patch_signal: signal,
        patch_files: files,
        patch_socket: socket,
        patch_ssl: ssl,
        patch_asyncio: asyncio,
        patch_preemption: preemption and thread,
        patch_sqlite: sqlite,
        patch_interpreters: interpreters,
        patch_libraries: libraries,
        patch_stdin: stdin,
        patch_stdout: stdout,
    }
    for patch, wanted in chosen.items():
        if wanted:
            patch()


def is_patched(name: str, item: str | None = None) -> bool:
    """Whether a part (``"thread"``, ``"files"``, …) or something in a module (``"time"``, ``"sleep"``) was patched."""
    if item is not None:
        return (name, item) in _originals
    return name in _done or any(module == name for module, _ in _originals)


def original(module: str, name: str) -> Any:
    """What ``module.name`` was before it was patched: real threads are ``original("_thread", "start_new_thread")``."""
    try:
        return _originals[module, name]
    except KeyError:
        return getattr(importlib.import_module(module), name)


def patch_thread() -> None:
    """Threads, locks, conditions, events, timers and ``threading.local`` become those of tasklets, which tools see."""
    if not _begin("thread"):
        return
    import _thread
    import faulthandler
    import os
    import sys
    import threading
    import time

    from . import _thread as ours
    from . import _threading, _tools

    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others or _thread._count():
        _warn(f"threads that were started before stay the system's: {', '.join(others) or 'unnamed'}")
    if threading.current_thread() is not threading.main_thread():
        _warn("threads are patched outside of the main thread: signals and the end of the program look for it")
    lock, rlock = _thread.LockType, _thread.RLock
    _replace(_thread, {name: getattr(ours, name) for name in ours.__all__})
    # What `threading.Lock` is pickled by: a function of that name up to 3.12, and from then on the class.
    ours.LockType.__name__ = ours.LockType.__qualname__ = "lock" if sys.version_info >= (3, 13) else "allocate_lock"
    _renew_locks(lock, rlock)
    _renew_main_thread(threading)
    ours._forget_dummies(threading)
    _threading.patch(threading)
    for module in (sys, faulthandler, time):
        _replace(module, {name: getattr(_tools, name) for name in _tools.__all__ if hasattr(module, name)})
    if "logging" in sys.modules:
        for reference in sys.modules["logging"]._handlerList:
            handler = reference()
            if handler is not None and handler.lock is not None:
                handler.createLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=ours._after_fork_in_child)


def patch_queue() -> None:
    """``queue.SimpleQueue``, which waits in C, becomes one that waits in its tasklet."""
    if _begin("queue"):
        import queue

        from ._engine import SimpleQueue

        _replace(queue, {"SimpleQueue": SimpleQueue})

        def patch(module: Any) -> None:
            module.SimpleQueue, module.Empty = SimpleQueue, queue.Empty

        if "_queue" in sys.modules:
            patch(sys.modules["_queue"])
        # Its tests import it afresh.
        sys.meta_path.insert(0, _AfterImport("_queue", patch, again=True))


def patch_time() -> None:
    """``time.sleep`` lets the other tasklets run."""
    if _begin("time"):
        import time

        from ._engine import sleep_as_time

        _replace(time, {"sleep": sleep_as_time})


def patch_select() -> None:
    """``select``, ``poll`` and ``epoll`` wait on the port, and with them :mod:`selectors`; so do asyncio's loops."""
    if _begin("select"):
        import select
        import selectors  # noqa: F401  (its classes name the functions of select)

        from . import select as ours

        names = ("select", "poll", "epoll")
        _replace(select, {name: getattr(ours, name) for name in names if hasattr(ours, name)})
        # A loop of the program's own may never come to a wait of ours.
        _after_import("asyncio.events", lambda _events: ours._mind_asyncio())
        if sys.platform == "win32":
            # Asyncio's loop has a completion port of its own there.
            import _overlapped

            from . import _winapi

            _replace(_overlapped, {"GetQueuedCompletionStatus": _winapi.GetQueuedCompletionStatus})


def patch_os() -> None:
    """Functions of :mod:`os` that wait, or close descriptors; locks of :mod:`fcntl`, flushes of :mod:`mmap`."""
    if _begin("os"):
        from . import _os as ours

        names = {name: getattr(ours, name) for name in ours.__all__ if hasattr(ours, name)}
        if sys.platform != "win32":
            import fcntl
            import mmap

            from . import _fcntl, _mmap

            names["lockf"] = _fcntl.of_os
            _replace(fcntl, {name: getattr(_fcntl, name) for name in _fcntl.__all__})
            _replace(mmap, {"mmap": _mmap.mmap})
        _replace_of_os(names)
        if sys.platform == "win32":
            import _winapi as waits

            from . import _winapi as our_waits

            _replace(waits, {name: getattr(our_waits, name) for name in our_waits.__all__})


def patch_multiprocessing() -> None:
    """Locks, semaphores and queues between processes wait in their tasklet."""
    if _begin("multiprocessing"):
        try:
            import _multiprocessing  # type: ignore[import-not-found]
        except ImportError:
            # A Python without shared semaphores has none of these.
            return
        from . import _multiprocessing as ours

        _replace(_multiprocessing, {"SemLock": ours.SemLock})


def patch_signal() -> None:
    """Handlers run in the main thread; what is blocked is each thread's own; who waits for a signal waits alone."""
    if _begin("signal"):
        import signal

        from . import _signal as ours

        _replace(signal, {name: getattr(ours, name) for name in ours.__all__ if hasattr(ours, name)})
        if sys.platform != "win32":
            import _posixsubprocess
            import os

            from . import _masks

            _replace_of_os(_masks.starts_of(os))
            _replace(_posixsubprocess, _masks.starts_of(_posixsubprocess))
            _masks.mind_forks()
        for number in signal.valid_signals():
            handler = ours.getsignal(number)
            if callable(handler):
                ours.signal(number, handler)


def patch_preemption() -> None:
    """Threads that are tasklets, the main one among them, give way where they compute for long, as threads do."""
    if _begin("preemption"):
        import sys
        import threading

        from . import _preempt as ours

        if threading.current_thread() is not threading.main_thread():
            _warn("preemption is patched outside of the main thread, whose signals it needs: nobody is preempted")
            return
        _replace(sys, {name: getattr(ours, name) for name in ours.__all__})
        ours.start()


def patch_files() -> None:
    """``open`` and ``io.FileIO`` read and write on the port."""
    if _begin("files"):
        import builtins
        import io
        import shutil

        from . import io as ours

        _replace(builtins, {"open": ours.open})
        _replace(io, {name: getattr(ours, name) for name in ours.__all__})
        if hasattr(shutil, "_HAS_FCOPYFILE"):
            # Copies by fcopyfile(3) would block the thread.
            _originals["shutil", "_HAS_FCOPYFILE"] = shutil._HAS_FCOPYFILE
            shutil._HAS_FCOPYFILE = False


def patch_socket() -> None:
    """Sockets and name look-ups of :mod:`socket`."""
    if _begin("socket"):
        import socket

        from . import socket as ours

        # The functions that only make use of these names (create_connection, …) find ours by themselves.
        names = {name for name in vars(ours) if not name.startswith("_") and hasattr(socket, name)} - set(ours._REBOUND)
        _replace(socket, {name: getattr(ours, name) for name in names})


def patch_ssl() -> None:
    """TLS: what :class:`ssl.SSLContext` wraps. Where :mod:`ssl` was not imported yet, once it is: it takes its time."""
    if _begin("ssl"):

        def patch(ssl: Any) -> None:
            from . import ssl as ours

            # Only what a context makes: the module's own code finds its class under its own name. Where our module is
            # what imports this one, its class is not made yet, and it does this itself.
            if hasattr(ours, "SSLSocket"):
                ssl.SSLContext.sslsocket_class = ours.SSLSocket

        _after_import("ssl", patch)


def patch_asyncio() -> None:
    """asyncio's default loop is that of :mod:`overlapped.asyncio`, save on Windows, where the default one has pipes."""
    if _begin("asyncio") and sys.platform != "win32":

        def new_event_loop() -> Any:
            from .asyncio import new_event_loop

            return new_event_loop()

        def patch(asyncio: Any) -> None:
            policy = getattr(asyncio.unix_events, "_UnixDefaultEventLoopPolicy", None)
            if policy is not None:
                policy._loop_factory = staticmethod(new_event_loop)

        _after_import("asyncio", patch)


def patch_sqlite() -> None:
    """Calls of :mod:`sqlite3`, which waits for locks in C, run on the pool; ``check_same_thread`` knows tasklets."""
    if _begin("sqlite"):

        def patch(sqlite3: Any) -> None:
            import _sqlite3

            from . import _sqlite as ours

            _replace(_sqlite3, {name: getattr(ours, name) for name in ours.__all__})

        _after_import("sqlite3", patch)


def patch_interpreters() -> None:
    """What a program has other interpreters do (:mod:`concurrent.interpreters` and its pool) runs on threads."""
    if _begin("interpreters"):
        from . import _pool as ours

        def patch(interpreters: Any) -> None:
            for name in ("call", "exec", "run_func", "run_string"):
                old = getattr(interpreters, name, None)
                if old is not None:
                    _originals[interpreters.__name__, name] = old
                    setattr(interpreters, name, as_builtin(ours.on_pool(old, ours.offload_named), old))

        _after_import("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters", patch)


def patch_libraries() -> None:
    """What others wrote waits in Python where it can be told to: psycopg (3 and 2) for its server, pyOpenSSL for its
    peer. trio gives its threads no names in the system."""
    if _begin("libraries"):
        from . import _libraries

        _after_import("psycopg.waiting", _libraries.prepare_psycopg)
        _after_import("psycopg2", _libraries.prepare_psycopg2)
        _after_import("OpenSSL.SSL", _libraries.prepare_pyopenssl)
        _after_import("trio._core._thread_cache", _libraries.prepare_trio)


def patch_blocking(module: str, *names: str) -> None:
    """Have functions that wait in C run on a thread of a pool: only who calls them waits.

    ``module`` need not be imported yet; ``names`` are those of its functions and, as ``"Class.method"``, of methods of
    classes that are written in Python. Whoever has taken a function out of the module before keeps what it was. Where
    nobody else could run, the function is called at once. One that has begun goes on to its end, also where its caller
    is cancelled. Call it for what may be called on any thread::

        monkey.patch_blocking("socket", "gethostbyaddr")

    (gevent has ``ThreadPool.apply`` and eventlet ``tpool.Proxy`` for this.)
    """
    if not names:
        raise ValueError(f"patch_blocking({module!r}): which functions?")

    def patch(loaded: ModuleType) -> None:
        from . import _libraries

        _libraries.put_on_pool(loaded, names, lambda name, old: _originals.setdefault((module, name), old))

    _after_import(module, patch)


def patch_stdin() -> None:
    """``sys.stdin`` reads on the port: ``input()`` from a pipe or a file, and ``for line in sys.stdin``.

    ``input()`` at a terminal is still the system's, for its line editing; it blocks the thread.
    """
    if _begin("stdin") and sys.stdin is not None:
        from . import io

        old = sys.stdin
        try:
            descriptor = old.fileno()
        except (AttributeError, OSError, ValueError):
            return
        new: Any = io.open(descriptor, encoding=old.encoding, errors=old.errors, closefd=False)
        new.mode = "r"
        _originals["sys", "stdin"] = old
        if sys.__stdin__ is old:
            _originals["sys", "__stdin__"] = old
            sys.__stdin__ = new  # type: ignore[misc]
        sys.stdin = new


def patch_stdout() -> None:
    """``sys.stdout`` and ``sys.stderr`` write on the port: who prints to a pipe whose reader is slow waits alone."""
    if _begin("stdout") and sys.platform != "win32":
        for name in ("stdout", "stderr"):
            old = getattr(sys, name)
            if type(old) is not original("io", "TextIOWrapper"):
                continue
            new = _on_port(old)
            old.flush()
            for place in (name, f"__{name}__"):
                if getattr(sys, place) is old:
                    _originals["sys", place] = old
                    setattr(sys, place, new)


def _on_port(stream: Any) -> Any:
    """A stream of text like one that Python has made when it began, which writes on the port."""
    from . import io

    raw = io.FileIO(stream.fileno(), "wb", closefd=False)
    raw.name = stream.name
    unbuffered = isinstance(stream.buffer, original("io", "FileIO"))
    new: Any = io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    new.mode = stream.mode
    return new


def _after_import(name: str, patch: Callable[[Any], None]) -> None:
    """Call ``patch`` with a module: now where it is imported, else once it is."""
    if name in sys.modules:
        patch(sys.modules[name])
    else:
        sys.meta_path.insert(0, _AfterImport(name, patch))


class _AfterImport:
    """Finds one module as the others would, and calls a function with it when it is executed, once or each time."""

    def __init__(self, name: str, call: Callable[[ModuleType], None], again: bool = False) -> None:
        self.name = name
        self.call = call
        self.again = again

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        if not self.again:
            sys.meta_path.remove(self)
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            if isinstance(spec.loader, type):
                # That of all modules that are built in.
                spec.loader = spec.loader()
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self.call(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _begin(part: str) -> bool:
    """Whether a part is still to be patched; it counts as done from now on."""
    if part in _done:
        return False
    _done.add(part)
    return True


def _warn(problem: str) -> None:
    warnings.warn(f"overlapped.monkey: {problem}. Patch first of all.", MonkeyPatchWarning, stacklevel=4)


def _replace(module: ModuleType, names: dict[str, Any]) -> None:
    """Give things in a module their replacements, there and wherever the standard library has taken them to.

    What this version of the module does not have, it is not given.
    """
    replaced: dict[int, Any] = {}
    kept = []
    for name, new in names.items():
        old = getattr(module, name, new)
        if old is not new:
            _rename(new, module)
            if isinstance(old, BuiltinFunctionType) and isinstance(new, FunctionType):
                # A class that has it as an attribute has no method by that.
                new = as_builtin(new, old)
                new.__module__ = module.__name__
            _originals.setdefault((module.__name__, name), old)
            setattr(module, name, new)
            replaced[id(old)] = new
            # Its id must stay its own.
            kept.append(old)
    for captor in _standard_modules():
        for name, value in list(vars(captor).items()):
            if id(value) in replaced:
                _originals.setdefault((captor.__name__, name), value)
                setattr(captor, name, replaced[id(value)])
        for value in list(vars(captor).values()):
            if isinstance(value, type) and value.__module__ == captor.__name__:
                _rebind_class(value, replaced)
            elif isinstance(value, FunctionType):
                _rebind_defaults(value, replaced)


def _replace_of_os(names: dict[str, Any]) -> None:
    """The same in :mod:`os`, whose sets of functions tell what each can do."""
    import os

    every = (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd, os.supports_follow_symlinks)
    able = [(told, [name for name in names if getattr(os, name, None) in told]) for told in every]
    _replace(os, names)
    for told, those in able:
        told.update(getattr(os, name) for name in those)


def _rename(new: Any, module: ModuleType) -> None:
    """Have something say that it comes from the module that it stands in, by whose name it is pickled and shown."""
    if str(getattr(new, "__module__", None)).partition(".")[0] == __package__:
        # A function of a type's has no module that could be set.
        with contextlib.suppress(AttributeError, TypeError):
            new.__module__ = module.__name__


def _standard_modules() -> Iterator[ModuleType]:
    """The imported modules of the standard library that are written in Python."""
    for name, module in list(sys.modules.items()):
        if (
            name.partition(".")[0] in sys.stdlib_module_names
            and isinstance(module, ModuleType)
            and str(vars(module).get("__file__", "")).endswith(".py")
        ):
            yield module


def _rebind_class(captor: type, replaced: dict[int, Any]) -> None:
    for name, value in list(vars(captor).items()):
        if id(value) in replaced:
            new = replaced[id(value)]
            # What was built in is no method; a function would be one.
            setattr(captor, name, staticmethod(new) if isinstance(new, FunctionType) else new)
        elif isinstance(value, FunctionType):
            _rebind_defaults(value, replaced)


def _rebind_defaults(function: FunctionType, replaced: dict[int, Any]) -> None:
    if function.__defaults__ and any(id(default) in replaced for default in function.__defaults__):
        function.__defaults__ = tuple(replaced.get(id(default), default) for default in function.__defaults__)


def _renew_locks(lock: type, rlock: type) -> None:
    """Make the locks that modules of the standard library hold new ones, where they are free."""
    import _thread

    for module in _standard_modules():
        for name, value in list(vars(module).items()):
            if type(value) is lock:
                if not value.locked():  # type: ignore[attr-defined]
                    setattr(module, name, _thread.allocate_lock())
            elif type(value) is rlock:
                setattr(module, name, _thread.RLock())


def _renew_main_thread(threading: Any) -> None:
    """Give the main thread's object what other tasklets wait for: its started event, and what tells of its end."""
    from . import _thread as ours

    main = threading.main_thread()
    main._started = threading.Event()
    main._started.set()
    if hasattr(main, "_tstate_lock"):
        # Up to Python 3.12; the program's end releases it.
        old, main._tstate_lock = main._tstate_lock, ours.allocate_lock()
        main._tstate_lock.acquire()
        if old in threading._shutdown_locks:
            threading._shutdown_locks.discard(old)
            threading._shutdown_locks.add(main._tstate_lock)
    for name in ("_handle", "_os_thread_handle"):
        if hasattr(main, name):
            setattr(main, name, ours._make_thread_handle(main.ident))
