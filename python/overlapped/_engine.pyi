"""The native part of the package: tasklets, what they meet at, and the methods of sockets and files.

Private to :mod:`overlapped`, which exports what users see. Times are seconds. Whatever waits here blocks the calling
tasklet alone, and ends early with the exception that another tasklet throws into it.
"""

import io
import socket as _socket
import sys
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from types import FrameType, GenericAlias, TracebackType
from typing import Any, Generic, Literal, ParamSpec, Self, TypedDict, TypeVar, TypeVarTuple, final

from typing_extensions import Buffer, disjoint_base

_P = ParamSpec("_P")
_R = TypeVar("_R")
_R_co = TypeVar("_R_co", covariant=True)
_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

class _Status(TypedDict):
    """One tasklet as :func:`tasklets` lists it."""

    number: int
    name: str | None
    waits_for: str
    """An operation's name, ``"channel receive"``, ``"sleep"``, …; ``"ready"`` or ``"running"``."""
    since: float

class TaskletExit(BaseException):
    """Ends a tasklet silently: raised in it by :meth:`Tasklet.cancel`."""

@final
class Tasklet(Generic[_R_co]):
    """A function that runs beside others on one thread, and alone waits where it blocks. Made by :func:`spawn`."""

    name: str
    """For listings and tracebacks."""
    _preemptible: bool
    """Whether its turn may be ended where it computes: as a thread's is, or by a timed run of Stackless's."""
    __dict__: dict[str, Any]

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, whatever it returned or raised; at most ``timeout`` seconds: ``alive`` tells."""

    def result(self, timeout: float | None = None) -> _R_co:
        """Wait for its end; return what it returned or raise what it raised.

        Raises:
            TimeoutError: it has not ended after ``timeout`` seconds.
        """

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for its end; return what it raised, or None.

        Raises:
            TimeoutError: it has not ended after ``timeout`` seconds.
        """

    def cancel(self) -> None:
        """End it: raise :class:`TaskletExit` where it waits, now or next. One that has not begun never does.

        That is a level, and not an event: however often it is caught, every further wait of the tasklet raises it again
        until it has ended. Only what runs because it was raised (an ``except``, a ``finally``, an ``__exit__``) may
        wait, within the cleanup limit (see :func:`configure`), and what :class:`uncancellable` encloses; code that runs
        when such a block has been left may not. The main tasklet, which does not end so, is told once. Does not wait.
        """

    def throw(self, exception: BaseException | type[BaseException]) -> None:
        """Raise ``exception`` where it waits, now or next: once, whatever the tasklet makes of it.

        Raises:
            TypeError: ``exception`` is neither an exception nor a type that makes one without arguments.
        """

    def __await__(self) -> Generator[Any, None, _R_co]:
        """In a coroutine, wait for its end; return what it returned or raise what it raised.

        A cancel of the coroutine cancels it, and waits for its end. It may be another thread's.

        Raises:
            asyncio.CancelledError: it was cancelled.
        """

    def _watch(self, watcher: Callable[[Tasklet[Any]], object]) -> int:
        """Have ``watcher(tasklet)`` called when it has ended: at once where it has. It is not to wait."""

    def _unwatch(self, number: int) -> None:
        """Take a watcher back, by the number that :meth:`_watch` returned, if it was not called yet."""

    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...

@final
class Alarm:
    """A timer: after ``seconds`` every wait of the tasklet that made it raises ``exception``, until it is taken back.

    ``None`` is no time: it goes off when it is rung.
    """

    def __new__(cls, seconds: float | None, exception: BaseException) -> Alarm: ...
    def set(self, seconds: float | None) -> None:
        """Have it go off after ``seconds`` from now instead. What has gone off has."""

    def ring(self) -> None:
        """Have it go off now, from any thread."""

    def clear(self) -> bool:
        """Take it back, also where it has gone off; return whether a wait was told."""

@final
class uncancellable:
    """A ``with`` statement whose waits are not told of a cancel, or that the time of a :class:`timeout` round it is up.

    For cleanup that has to wait. Once the cleanup limit (see :func:`configure`) has passed since, they are told
    nevertheless. A :class:`timeout` inside of it counts as ever. It nests::

        with overlapped.uncancellable():
            connection.sendall(goodbye)

    Raises:
        RuntimeError: it is left by another tasklet than it was entered by.
    """

    def __new__(cls) -> uncancellable: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

@disjoint_base
class Channel(Generic[_T]):
    """A rendezvous between tasklets: a send waits for a receiver and a receive for a sender."""

    preference: int
    """Who runs on when two have met: -1 the receiver (as it starts), 1 the sender, 0 whoever came second."""

    def __new__(cls, *, as_stackless: bool = False) -> Self:
        """``as_stackless``: who needs not wait goes on, however often that is so; else others run now and then. What is
        thrown into one that has met somebody is raised when it runs; else its next wait raises it.
        """

    @property
    def balance(self) -> int:
        """How many wait: senders as a positive number, receivers as a negative one."""

    @property
    def closing(self) -> bool:
        """Whether :meth:`close` was called."""

    @property
    def closed(self) -> bool:
        """Whether it was closed and nobody waits any more."""

    def send(self, value: _T, timeout: float | None = None) -> None:
        """Give ``value`` to a receiver, waiting for one at most ``timeout`` seconds.

        Raises:
            ValueError: the channel is closed.
            TimeoutError: none has come in time; the value was not sent.
            RuntimeError: every tasklet of the program would wait for another.
        """

    def send_exception(self, exception: Callable[..., BaseException], *args: Any) -> None:
        """Raise ``exception(*args)`` in a receiver, waiting for one."""

    def throw(self, exception: BaseException) -> None:
        """Raise an exception that there is already, with its traceback, in a receiver, waiting for one."""

    def receive(self, timeout: float | None = None) -> _T:
        """Take a value from a sender, waiting for one at most ``timeout`` seconds; raise what it sent as an exception.

        Raises:
            ValueError: the channel is closed.
            TimeoutError: none has come in time; none was taken.
            RuntimeError: every tasklet of the program would wait for another.
        """

    def close(self) -> None:
        """Let nobody wait on it from now on. Those that wait already stay, and can still be met."""

    def open(self) -> None:
        """Undo :meth:`close`."""

    def __iter__(self) -> Iterator[_T]: ...
    def __next__(self) -> _T:
        """Receive, until the channel is closed and nobody waits."""

    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...

@final
class Event:
    """A flag that tasklets, of any thread, wait for."""

    def __new__(cls) -> Event: ...
    def is_set(self) -> bool:
        """Whether it is set."""

    def set(self) -> None:
        """Set it: all that wait go on."""

    def clear(self) -> None:
        """Take it back."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most ``timeout`` seconds; return whether it was."""

    def _wait_as(self, waits_for: str, timeout: float | None = None) -> bool: ...

@final
class Semaphore:
    """A counter that tasklets, of any thread, take from and wait for. Those that wait are served in order."""

    def __new__(cls, value: int = 1) -> Semaphore: ...
    @property
    def value(self) -> int:
        """How many can be taken without waiting."""

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take one, waiting at most ``timeout`` seconds; return whether one was taken."""

    def _acquire_as(self, waits_for: str, blocking: bool = True, timeout: float | None = None) -> bool: ...
    def release(self, n: int = 1) -> None:
        """Give ``n`` back."""

    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

@final
class Lock:
    """As :class:`threading.Lock`, and it blocks a tasklet, not the thread; between threads it works as well."""

    def __new__(cls) -> Lock: ...
    def acquire(self, blocking: bool = True, timeout: float = ...) -> bool:
        """Take it, waiting at most ``timeout`` seconds (-1: without end); return whether it was taken."""

    def release(self) -> None:
        """Release it; any tasklet may.

        Raises:
            RuntimeError: it is not held.
        """

    def locked(self) -> bool:
        """Whether it is held."""

    def acquire_lock(self, blocking: bool = True, timeout: float = ...) -> bool: ...
    def release_lock(self) -> None: ...
    def locked_lock(self) -> bool: ...
    def _release_save(self) -> None: ...
    def _acquire_restore(self, _saved: None = None) -> None: ...
    def _at_fork_reinit(self) -> None: ...
    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

@disjoint_base
class RLock:
    """As :class:`threading.RLock`; the holder is a tasklet."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> RLock: ...
    def acquire(self, blocking: bool = True, timeout: float = ...) -> bool:
        """Take it, once more where the caller holds it, waiting at most ``timeout`` seconds (-1: without end)."""

    def release(self) -> None:
        """Release it once.

        Raises:
            RuntimeError: the caller does not hold it.
        """

    def locked(self) -> bool:
        """Whether anybody holds it."""

    def _is_owned(self) -> bool: ...
    def _recursion_count(self) -> int: ...
    def _release_save(self) -> int: ...
    def _acquire_restore(self, count: int) -> None: ...
    def _at_fork_reinit(self) -> None: ...
    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

@disjoint_base
class SimpleQueue(Generic[_T]):
    """As :class:`queue.SimpleQueue`: ``get`` blocks a tasklet, not the thread, and ``put`` never waits."""

    def __new__(cls) -> SimpleQueue[_T]: ...
    def put(self, item: _T, block: bool = True, timeout: float | None = None) -> None: ...
    def put_nowait(self, item: _T) -> None: ...
    def get(self, block: bool = True, timeout: float | None = None) -> _T: ...
    def get_nowait(self) -> _T: ...
    def empty(self) -> bool: ...
    def qsize(self) -> int: ...
    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...

@disjoint_base
class _local:
    """As :class:`threading.local`: attributes that each tasklet, and each thread, has for itself."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _local: ...
    def __getattribute__(self, name: str, /) -> Any: ...
    def __setattr__(self, name: str, value: Any, /) -> None: ...
    def __delattr__(self, name: str, /) -> None: ...

@final
class Preemption:
    """The signal handler that has a thread give way where it has computed for long: see :func:`preempt`.

    ``ours`` and ``standard`` are how the names of the files of this package and of the standard library begin: in the
    code of the first, and in what that has just called of the second, nobody gives way.
    """

    def __new__(cls, ours: str, standard: str) -> Preemption: ...
    def __call__(self, number: int, frame: FrameType | None) -> None: ...

def preempt(interval: float | None) -> None:
    """Have threads that are tasklets preempted after ``interval`` seconds of CPU time from now on; None: no longer."""

def preempt_by(number: int) -> None:
    """Say by which signal: its handler is a :class:`Preemption`. From then on timed runs stop those that compute."""

def while_nobody_asks(function: Callable[..., _R], *args: Any) -> _R:
    """Call a function, on the main thread, while nobody is asked to give way."""

@final
class no_preempt:
    """A block in which the thread that runs it is not preempted: others run where it waits, and nowhere else.

    Of use under :mod:`overlapped.monkey` alone, where threads are tasklets and give way, as threads do, when they have
    computed for :func:`sys.getswitchinterval`. Tasklets of :func:`spawn` never do. Blocks nest::

        with overlapped.no_preempt():
            balance = account.balance      # nobody comes in between
            account.balance = balance - amount

    Raises:
        RuntimeError: it is left by another tasklet than the one that entered it.
    """

    def __new__(cls) -> no_preempt: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_args: object) -> None: ...

@final
class MainHandler:
    """A signal handler around another that runs that one in the main tasklet, and raises there what it raises."""

    def __new__(cls, handler: Callable[[int, FrameType | None], object]) -> MainHandler: ...
    @property
    def handler(self) -> Callable[[int, FrameType | None], object]:
        """The handler within."""

    def __call__(self, number: int, frame: FrameType | None) -> None: ...

def spawn(function: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> Tasklet[_R]:
    """Start ``function(*args, **kwargs)`` in a tasklet. It runs when the calling one first waits.

    All keywords are the function's, ``name`` too. The tasklet has its name before it begins all the same::

        overlapped.spawn(read, connection).name = "reader"

    It has a copy of the context (:mod:`contextvars`) in which it was started. The end of the program, or of the thread,
    does not wait for what it waits for, but ends it as :meth:`Tasklet.cancel` does, with its ``finally``, within a time
    limit (see :func:`configure`); :func:`run` waits for all.
    """

def spawn_member(function: Callable[[*_Ts], _R], args: tuple[*_Ts], name: str | None = None) -> Tasklet[_R]:
    """Start ``function(*args)`` in a tasklet whose failure is that of somebody who watches it: it is not shown."""

def first_of(
    branches: Sequence[Channel[Any] | tuple[Channel[Any], Any] | tuple[int, int] | Event | Semaphore | float],
    of_anybody: bool = True,
) -> tuple[int, Any]:
    """Wait for the first of these: a channel's value, an event, one of a semaphore, so many seconds.

    A pair is a channel and what it sends, or a descriptor and what it is to be ready for: 1 readable, 2 writable.
    Return its place, and what came. Nothing is taken from the others, or sent. ``of_anybody``: others than tasklets may
    bring one of these.
    """

def configure(*, threads: int | None = None, thread_stack: int | None = None, cleanup: float | None = None) -> None:
    """Choose for the completion ports of threads that have none yet; call it first of all.

    ``threads`` is how many calls of a kind block at once (8 unless told): functions that are offloaded, and the
    package's own short ones, which do not wait for those. ``thread_stack`` is the stack of these threads, in bytes;
    unless told it is what :func:`threading.stack_size` says when the port is made, and else what the system gives
    Python's threads. ``cleanup`` is how many seconds the end of a thread, and of the program, waits for tasklets to
    end (1 unless told), and how many a tasklet that was cancelled, or whose time is up, may wait to clean up before
    its waits there are cancelled too (5 unless told).

    How many operations are in flight has no limit but memory.

    Raises:
        RuntimeError: the calling thread has its port already, for which it is too late; ``cleanup`` can always be set.
        ValueError: 0, or a time that is none.
    """

def current() -> Tasklet[Any]:
    """The tasklet that runs."""

def sleep(seconds: float = 0.0) -> None:
    """Let ``seconds`` pass. 0 lets the others run."""

def run(timeout: float | None = None) -> None:
    """Let the other tasklets run: until they have ended, or for at most ``timeout`` seconds.

    Raises:
        RuntimeError: called by another than the main tasklet.
    """

def offload(function: Callable[[*_Ts], _R], *args: *_Ts) -> _R:
    """Run ``function(*args)`` on a thread of the port's pool. Some of these run at once, the others wait in line."""

def offload_short(function: Callable[[*_Ts], _R], *args: *_Ts) -> _R:
    """The same for what ends by itself, soon: it waits for no other function."""

def offload_endless(function: Callable[[*_Ts], _R], *args: *_Ts) -> _R:
    """The same for what may wait without end: it has a thread at once, and holds back no other function."""

def tasklets() -> list[_Status]:
    """Every tasklet of this thread that has not ended, the main one first."""

def explain() -> str:
    """Every thread that has tasklets, as text: what each waits for, since when and where, and what its port has done.

    From any thread and at any time, also while a tasklet holds its thread. To have it on demand::

        signal.signal(signal.SIGUSR1, lambda *_: print(overlapped.explain(), file=sys.stderr))
    """

def is_alone() -> bool:
    """Whether this thread has no tasklet but the one that calls."""

def watch_threads(limit: float) -> None:
    """Have threads that are tasklets watched from when the first begins: warn of those that hold up others."""

def watch(limit: float | None = 0.1, tell: Callable[[float, str | None], object] | None = None) -> None:
    """Warn on standard error when a tasklet of this thread has held it for longer than ``limit`` seconds.

    The warning names the tasklet and shows its stack: all others stand still meanwhile. Unless asked for it is off, for
    it takes a thread of its own, which wakes four times within the limit; ``None`` ends it. The environment variable
    ``OVERLAPPED_WATCH`` sets a limit, in seconds, for every thread that has tasklets.

    With ``tell`` nothing is printed: ``tell(seconds, stack)`` is called on another thread, and ``tell(seconds, None)``
    when the tasklet has let go.
    """

def backend() -> str:
    """The backend under this thread's port: ``"uring"``, ``"poll"``, ``"iocp"``."""

def report() -> str:
    """What this thread's port is, why not a better one, what it did and what is in flight: some lines of text."""

def in_flight() -> int:
    """How many operations this thread's port has in flight."""

def own_descriptors() -> list[int]:
    """The descriptors of the ports of all threads: not the program's to close."""

def _current_frames() -> dict[int, FrameType]:
    """The innermost frame of each thread, by its identifier; a tasklet is one, too."""

def _current_exceptions() -> dict[int, Any]:
    """The exception that each thread is handling, by its identifier; a tasklet is one, too."""

def _settraceallthreads(hook: Any, /) -> None:
    """Set the trace function of all threads and tasklets."""

def _setprofileallthreads(hook: Any, /) -> None:
    """Set the profile function of all threads and tasklets."""

if sys.platform == "win32":
    class Tree:
        """A job that a child is in, with all that it starts."""

        def kill(self) -> None:
            """End all that is in it."""

    def tie_and_resume(process: int, thread: int, tree: bool, with_parent: bool) -> Tree:
        """Put a child that has begun suspended into jobs, and let its thread go on; both by their handles."""

    def read_handle(handle: int, buffer: Buffer) -> int:
        """Read from a pipe into a buffer; return how many bytes, 0 where its other end is closed."""

    def write_handle(handle: int, data: Buffer) -> int:
        """Write to a pipe; return how many bytes it took."""

    def await_handle(handle: int) -> None:
        """Wait until a handle is signalled, as a process's is at its end."""

else:
    def end_with_parent(parent: int) -> None:
        """Have this process, which was just forked off ``parent``, end when the thread that has forked does (Linux)."""

def after_fork_in_child() -> None:
    """Go on as the main tasklet of a new process, on a port of its own."""

def end_program() -> None:
    """Leave what is in flight to the kernel: the process ends."""

def program_ends() -> bool:
    """Whether nothing can wait on the port any more."""

def install_socket(cls: type[_socket.socket]) -> None:
    """Put the native ``recv``, ``recv_into``, ``send`` and ``sendall`` on a subclass of :class:`socket.socket`."""

@final
class Whole:
    """The locks of one buffer or text file; of two where what is read and what is written are two streams."""

    def __new__(cls, two_streams: bool = False) -> Whole: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_error: Any) -> None: ...

def install_whole(cls: type[Any], sample: Any, leave: list[str] = ...) -> None:
    """Make the methods whole that a subclass of the type of ``sample`` has from it, but for those to leave."""

def install_file(cls: type[io.FileIO]) -> None:
    """Put the native ``read``, ``readinto``, ``readall`` and ``write`` on a subclass of :class:`io.FileIO`."""

def retry(method: Callable[..., _R], socket: _socket.socket, writable: bool, flags: int, *args: Any) -> _R:
    """Call ``method(socket, *args)`` until it would not block, waiting between for the socket to be ready.

    With ``flags`` that say not to wait, call it once.
    """

def call_without_waiting(socket: _socket.socket, method: Callable[..., _R], *args: Any) -> _R:
    """Call ``method(*args)`` while ``socket`` passes for one in non-blocking mode."""

def accept(listener: int, timeout: float | None) -> tuple[int, Any]:
    """Take a connection off a listening descriptor; return its descriptor and the peer's address, None if unknown."""

def connect(socket: int, address: bytes, timeout: float | None) -> None:
    """Connect a descriptor to a ``sockaddr``."""

def port_receives(socket: _socket.socket, flags: int) -> bool:
    """Whether a receive with an address is the port's: it may wait, and its addresses are known."""

_ControlData = list[tuple[int, int, bytes]]

def receive_message(socket: _socket.socket, size: int, room: int, flags: int) -> tuple[bytes, _ControlData, int, Any]:
    """Receive up to ``size`` bytes, and up to ``room`` of control data: ``(data, ancdata, msg_flags, address)``."""

def receive_message_into(
    socket: _socket.socket, buffers: Sequence[Buffer], room: int, flags: int
) -> tuple[int, _ControlData, int, Any]:
    """Receive into writable buffers, in order: ``(nbytes, ancdata, msg_flags, address)``."""

def shutdown(socket: int, how: int) -> None:
    """Shut directions of a connection down: 0 receives, 1 sends, 2 both; what waits for them ends."""

def wait(descriptor: int, interest: int, timeout: float | None = None) -> int:
    """Wait until a descriptor is ready: 1 readable, 2 writable, 4 urgent; return these bits, 8 error and 16 hang-up."""

def cancel_socket(socket: int) -> None:
    """End what is in flight on a descriptor that is about to be closed, and wait until that has ended."""

def numeric_address(host: str, port: int, flowinfo: int = 0, scope: int = 0) -> bytes | None:
    """The ``sockaddr`` of a numeric host; None where it is a name."""

def open(path: bytes, flags: int, name: object) -> int:
    """Open a file; return its descriptor. An error has ``name`` as its ``filename``."""

def read_at(descriptor: int, size: int, offset: int) -> bytes | None:
    """Read at most ``size`` bytes at ``offset``; None where the descriptor does not allow it."""

def cancel_file(descriptor: int) -> None:
    """End what is in flight on a descriptor that is about to be closed, and wait until that has ended."""

def fsync(descriptor: int) -> None:
    """Wait until the file's data has reached the device."""

def wait_any(descriptors: list[tuple[int, int]], timeout: float | None = None) -> bool:
    """Wait until one of several descriptors, each with its interest as for :func:`wait`, is ready or has an error.

    False where ``timeout`` seconds were up.
    """

@final
class Receiving:
    """What a transport receives."""

    buffered: bool
    """Whether the protocol gives the buffer."""
    reader: tuple[weakref.ref[Any], int] | None
    """Of a protocol of one of asyncio's streams: the reference to its reader, and twice that one's limit."""

    def __new__(cls, transport: Any, descriptor: int, source: str) -> Receiving:
        """``source``: ``"stream"``, ``"datagrams"``, ``"pipe"``; something else where the transport reads itself."""

    @property
    def descriptor(self) -> int:
        """The transport's."""

    @property
    def in_flight(self) -> bool:
        """Whether a receive is in flight: then the socket is to stay open."""

    def begin(self) -> None:
        """Say that the transport reads: its protocol is told in a copy of the current context."""

    def end(self) -> None:
        """Say that it reads no more: what comes all the same is kept."""

    def tell_end(self) -> None:
        """Tell the protocol of the end, where it is next and wanted."""

    def forget(self) -> None:
        """Say that it is closed."""

@disjoint_base
class LoopCore:
    """The base of :class:`overlapped.asyncio.EventLoop`: what is hot in it, under the names of :mod:`asyncio`."""

    _closed: bool
    _debug: bool
    _stopping: bool
    _timer_cancelled_count: int
    _selector: Any
    _ready: Any
    _scheduled: list[Any]

    def __new__(cls, *args: object, **kwargs: object) -> Self: ...
    def _wait_by(self, selector: object, wait: LoopWait) -> None:
        """Say with which selector the loop waits, and how that does."""

    def _run_several(self, several: bool) -> None:
        """Say whether ``_run_once`` makes several turns, until it is said anew."""

    def _call_shared(self, handle: object, run: Callable[[Any], object]) -> None:
        """Do ``run(handle)``, unless the handle is cancelled; another thread may cancel it meanwhile."""

    def _calls(self, handle: object, lock: Any) -> bool:
        """Whether the call of such a handle is being made; then ``lock`` is released at its end."""

def install_loop(event_loop: type, soon: type, timer: type, shared: type) -> None:
    """Put the native methods on the class of our loops, and on those of its handles."""

@final
class LoopWait:
    """What a loop waits with; any thread may wake it."""

    reactor: Reactor | None
    """What the port brings the loop's transports, while it runs."""
    watched: int | None
    """The descriptor that stands for all that are registered."""

    def __new__(cls, watches: bool) -> LoopWait:
        """``watches``: one descriptor stands for all that are registered."""

    @property
    def asleep(self) -> bool:
        """Whether the loop's tasklet waits."""

    def wake(self) -> None:
        """End the wait, or the next one."""

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is woken or something has come, at most ``timeout`` seconds; without, look at the port."""

@final
class Reactor:
    """The receives of a loop's transports, of one run of the loop on this thread."""

    has_come: bool
    """Whether something has come that no protocol was told of."""

    def __new__(cls, wait: LoopWait) -> Reactor: ...
    def start(self, receiving: Receiving) -> None:
        """Have a transport that wants to read do so."""

    def stop(self, receiving: Receiving) -> None:
        """Cancel its receive."""

    def end(self, receiving: Receiving) -> None:
        """Have nothing in flight any more for a transport that is closed."""

    def watch(self, descriptor: int) -> None:
        """Have the loop woken when the descriptor is readable."""

    def take_readable(self) -> bool:
        """Whether it has become so; told once."""

    def deliver(self) -> None:
        """Tell the protocols what has come."""

    def poll(self) -> None:
        """Look at the port, without a wait."""

    def rest(self) -> None:
        """End all receives, and wait until nothing is in flight."""

def install_transport(transport: type) -> None:
    """Put the native ``write`` on the class."""

def install_datagram_transport(transport: type) -> None:
    """Put the native ``sendto`` on the class."""

def install_pipe_transport(transport: type) -> None:
    """Put the native ``write`` on the class of those that write to pipes; Unix only."""

def give_way() -> None:
    """Say that something was answered without a wait: after some times in a row, the others run."""

def keep_loops_apart(
    get: Callable[[], object], set: Callable[[object], None], swap_task: Callable[..., object] | None = None
) -> None:
    """Give each tasklet a running loop of its own, by asyncio's functions that get and set that of the thread."""

def read_descriptor(descriptor: int, size: int) -> bytes | None:
    """Read at most ``size`` bytes; None where :func:`os.read` is to do it, for that will not wait."""

def write_descriptor(descriptor: int, data: Buffer) -> int | None:
    """Write all of ``data``, unless something goes wrong in between; None where :func:`os.write` is to do it."""

def as_builtin(function: _T, like: object) -> _T:
    """Make a function look like a built-in one.

    It is no method of a class that has it as an attribute, and is shown and pickled by the other's name and module.
    """

@final
class Frameless:
    """A function or method that calls in its stead what ``choose`` answers to its arguments.

    That is a function with its arguments and keyword arguments; Python shows no frame between it and the caller.
    """

    def __new__(
        cls, choose: Callable[..., tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]
    ) -> Frameless: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __get__(self, instance: Any, owner: Any = None, /) -> Any: ...

def sleep_as_time(seconds: float, /) -> None:
    """As :func:`sleep`, with the errors of :func:`time.sleep`."""

def get_ident() -> int:
    """The identifier of the tasklet that runs; a thread's main tasklet has that of the thread."""

def start_thread(function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> int:
    """Start ``function(*args, **kwargs)`` in a tasklet with an empty context; return its identifier."""

def thread_of(ident: int) -> int:
    """The identifier of this thread where ``ident`` is that of one of its tasklets; else ``ident``."""

def await_handler() -> int:
    """Wait until a signal's handler has been called; return which signals these were, a bit for each number."""

def signal_descriptor(signals: list[int]) -> int:
    """A descriptor that is readable while one of these signals is pending (signalfd(2)); the caller closes it."""

def on_main_thread() -> bool:
    """Whether the caller is on the thread to which Python gives signals, in whichever of its tasklets."""

def call_at_end(function: Callable[[], object]) -> None:
    """Call ``function()`` when the calling tasklet has ended; never for a thread's main one."""

def begin_thread(
    function: Callable[[_T], object],
    thread: _T,
    active: dict[int, _T],
    note: Callable[[_T, int, int, Lock], object],
) -> None:
    """Start ``function(thread)`` in a tasklet with an empty context, after ``note(thread, identifier, native, lock)``.

    That is its identifier, that of the system's thread, and a lock that is held until it has ended; until then
    ``active[identifier]`` is ``thread``.
    """

def release_at_end(lock: Lock) -> None:
    """Release ``lock``, if it is then held, when the calling tasklet has ended."""

def state(tasklet: Tasklet[Any]) -> Literal["running", "ready", "paused", "waiting", "ended", "elsewhere"]:
    """What a tasklet does; "elsewhere" is another thread's. One in :func:`run_until_idle` is paused."""

def pause(tasklet: Tasklet[Any]) -> bool:
    """Take a tasklet out of the queue of those that are ready; False where it is not in it."""

def resume(tasklet: Tasklet[Any]) -> bool:
    """Put a paused tasklet back, at the end of the queue; False where it is not paused. Ends :func:`run_until_idle`."""

def turn_to(tasklet: Tasklet[Any]) -> bool:
    """Have a tasklet of the queue run next, and those before it after all others; False where it is not in it."""

def go_to(tasklet: Tasklet[Any], pausing: bool = False) -> bool:
    """Go to a tasklet of the queue at once; the caller follows those after it, or is paused. False: not in it."""

def throw_to(tasklet: Tasklet[Any], exception: BaseException) -> None:
    """Raise it in another tasklet of this thread, at once; where the port must let go first, wait until then."""

def give_turn() -> None:
    """Let those that are ready run before the calling tasklet goes on."""

def pause_current() -> None:
    """Wait until the calling tasklet is resumed."""

def ready_count() -> int:
    """How many tasklets are in the queue; the one that runs is not."""

def neighbours(tasklet: Tasklet[Any]) -> tuple[Tasklet[Any], Tasklet[Any]] | None:
    """Who is before a tasklet and who after it, in the ring of those that are ready and the one that runs."""

def main_tasklet() -> Tasklet[Any]:
    """The thread's own tasklet."""

def run_until_idle(timeout: float | None = None, total: bool = False, soft: bool = False) -> Tasklet[Any] | None:
    """Wait until no tasklet is ready and nothing of the thread's own can make one so.

    ``timeout`` seconds, from now where ``total``, else for each tasklet's turn: what ends the wait before, and pauses
    the tasklet that then leaves its turn and could go on. That is returned; not where ``soft``, when none is paused.
    """

def innermost_run() -> Tasklet[Any] | None:
    """The tasklet that waits for this thread to be idle, the innermost where several do."""

def let_port_count(counts: bool) -> bool:
    """Whether a run goes on while somebody waits for the port, as it does at first; return what was so before."""

def poll() -> None:
    """Look at the port, without a wait: whoever waited for what has come is ready then."""

def frame_of(tasklet: Tasklet[Any]) -> FrameType | None:
    """The frame that a tasklet is in, where it has started and does not run."""

def spawn_there(tasklet: Tasklet[Any], function: Callable[..., object], *args: Any) -> bool:
    """Start ``function(*args)`` on the thread that ``tasklet`` is of; False where that has no port any more."""

def on_switch(callback: Callable[[Tasklet[Any] | None, Tasklet[Any]], object] | None) -> None:
    """Have ``callback(before, after)`` called at each switch, in ``after``; ``before`` is None where it has ended."""

def clock() -> float:
    """Seconds since some time in the past, by the clock by which this thread's waits are kept."""

def is_simulated() -> bool:
    """Whether the calling thread is in a simulated world: see :mod:`overlapped.sim`."""

if sys.platform != "win32":
    @final
    class Rules:
        """What a world does beside what its programs do: see :mod:`overlapped.sim`."""

        latency: float
        """The shortest time that bytes are on their way, in seconds."""
        jitter: float
        """How much longer it may be, in seconds."""
        priorities: int
        """Sockets have priorities, drawn at random, and anew once in so many sends: what one of the lowest sends takes
        128 times as long as what one of the highest does. 0: all are equal."""
        window: int
        """How many bytes a stream keeps that were sent and not yet received: more wait at the sender."""
        short: int
        """How often a transfer on a stream moves less than it could."""
        again: int
        """How often a call on a socket that is ready says that it would block (``EAGAIN``)."""
        short_files: int
        """How often a read or write of a file moves less than it could."""
        loss: int
        """How often a datagram is lost."""
        doubled: int
        """How often a datagram comes twice."""
        reset: int
        """How often a send on a stream finds that the connection was reset."""
        refused: int
        """How often a connect is refused although somebody listens."""
        no_descriptors: int
        """How often a new socket, an accept or a duplicate finds no descriptor left (``EMFILE``)."""
        no_buffers: int
        """How often a send finds no memory in the kernel (``ENOBUFS``)."""
        no_names: int
        """How often a look-up of a name fails for now (``EAI_AGAIN``)."""
        slow_names: float
        """How long a look-up of a name takes at most, in seconds."""
        no_disk: int
        """How often a write to a file finds the disk full or broken (``ENOSPC``, ``EIO``), and an fsync fails."""

        def __new__(cls, **changes: float) -> Rules: ...
        @staticmethod
        def steady(**changes: float) -> Rules:
            """Nothing but the order of what happens is decided: for :func:`exhaust`."""

        @staticmethod
        def rough(**changes: float) -> Rules:
            """A bad day: everything fails now and then."""

    def enter_world(origin: str, rules: Rules) -> None:
        """Have the thread be in a simulated world: one that has no tasklets yet."""

    def end_tasklets() -> None:
        """End all tasklets of the thread, and its port.

        Raises:
            RuntimeError: some were cancelled and have not ended.
        """

    def leave_world() -> None:
        """Leave the world, whose tasklets have ended."""

    def world_seen() -> tuple[int, str]:
        """The hash and the decisions so far."""

    def world_time() -> int | None:
        """Nanoseconds since the thread's world began; None where it is in none."""

    def world_keeps_bounds() -> None:
        """Have the world know how else each decision could have gone."""

    def world_other_ways(given: int) -> list[str]:
        """The ways that differ in one decision past the first ``given``, with which they end."""

    def count_decisions(decisions: str) -> int:
        """How many decisions are written there."""

    def world_random(bound: int) -> int:
        """A number below ``bound``, of the world's."""

    def world_bytes(count: int) -> bytes | None:
        """Bytes of the world's; None where the thread is in none."""

    def world_note(seen: int) -> None:
        """Take note of something: it goes into the hash."""

    def set_rules(rules: Rules) -> None:
        """The rules from now on."""

    def set_link(origin: str, to: str, is_down: bool, delay: float, loss: int) -> None:
        """What lies between two addresses from now on, one way."""

    def heal_links() -> None:
        """All links are as they were at the beginning."""

    def set_name(name: str, addresses: list[str]) -> None:
        """Give addresses to a name."""

    def world_addresses(name: str) -> tuple[list[str], bool, float] | None:
        """The addresses of a name, whether that is certain, and after how many seconds; None in no world."""

    def stall(time: float) -> None:
        """Let so many seconds pass in which nobody does anything: the program computes, or the machine sleeps."""

    def shrink_decisions(decisions: str, fails: Callable[[str], bool]) -> None:
        """Call ``fails`` with decisions that are simpler, as long as it says that they fail."""

    def sim_open(family: int, kind: int) -> int | None:
        """A socket's descriptor; None where the thread is in no world, or worlds have none such."""

    def sim_has(fd: int) -> bool:
        """Whether it is a socket of the thread's world."""

    def sim_listens(fd: int) -> bool:
        """SO_ACCEPTCONN."""

    def sim_duplicate(fd: int) -> int:
        """dup(2)."""

    def sim_bind(fd: int, address: bytes) -> None:
        """bind(2)."""

    def sim_listen(fd: int, backlog: int) -> None:
        """listen(2)."""

    def sim_name(fd: int) -> Any:
        """getsockname(2)."""

    def sim_peer(fd: int) -> Any:
        """getpeername(2)."""

    def sim_connect(fd: int, address: bytes) -> None:
        """connect(2), without waiting."""

    def sim_accept(fd: int) -> tuple[int, Any]:
        """accept(2), without waiting."""

    def sim_close(fd: int) -> None:
        """To be called before the descriptor is closed."""

    def sim_shutdown(fd: int, how: int) -> None:
        """shutdown(2)."""

    def sim_take_error(fd: int) -> int:
        """SO_ERROR."""

    def sim_poll(fd: int, events: int) -> int | None:
        """poll(2), without waiting; None of what is no socket of the world."""

    def sim_send(fd: int, buffers: list[Buffer], to: bytes | None) -> int:
        """sendmsg(2), without waiting."""

    def sim_recv(fd: int, size: int, flags: int) -> tuple[bytes, bool, int, Any]:
        """recvmsg(2), without waiting: the bytes, whether there were more, how many, and who has sent them."""
