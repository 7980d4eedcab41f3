"""A user's program that says every public name of `overlapped.stackless` and what came with it: checked, never run."""

from __future__ import annotations

import contextvars
import types

from overlapped import stackless
from overlapped.stackless import stacklessfile, stacklesssocket


class Named(stackless.tasklet):
    """As programs derive from it."""


def told(before: stackless.tasklet | None, after: stackless.tasklet | None) -> None:
    print(before, after)


def acted(where: stackless.channel[int], who: stackless.tasklet, sending: bool, willblock: bool) -> None:
    print(where, who, sending, willblock)


def failed(kind: type[BaseException], value: BaseException, traceback: types.TracebackType | None) -> None:
    print(kind, value, traceback)


def channels(numbers: stackless.channel[int]) -> int:
    numbers.send(1)
    numbers.send_exception(ValueError, "sent")
    numbers.send_throw(ValueError, "thrown", None)
    numbers.throw(ValueError("thrown"))
    count: int = numbers.send_sequence([1, 2]) + numbers.balance
    numbers.preference, numbers.schedule_all = 1, True
    waits: stackless.tasklet | None = numbers.queue
    if not numbers.closing and not numbers.closed:
        numbers.close()
        numbers.open()
    print(waits)
    return count + numbers.receive() + sum(numbers)


def tasklets(numbers: stackless.channel[int]) -> None:
    named: Named = Named(numbers.send)(1)
    one: stackless.tasklet = stackless.tasklet().bind(numbers.send, (1,), {}).setup(1).insert().remove()
    one.run()
    one.switch()
    one.raise_exception(ValueError, "raised")
    one.throw(ValueError, pending=True)
    one.kill(pending=True)
    one.bind_thread(None)
    one.block_trap = one.set_atomic(True) or one.set_ignore_nesting(False)
    one.tempval = 3
    flags: list[bool] = [one.alive, one.blocked, one.scheduled, one.paused, one.restorable, one.is_main, one.is_current]
    flags += [one.atomic, one.ignore_nesting]
    sizes: list[int] = [one.thread_id, one.nesting_level, one.recursion_depth, one.context_id]
    beside: list[stackless.tasklet | None] = [one.next, one.prev]
    frame: types.FrameType | None = one.frame
    quotient: int = one.set_context(contextvars.copy_context()).context_run(divmod, 7, 2)[0]
    one.trace_function = one.profile_function = None
    print(named, flags, sizes, beside, frame, quotient)


def module() -> None:
    before = stackless.set_schedule_callback(told) or stackless.get_schedule_callback()
    then = stackless.set_channel_callback(acted) or stackless.get_channel_callback()
    stackless.set_error_handler(failed)
    me: stackless.tasklet = stackless.schedule() or stackless.schedule_remove() or stackless.current or stackless.main
    victim: stackless.tasklet | None = stackless.run(0.5, totaltimeout=True)
    count: int = stackless.runcount + stackless.getruncount() + stackless.getcurrentid() + stackless.switch_trap()
    threads: list[int] = stackless.threads + stackless.getthreads()
    main, running, ready = stackless.get_thread_info()
    count += ready
    with stackless.atomic():
        stackless.getmain().kill()
    try:
        stackless.getcurrent().throw(stackless.TaskletExit)
    except SystemExit:
        stackless.pose()
    flags: int = stackless.pickle_flags(stackless.PICKLEFLAGS_PICKLE_CONTEXT) | stackless.pickle_flags_default()
    flags |= stackless.PICKLEFLAGS_PRESERVE_AG_FINALIZER | stackless.PICKLEFLAGS_RESET_AG_FINALIZER
    flags |= stackless.PICKLEFLAGS_PRESERVE_TRACING_STATE
    is_debug: bool = stackless.debug or stackless.getdebug() or stackless.pickle_with_tracing_state
    is_debug = is_debug or stackless.enable_softswitch(True)
    left: list[stackless.tasklet] = [*stackless.uncollectables, *stackless.getuncollectables()]
    itself: types.ModuleType = stackless.stackless
    print(before, then, me, victim, count, threads, main, running, flags, is_debug, left, itself)


def what_came_with_it() -> None:
    stacklesssocket.install(0.05)
    stacklesssocket.StartManager()
    stacklesssocket.pump()
    stacklesssocket.StopManager()
    stacklesssocket.make_blocking_socket().close()
    stacklesssocket.ready_to_schedule(stacklesssocket.can_timeout())
    stacklesssocket.uninstall()
    with stacklessfile.stacklessfile("name") as file:
        text: str = file.read()
    print(text)
