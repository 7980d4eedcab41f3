"""The event loop: the standard library's, waiting in a tasklet; and the functions that make and run one.

What is ours: its base, in which turns, calls and timers are native; the wait (`_selector.py`); who wakes it; child
processes, for each of which a tasklet waits on the port (the standard library starts a thread for each, or has a
SIGCHLD handler); and the pipe through which Python tells of signals, which is made when the first handler is set.

Other tasklets of the thread may call what only the loop's thread may: ``call_soon``, ``Future.set_result`` and so on.
The loop sees it, also where it waits.
"""

from __future__ import annotations

import asyncio as _asyncio
import os as _std_os
import socket as _std_socket
import sys
import threading as _threading
from asyncio import events as _events
from asyncio import format_helpers as _format_helpers
from asyncio.log import logger as _logger
from collections.abc import Callable, Coroutine
from contextvars import Context
from inspect import signature as _signature
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

from .. import _engine, _os
from .. import select as _select
from . import _numeric, _transport
from ._selector import Selector

if sys.platform == "win32":
    from . import _windows as _pipes
else:
    from . import _pipes

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_running: WeakKeyDictionary[_engine.Tasklet[Any], list[EventLoop]] = WeakKeyDictionary()
"""The loops that run on each thread, by its main tasklet, the first to start first."""


def running_loops() -> list[EventLoop]:
    """The loops of ours that run on this thread, each in its tasklet."""
    return _running.setdefault(_engine.main_tasklet(), [])


class EventLoop(_engine.LoopCore, _asyncio.SelectorEventLoop):
    """An asyncio loop on the port of the thread that runs it. While it waits, the thread's other tasklets run."""

    _csock: Any
    _ssock: Any
    _thread_id: int | None

    def __init__(self) -> None:
        _select._mind_asyncio()
        self._csock = self._ssock = None
        self._watches: set[_engine.Tasklet[None]] = set()
        """Tasklets that wait for child processes, and for what else the loop's own does not."""
        if sys.platform == "win32":
            self._proactor = _pipes.Handles(self)
        self.tasklet: _engine.Tasklet[Any] | None = None
        """The tasklet that runs it, while one does."""
        selector = Selector()
        self._wait_by(selector, selector.waiting)
        super().__init__(selector)

    def run_forever(self) -> None:
        """Run until :meth:`stop` is called. The calling tasklet alone waits."""
        self._check_closed()  # type: ignore[attr-defined]
        if self.is_running():
            raise RuntimeError("This event loop is already running")
        running = running_loops()
        running.append(self)
        self.tasklet = _engine.current()
        self._selector.begin()
        # A turn that somebody has put his own in the place of is one turn.
        self._run_several(type(self)._run_once is EventLoop._run_once and "_run_once" not in vars(self))
        try:
            super().run_forever()
        finally:
            self._run_several(False)
            self.tasklet = None
            running.remove(self)
            if self._selector is not None:
                self._selector.rest()

    def close(self) -> None:
        """Close the loop, which does not run. Nobody waits for its child processes any more."""
        if not self.is_running():
            for watch in list(self._watches):
                watch.cancel()
        super().close()

    # Who has something for a loop that waits wakes it.

    if TYPE_CHECKING:

        def call_soon(
            self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
        ) -> _asyncio.Handle:
            """The engine's, as the others here: see :func:`overlapped._engine.install_loop`."""

        def call_soon_threadsafe(
            self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
        ) -> _asyncio.Handle: ...
        def call_later(
            self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
        ) -> _asyncio.TimerHandle: ...
        def call_at(
            self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
        ) -> _asyncio.TimerHandle: ...
        def time(self) -> float: ...
        def _run_once(self) -> None: ...

    def _callback_failed(self, handle: Any, error: BaseException) -> None:
        """The engine calls it where what it has called for a handle has raised: as in :meth:`asyncio.Handle._run`."""
        options = {"debug": False} if _CALLBACK_SAYS_WHETHER_DEBUG else {}
        callback = _format_helpers._format_callback_source(handle._callback, handle._args, **options)
        self.call_exception_handler(
            {"message": f"Exception in callback {callback}", "exception": error, "handle": handle}
        )

    def _await_call(self, handle: _asyncio.Handle) -> None:
        """Where the call of a handle is being made, by another thread, wait for its end."""
        if self._thread_id == _threading.get_ident():
            return
        ended = _threading.Lock()
        ended.acquire()
        if self._calls(handle, ended):
            ended.acquire()

    def _write_to_self(self) -> None:
        selector = self._selector
        if selector is not None:
            selector.wake()

    def _add_reader(self, fd: Any, callback: Any, *args: Any) -> Any:
        transport = getattr(callback, "__self__", None)
        if isinstance(transport, _transport.OnPort):
            return self._selector.receive(transport._receiving)
        handle = super()._add_reader(fd, callback, *args)  # type: ignore[misc]
        self._selector.wake_sleeper()
        return handle

    def _add_writer(self, fd: Any, callback: Any, *args: Any) -> Any:
        handle = super()._add_writer(fd, callback, *args)  # type: ignore[misc]
        self._selector.wake_sleeper()
        return handle

    def _check_thread(self) -> None:
        # The tasklets of the thread may; under `overlapped.monkey` each has an identifier of its own.
        if self._thread_id is not None and _engine.thread_of(self._thread_id) != _engine.thread_of(
            _threading.get_ident()
        ):
            raise RuntimeError("Non-thread-safe operation invoked on an event loop other than the current one")

    # Transports: what asyncio's do, with what is in flight on the port in the place of a reader.

    def _make_socket_transport(
        self, sock: Any, protocol: Any, waiter: Any = None, *, extra: Any = None, server: Any = None
    ) -> Any:
        return _transport.StreamTransport(self, sock, protocol, waiter, extra, server)

    def _make_ssl_transport(
        self, rawsock: Any, protocol: Any, sslcontext: Any, waiter: Any = None, *, server_side: bool = False,
        server_hostname: str | None = None, extra: Any = None, server: Any = None, **times: Any,
    ) -> Any:  # fmt: skip
        secured = _transport.SSLProtocol(self, protocol, sslcontext, waiter, server_side, server_hostname, **times)
        _transport.StreamTransport(self, rawsock, secured, extra=extra, server=server)
        return secured._app_transport

    def _make_datagram_transport(
        self, sock: Any, protocol: Any, address: Any = None, waiter: Any = None, extra: Any = None
    ) -> Any:
        return _transport.DatagramTransport(self, sock, protocol, address, waiter, extra)

    def _make_read_pipe_transport(self, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None) -> Any:
        return _pipes.ReadPipeTransport(self, pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(self, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None) -> Any:
        return _pipes.WritePipeTransport(self, pipe, protocol, waiter, extra)

    def _remove_reader(self, fd: Any) -> Any:
        if self._selector is not None and self._selector.receive_no_more(fd):
            return True
        return super()._remove_reader(fd)  # type: ignore[misc]

    def _process_events(self, event_list: Any) -> None:
        if event_list:
            super()._process_events(event_list)  # type: ignore[misc]
        if self._selector.waiting.reactor.has_come:
            # After what was ready before, as asyncio's readers; in debug mode what takes long is told of.
            self._ready.append(_asyncio.Handle(self._selector.waiting.reactor.deliver, (), self))

    # Names.

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        if not self._debug and _numeric.may_be(host, port):
            # Numbers as such, for to hash a constant of the module `socket` is a call of Python's code.
            numbers = int(family), int(type), int(proto), int(flags)
            if (found := _numeric.look_up(_std_socket.getaddrinfo, host, port, *numbers)) is not None:
                return list(found)
        return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)

    # The pipe that tells of signals.

    def _make_self_pipe(self) -> None:
        pass

    def _close_self_pipe(self) -> None:
        if self._csock is not None:
            super()._close_self_pipe()  # type: ignore[misc]

    if hasattr(_asyncio.SelectorEventLoop, "_handle_signal"):

        def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
            self._check_closed()  # type: ignore[attr-defined]
            if self._csock is None:
                super()._make_self_pipe()  # type: ignore[misc]
            super().add_signal_handler(sig, callback, *args)

        def remove_signal_handler(self, sig: int) -> bool:
            removed = super().remove_signal_handler(sig)
            if self._csock is not None and not self._signal_handlers:  # type: ignore[attr-defined]
                super()._close_self_pipe()  # type: ignore[misc]
            return removed

    # Child processes.

    if sys.platform == "win32":
        _make_subprocess_transport = _pipes.make_subprocess_transport

    if hasattr(_std_os, "waitstatus_to_exitcode") and hasattr(_os, "await_end"):

        async def _make_subprocess_transport(
            self, protocol: Any, args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, bufsize: int,
            extra: Any = None, **kwargs: Any,
        ) -> _asyncio.SubprocessTransport:  # fmt: skip
            from asyncio import unix_events

            if _watcher_of_the_program() is not None:
                return await super()._make_subprocess_transport(  # type: ignore[misc,no-any-return]
                    protocol, args, shell, stdin, stdout, stderr, bufsize, extra=extra, **kwargs
                )
            started = self.create_future()
            transport: Any = unix_events._UnixSubprocessTransport(  # type: ignore[attr-defined]
                self, protocol, args, shell, stdin, stdout, stderr, bufsize, waiter=started, extra=extra, **kwargs
            )
            self._watch_child(transport)
            try:
                await started
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
                transport.close()
                await transport._wait()
                raise
            return transport  # type: ignore[no-any-return]

        def _watch_child(self, transport: Any) -> None:
            pid = transport.get_pid()
            watch = _engine.spawn(self._tell_of_end, pid, transport)
            watch.name = f"asyncio: child {pid}"
            self._watches.add(watch)

        def _tell_of_end(self, pid: int, transport: Any) -> None:
            try:
                _os.await_end(pid, _threading.TIMEOUT_MAX)
                if self.is_closed():
                    _logger.warning("Loop %r that handles pid %r is closed", self, pid)
                    _take_status(pid, transport)
                else:
                    self.call_soon_threadsafe(self._publish_end, pid, transport)
            finally:
                self._watches.discard(_engine.current())

        def _publish_end(self, pid: int, transport: Any) -> None:
            # The status is taken only here: until the transport knows, its signals go to a number that is the child's.
            transport._process_exited(_take_status(pid, transport))


def _take_status(pid: int, transport: Any) -> int:
    """The status of a child process that has ended, as Popen's ``returncode``."""
    try:
        # The function that the module has now: programs put others there.
        return _std_os.waitstatus_to_exitcode(_std_os.waitpid(pid, _std_os.WNOHANG)[1])
    except ChildProcessError:
        # Somebody else has taken its status; where that was its own `Popen`, that knows.
        known: int | None = transport._proc and transport._proc.returncode
        if known is None:
            _logger.warning("Unknown child process pid %d, will report returncode 255", pid)
            return 255
        return known


def _watcher_of_the_program() -> Any:
    """The child watcher that the program has set, up to Python 3.13, unless it does what our loop does better.

    One that handles SIGCHLD may take the status of every child of the process: then it is to be asked.
    """
    if sys.version_info >= (3, 14):
        return None
    watcher = getattr(_asyncio.get_event_loop_policy(), "_watcher", None)
    same = (_asyncio.ThreadedChildWatcher, _asyncio.PidfdChildWatcher)
    return None if isinstance(watcher, same) else watcher


class Handle(_asyncio.Handle):
    """asyncio's, but that its ``cancel`` is native."""

    __slots__ = ()


class TimerHandle(_asyncio.TimerHandle):
    """The same of a timer."""

    __slots__ = ()


_CallOfAnotherThread: Any = getattr(_events, "_ThreadSafeHandle", _asyncio.Handle)


class _ThreadSafeHandle(_CallOfAnotherThread):  # type: ignore[misc]
    """asyncio's of a call that another thread asks for, from Python 3.14 on; without a lock (see `shared.rs`)."""

    __slots__ = ()
    _loop: EventLoop

    def cancel(self) -> None:
        # In this order: what has not begun by then does not begin.
        _asyncio.Handle.cancel(self)
        self._loop._await_call(self)

    def cancelled(self) -> bool:
        self._loop._await_call(self)
        return _asyncio.Handle.cancelled(self)

    def _run(self) -> None:
        self._loop._call_shared(self, _asyncio.Handle._run)


_CALLBACK_SAYS_WHETHER_DEBUG = "debug" in _signature(_format_helpers._format_callback_source).parameters

_engine.install_loop(EventLoop, Handle, TimerHandle, _ThreadSafeHandle)


def new_event_loop() -> EventLoop:
    """Make a loop, as :func:`asyncio.new_event_loop`: it is to be run in a tasklet of any thread, and closed."""
    return EventLoop()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run a coroutine in a loop of its own, as :func:`asyncio.run`: the calling tasklet alone waits for it.

    A cancel of the calling tasklet cancels the loop's tasks, and waits for their ends.

    Raises:
        RuntimeError: the calling tasklet runs a loop already.
    """
    if _events._get_running_loop() is not None:
        raise RuntimeError("overlapped.asyncio.run() cannot be called from a running event loop")
    with _asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
