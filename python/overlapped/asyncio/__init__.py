"""A standard asyncio event loop on the completion port: coroutines beside tasklets, on one thread.

:class:`EventLoop` is :class:`asyncio.SelectorEventLoop` in all but how it waits: where that blocks its thread, ours
blocks the tasklet that runs it, so that the thread's other tasklets (and their loops) run on. Programs choose it as
they choose any loop::

    import overlapped.asyncio

    overlapped.asyncio.run(main())                         # in the place of asyncio.run
    asyncio.Runner(loop_factory=overlapped.asyncio.new_event_loop)
    uvicorn --loop overlapped.asyncio:new_event_loop ...   # or whatever takes a function that makes a loop

The two styles meet where one waits for the other, and cancelling crosses in both directions:

- A coroutine awaits a tasklet: ``await overlapped.spawn(function)`` returns what the function did, or raises what it
  raised. Who cancels the coroutine cancels the tasklet, and waits for its end; a tasklet that was cancelled raises
  :class:`asyncio.CancelledError` in who awaits it.
- A tasklet waits for a coroutine: ``overlapped.asyncio.result_of(session.get(url))``, in a loop that runs on the thread
  anyway, or else in the thread's own, which runs beside the tasklets for as long as it has something to do.

:func:`open` opens files whose reads and writes are awaited, without threads.

The loop is the standard library's own code, on purpose: executors, debug mode and the texts of exceptions are what
programs and their tests look at. A loop written anew was rejected, for it would differ in all that. What is hot is
native under the same names: turns, calls and timers, with real handles in the same containers, and the reading of
transports.

On Windows this is the selector's loop too, with pipes and child processes besides, which there are only in the
proactor's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._both import result_of
from ._files import AsyncFile, open
from ._loop import EventLoop, new_event_loop, run

if TYPE_CHECKING:
    from ._policy import EventLoopPolicy

__all__ = ["AsyncFile", "EventLoop", "EventLoopPolicy", "new_event_loop", "open", "result_of", "run"]


def __getattr__(name: str) -> Any:
    # Python 3.14 warns of whoever touches a policy, and 3.16 has none: only who asks for ours shall meet that.
    if name == "EventLoopPolicy":
        from ._policy import EventLoopPolicy

        return EventLoopPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
