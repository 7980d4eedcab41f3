"""What is native in our loop does what asyncio's own does: calls, timers, handles, turns."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import heapq
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

import overlapped
import overlapped.asyncio
from conftest import needs
from overlapped.asyncio import run


@pytest.fixture
def loop() -> Iterator[Any]:
    loop = overlapped.asyncio.new_event_loop()
    yield loop
    loop.close()


def one_turn(loop: Any) -> None:
    """Run what is ready, and nothing that this asks for."""
    loop.stop()
    loop.run_forever()


class TestHandles:
    def test_they_are_asyncios(self, loop: Any) -> None:
        soon, later, at = loop.call_soon(print), loop.call_later(5, print, 1), loop.call_at(7, print)
        assert [type(handle).__name__ for handle in (soon, later, at)] == ["Handle", "TimerHandle", "TimerHandle"]
        assert isinstance(soon, asyncio.Handle)
        assert isinstance(later, asyncio.TimerHandle)
        assert at.when() == 7
        assert repr(soon) == "<Handle print()>"
        assert repr(later) == repr(asyncio.TimerHandle(later.when(), print, (1,), loop))
        assert at < later

    def test_a_cancelled_one_is_not_called_and_says_so(self, loop: Any) -> None:
        called: list[int] = []
        handles = [
            loop.call_soon(called.append, 1),
            loop.call_later(0, called.append, 2),
            loop.call_soon(called.append, 3),
        ]
        for handle in handles[:2]:
            handle.cancel()
            handle.cancel()
            assert handle.cancelled()
            assert handle._callback is None
            assert handle._args is None
        assert not handles[2].cancelled()
        one_turn(loop)
        assert called == [3]
        assert repr(handles[0]) == "<Handle cancelled>"
        with pytest.raises(TypeError, match=r"cancel\(\) takes no arguments"):
            handles[0].cancel(1)

    def test_one_that_is_held_or_watched_is_never_used_again(self, loop: Any) -> None:
        gone: list[object] = []

        def ask() -> None:
            handle = loop.call_soon(list)
            weak.append(weakref.ref(handle, gone.append))

        weak: list[weakref.ref[Any]] = []
        loop.call_soon(ask)
        held = [loop.call_soon(str, number) for number in range(300)]
        one_turn(loop)
        one_turn(loop)
        assert gone == weak
        later = [loop.call_soon(str, number) for number in range(300, 900)]
        assert len({id(handle) for handle in held + later}) == 900
        assert [handle._args for handle in held] == [(number,) for number in range(300)]

    def test_one_that_is_used_again_keeps_nothing_of_its_last_call(self, loop: Any) -> None:
        class Thing:
            pass

        things = [Thing() for _ in range(3)]
        weak = [weakref.ref(thing) for thing in things]
        context = contextvars.copy_context()
        loop.call_soon(id, things.pop(), context=context)
        loop.call_later(0, id, things.pop())
        loop.call_soon(lambda thing: None, things.pop())
        one_turn(loop)
        assert [thing() for thing in weak] == [None] * 3
        handles = [loop.call_soon(str), loop.call_later(0, str)]
        for handle in handles:
            assert handle._args == ()
            assert handle._context is not context
            assert not handle.cancelled()
            assert handle._loop is loop

    def test_those_that_wait_to_be_used_are_not_seen_by_the_collector(self, loop: Any) -> None:
        for _ in range(50):
            loop.call_soon(int)
            loop.call_later(0, int)
        one_turn(loop)
        one_turn(loop)
        assert not [each for each in gc.get_objects() if isinstance(each, asyncio.Handle) and each._loop is loop]

    def test_a_loop_in_a_cycle_with_its_handles_is_collected(self) -> None:
        def make() -> weakref.ref[Any]:
            loop = overlapped.asyncio.new_event_loop()
            loop.call_soon(lambda: loop)
            loop.call_later(1000, lambda: loop)
            loop._ready.append(loop.call_soon(print))
            loop._closed = True
            return weakref.ref(loop)

        weak = make()
        gc.collect()
        assert weak() is None

    def test_a_handle_of_another_class_runs_by_its_own_run(self, loop: Any) -> None:
        ran: list[object] = []

        class Mine(asyncio.Handle):
            def _run(self) -> None:
                ran.append(self)

        mine, plain, timer = (
            kind(*more, ran.append, ("called",), loop)
            for kind, *more in ((Mine,), (asyncio.Handle,), (asyncio.TimerHandle, 0))
        )
        for handle in (mine, plain, timer):
            loop._ready.append(handle)
        one_turn(loop)
        assert ran == [mine, "called", "called"]

    def test_a_patched_run_is_honoured(self, loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[object] = []
        original = asyncio.Handle._run  # type: ignore[attr-defined]

        def run(handle: asyncio.Handle) -> None:
            seen.append(handle)
            original(handle)

        monkeypatch.setattr(asyncio.Handle, "_run", run)
        handle = loop.call_soon(seen.append, "called")
        one_turn(loop)
        assert seen == [handle, "called"]


class TestCalls:
    def test_they_are_made_in_order_each_turn_those_that_were_asked_for_before(self, loop: Any) -> None:
        calls: list[object] = []

        def first() -> None:
            calls.append("first")
            loop.call_soon(calls.append, "next turn")

        loop.call_soon(first)
        loop.call_soon(calls.append, "second")
        one_turn(loop)
        assert calls == ["first", "second"]
        one_turn(loop)
        assert calls == ["first", "second", "next turn"]

    def test_arguments_and_context_go_through(self, loop: Any) -> None:
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
        variable.set("asked")
        given = contextvars.copy_context()
        given.run(variable.set, "given")
        seen: list[object] = []

        def note(*args: object) -> None:
            seen.append((args, variable.get()))
            variable.set("changed")

        loop.call_soon(note)
        loop.call_soon(note, 1, "two", context=given)
        loop.call_soon(note, None, context=None)
        variable.set("later")
        loop.call_soon(callback=note)
        one_turn(loop)
        assert seen == [((), "asked"), ((1, "two"), "given"), ((None,), "asked"), ((), "later")]
        assert given[variable] == "changed"
        assert variable.get() == "later"

    def test_errors_are_asyncios(self, loop: Any) -> None:
        plain = asyncio.SelectorEventLoop()

        def error(call: Any, *args: Any, **named: Any) -> str:
            with pytest.raises(TypeError) as raised:
                call(*args, **named)
            return str(raised.value)

        try:
            for name, args, named in (
                ("call_soon", (), {}),
                ("call_soon", (print,), {"other": 1}),
                ("call_later", (1,), {}),
                ("call_later", (None, print), {}),
                ("call_later", ("1", print), {}),
                ("call_at", (None, print), {}),
                ("call_at", (), {"context": None}),
            ):
                ours = error(getattr(loop, name), *args, **named)
                assert ours == error(getattr(plain, name), *args, **named), name
        finally:
            plain.close()
        loop.close()
        for call, *args in ((loop.call_soon, print), (loop.call_later, 1, print), (loop.call_at, 1, print)):
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                call(*args)

    def test_what_a_callback_raises_goes_to_the_exception_handler(self, loop: Any) -> None:
        told: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: told.append(context))
        handle = loop.call_soon(int, "no number")
        loop.call_soon(loop.stop)
        loop.run_forever()
        (message,) = [context["message"] for context in told]
        # Since Python 3.14 the arguments are left out.
        assert message in ("Exception in callback int('no number')", "Exception in callback int()")
        assert isinstance(told[0]["exception"], ValueError)
        assert told[0]["handle"] is handle

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    def test_what_ends_the_program_ends_the_turn_and_the_rest_is_for_the_next(
        self, loop: Any, error: type[BaseException]
    ) -> None:
        def end() -> None:
            raise error

        called: list[int] = []
        loop.call_soon(end)
        loop.call_soon(called.append, 1)
        with pytest.raises(error):
            loop.run_forever()
        assert not called
        one_turn(loop)
        assert called == [1]

    def test_a_context_that_is_entered_already_is_an_error_of_that_call(
        self, loop: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        called: list[int] = []
        context = contextvars.copy_context()
        loop.call_soon(called.append, 1, context=context)
        loop.call_soon(called.append, 2)
        with caplog.at_level(logging.ERROR):
            context.run(one_turn, loop)
        assert called == [2]
        assert "is already entered" in caplog.text

    def test_a_callback_may_block_its_loops_tasklet_and_another_give_it_calls(self, loop: Any) -> None:
        order: list[str] = []

        def block() -> None:
            overlapped.sleep(0.002)
            order.append("blocked")

        other = overlapped.spawn(lambda: loop.call_soon(order.append, "other's"))
        loop.call_soon(block)
        loop.call_soon(order.append, "next")
        one_turn(loop)
        other.join()
        one_turn(loop)
        assert order == ["blocked", "next", "other's"]

    def test_another_threads_calls_come_in_order_and_can_be_cancelled(self, loop: Any) -> None:
        called: list[int] = []

        def ask() -> None:
            handles = [loop.call_soon_threadsafe(called.append, number) for number in range(100)]
            handles[50].cancel()
            assert handles[50].cancelled()
            loop.call_soon_threadsafe(loop.stop)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        loop.run_forever()
        assert called == [number for number in range(100) if number != 50]

    def test_cancelling_another_threads_call_waits_while_it_runs(self, loop: Any) -> None:
        """As 3.14 asks of what ``call_soon_threadsafe`` returns; before, it did not wait."""
        if not hasattr(asyncio.events, "_ThreadSafeHandle"):
            assert isinstance(loop.call_soon_threadsafe(print), asyncio.Handle)
            return
        order: list[str] = []
        begun, cancelling = threading.Event(), threading.Event()

        def slow() -> None:
            begun.set()
            cancelling.wait()
            time.sleep(0.01)
            order.append("ran")

        handle = loop.call_soon_threadsafe(slow)

        def cancel() -> None:
            begun.wait()
            cancelling.set()
            handle.cancel()
            order.append("cancelled")

        thread = threading.Thread(target=cancel)
        thread.start()
        one_turn(loop)
        thread.join()
        assert order == ["ran", "cancelled"]

    def test_the_queue_is_asyncios_deque(self, loop: Any) -> None:
        assert type(loop._ready) is deque
        handle = loop.call_soon(print)
        assert list(loop._ready) == [handle]
        loop._ready.clear()
        one_turn(loop)


class TestTimers:
    def test_they_are_called_in_the_order_of_their_times(self, loop: Any) -> None:
        now = loop.time()
        called: list[int] = []
        order = [(number * 7919) % 211 for number in range(211)]
        for number in order:
            loop.call_at(now - 300 + number, called.append, number)
        assert loop._scheduled[0].when() == now - 300
        one_turn(loop)
        assert called == sorted(order)
        assert not loop._scheduled

    @pytest.mark.parametrize("due", [1, 20, 150])
    def test_those_that_are_not_due_stay_in_the_heap_however_many_others_are(self, loop: Any, due: int) -> None:
        now = loop.time()
        called: list[int] = []
        timers = {}
        for number in ((number * 7919) % 211 for number in range(211)):
            when = now - 300 if number < due else now + 1000
            timers[number] = loop.call_at(when + number, called.append, number)
        one_turn(loop)
        assert called == list(range(due))
        assert [number for number, timer in sorted(timers.items()) if timer._scheduled] == list(range(due, 211))
        rest = [heapq.heappop(loop._scheduled) for _ in range(211 - due)]
        assert rest == [timers[number] for number in range(due, 211)]
        assert not loop._scheduled

    def test_times_may_be_whole_numbers(self, loop: Any) -> None:
        called: list[int] = []
        for when in (3, 1.5, 2, -1, 0):
            loop.call_at(when, called.append, when)
        loop.call_later(10**6, called.append, 0)
        one_turn(loop)
        assert called == [-1, 0, 1.5, 2, 3]

    def test_cancelled_ones_are_thrown_out_where_they_are_many(self, loop: Any) -> None:
        timers = [loop.call_later(1000 + number, print) for number in range(200)]
        for timer in timers[:150]:
            timer.cancel()
        assert loop._timer_cancelled_count == 150
        one_turn(loop)
        assert loop._timer_cancelled_count == 0
        assert len(loop._scheduled) == 50
        assert loop._scheduled[0] is timers[150]
        assert not timers[0]._scheduled
        timers[150].cancel()
        one_turn(loop)
        assert loop._timer_cancelled_count == 0
        assert loop._scheduled[0] is timers[151]

    def test_those_that_are_taken_back_before_the_next_turn_leave_no_trace(self, loop: Any) -> None:
        now = loop.time()
        called: list[int] = []
        others = [loop.call_at(now + 1000 + number, called.append, 0) for number in range(10)]
        one_turn(loop)
        timers = [loop.call_at(now - number, called.append, number) for number in range(30)]
        for timer in timers[::3]:
            timer.cancel()
        assert loop._timer_cancelled_count == 10
        one_turn(loop)
        assert called == [number for number in reversed(range(30)) if number % 3]
        assert loop._timer_cancelled_count == 0
        assert sorted(loop._scheduled) == others
        assert not timers[0]._scheduled

    def test_who_looks_finds_a_heap_and_may_change_it(self, loop: Any) -> None:
        now = loop.time()
        called: list[int] = []
        for number in reversed(range(40)):
            loop.call_at(now - 100 + number, called.append, number)
        assert loop._scheduled[0].when() == now - 100
        del loop._scheduled[1:]
        for number in reversed(range(1, 60)):
            loop.call_at(now - 100 + number, called.append, number)
        one_turn(loop)
        assert called == list(range(60))

    def test_a_time_that_does_not_compare_is_refused_where_it_is_set(self, loop: Any) -> None:
        loop.call_later(1000, print)
        with pytest.raises(TypeError, match="not supported"):
            loop.call_at("soon", print)
        assert len(loop._scheduled) == 1
        one_turn(loop)

    def test_one_that_is_cancelled_by_a_call_of_the_same_turn_is_not_made(self, loop: Any) -> None:
        called: list[str] = []
        timer = loop.call_at(0, called.append, "timer")
        loop.call_soon(timer.cancel)
        one_turn(loop)
        assert not called

    def test_the_loops_clock_can_be_replaced(self, loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        called: list[str] = []
        monkeypatch.setattr(loop, "time", lambda: 1000.0, raising=False)
        assert loop.call_later(5, called.append, "later").when() == 1005
        one_turn(loop)
        assert not called
        monkeypatch.setattr(loop, "time", lambda: 1006.0, raising=False)
        one_turn(loop)
        assert called == ["later"]

    def test_the_clock_is_that_of_the_module_time_as_it_is(self, loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        assert abs(loop.time() - time.monotonic()) < 100
        monkeypatch.setattr(time, "monotonic", lambda: 5.0)
        assert loop.time() == 5

    def test_a_wait_ends_when_the_first_is_due(self) -> None:
        async def main() -> float:
            loop = asyncio.get_running_loop()
            begun = loop.time()
            loop.call_later(100, print)
            await asyncio.sleep(0.02)
            return loop.time() - begun

        # A loop takes what is due within one step of its clock.
        assert run(main()) >= 0.02 - time.get_clock_info("monotonic").resolution

    def test_what_is_no_timer_is_told(self, loop: Any) -> None:
        loop._scheduled.append("no timer")
        with pytest.raises(TypeError, match="no timer"):
            loop.run_forever()
        loop._scheduled.clear()


class TestTurns:
    def test_debug_mode_is_asyncios_own(self, loop: Any, caplog: pytest.LogCaptureFixture) -> None:
        loop.set_debug(True)
        assert loop.get_debug() is True
        loop.slow_callback_duration = 0.001
        handle = loop.call_soon(time.sleep, 0.005)
        assert handle._source_traceback[-1].name == "test_debug_mode_is_asyncios_own"
        with pytest.raises(TypeError, match="a callable object was expected"):
            loop.call_soon("no function")
        with caplog.at_level(logging.WARNING):
            one_turn(loop)
        assert "Executing <Handle" in caplog.text
        handle = loop.call_later(0, print)
        handle.cancel()
        assert "print" in repr(handle), "debug mode keeps what a cancelled handle was for"

    def test_another_selector_is_asked(self, loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[object] = []
        own = loop._selector

        class Other:
            def __getattr__(self, name: str) -> Any:
                return getattr(own, name)

            def select(self, timeout: float | None = None) -> list[Any]:
                asked.append(timeout)
                return []

        monkeypatch.setattr(loop, "_selector", Other())
        one_turn(loop)
        monkeypatch.undo()
        assert asked == [0]

    def test_a_subclass_may_have_its_own_turn(self) -> None:
        class Mine(overlapped.asyncio.EventLoop):
            turns = 0

            def _run_once(self) -> None:
                self.turns += 1
                super()._run_once()

        loop = Mine()
        one_turn(loop)
        loop.close()
        assert loop.turns == 1

    def test_a_turn_of_a_subclass_is_one_turn_while_the_loop_runs(self) -> None:
        class Mine(overlapped.asyncio.EventLoop):
            turns = 0

            def _run_once(self) -> None:
                self.turns += 1
                super()._run_once()

        async def rounds() -> None:
            for _ in range(100):
                await asyncio.sleep(0)

        loop = Mine()
        loop.run_until_complete(rounds())
        loop.close()
        assert loop.turns >= 100

    def test_a_turn_within_a_turn_is_one(self, loop: Any) -> None:
        seen: list[str] = []

        def outer() -> None:
            loop.call_soon(first)
            loop._run_once()
            seen.append("outer")
            loop.stop()

        def first() -> None:
            seen.append("first")
            loop.call_soon(seen.append, "second")

        loop.call_soon(outer)
        loop.run_forever()
        assert seen == ["first", "outer"]
        one_turn(loop)
        assert seen == ["first", "outer", "second"]

    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no alarm that interrupts")
    def test_calls_without_a_line_of_python_let_signal_handlers_run(self, loop: Any) -> None:
        again = functools.partial(loop.call_soon)
        again.__setstate__((loop.call_soon, (again,), {}, {}))
        before = signal.signal(signal.SIGALRM, lambda *_: loop.stop())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            loop.call_soon(again)
            loop.run_forever()
        finally:
            signal.signal(signal.SIGALRM, before)

    @needs("signal.siginterrupt")
    def test_a_signal_that_the_system_gave_to_another_thread_is_seen(self, loop: Any) -> None:
        again = functools.partial(loop.call_soon)
        again.__setstate__((loop.call_soon, (again,), {}, {}))
        reader, writer = os.pipe()
        other = threading.Thread(target=os.read, args=(reader, 1))
        before = signal.signal(signal.SIGUSR1, lambda *_: loop.stop())
        # The other thread's read goes on in the kernel: a thread that asks for the GIL would have the signal seen.
        signal.siginterrupt(signal.SIGUSR1, False)
        other.start()
        send = "import ctypes, sys; input(); sys.exit(ctypes.CDLL(None).tgkill(*map(int, sys.argv[1:])))"
        target = map(str, [os.getpid(), other.native_id, int(signal.SIGUSR1)])
        sender = subprocess.Popen([sys.executable, "-c", send, *target], stdin=subprocess.PIPE)
        assert sender.stdin is not None
        try:
            loop.call_soon(os.write, sender.stdin.fileno(), b"now\n")
            loop.call_soon(again)
            loop.run_forever()
            assert sender.wait() == 0
        finally:
            sender.communicate()
            os.write(writer, b".")
            other.join()
            os.close(reader)
            os.close(writer)
            signal.signal(signal.SIGUSR1, before)

    def test_a_loop_that_was_not_made_is_told(self) -> None:
        loop: Any = overlapped.asyncio.EventLoop.__new__(overlapped.asyncio.EventLoop)
        with pytest.raises(RuntimeError, match="not initialized"):
            loop.call_soon(print)
        loop._closed = True


class TestNumbers:
    """``getaddrinfo`` of what is in numbers needs no thread."""

    @pytest.mark.parametrize(
        ("host", "port", "named"),
        [
            ("127.0.0.1", 80, {}),
            ("127.0.0.1", "80", {"type": socket.SOCK_STREAM}),
            ("::1", 443, {"family": socket.AF_INET6, "flags": socket.AI_NUMERICHOST}),
            ("0.0.0.0", 0, {"type": socket.SOCK_DGRAM, "flags": socket.AI_PASSIVE}),
        ],
    )
    def test_it_answers_as_the_system_does(self, loop: Any, host: str, port: Any, named: dict[str, Any]) -> None:
        for _ in range(2):
            found = loop.run_until_complete(loop.getaddrinfo(host, port, **named))
            assert found == socket.getaddrinfo(host, port, **named)
            found.clear()
        assert loop._default_executor is None

    def test_errors_are_the_systems(self, loop: Any) -> None:
        for _ in range(2):
            with pytest.raises(socket.gaierror):
                loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80, family=socket.AF_INET6))

    def test_a_function_that_a_test_has_put_in_its_place_is_asked(
        self, loop: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **named: ["asked"])
        assert loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80)) == ["asked"]

    def test_names_and_what_depends_on_more_are_asked_for_on_a_thread(self, loop: Any) -> None:
        for number, (host, flags) in enumerate((("localhost", 0), ("127.0.0.1", socket.AI_ADDRCONFIG))):
            loop._default_executor = None
            assert loop.run_until_complete(loop.getaddrinfo(host, 80, flags=flags)), number
            assert loop._default_executor is not None
            loop.run_until_complete(loop.shutdown_default_executor())
            loop._executor_shutdown_called = False


class TestAwaitingWhatIsReady:
    def test_a_tasklet_that_is_ready_runs_at_once_and_no_turn_passes(self) -> None:
        async def main() -> None:
            order: list[str] = []
            asyncio.get_running_loop().call_soon(order.append, "next turn")
            assert await overlapped.spawn(lambda: order.append("tasklet") or 5) == 5
            order.append("coroutine")
            await asyncio.sleep(0)
            assert order == ["tasklet", "coroutine", "next turn"]

        run(main())

    def test_it_has_no_running_loop_and_the_coroutine_has_its_own_again(self) -> None:
        async def main() -> None:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert await overlapped.spawn(asyncio._get_running_loop) is None
            assert asyncio.get_running_loop() is loop
            assert asyncio.current_task() is task

        run(main())

    def test_it_may_run_a_loop_of_its_own(self) -> None:
        async def inner() -> str:
            await asyncio.sleep(0.001)
            return "inner"

        async def main() -> None:
            task = asyncio.current_task()
            assert await overlapped.spawn(run, inner()) == "inner"
            assert asyncio.current_task() is task

        run(main())

    def test_a_coroutine_that_always_finds_one_holds_back_nobody(self) -> None:
        async def main() -> None:
            done: list[bool] = []
            asyncio.get_running_loop().call_soon(done.append, True)
            while not done:
                await overlapped.spawn(int)

        run(main())

    def test_one_that_waits_after_all_is_waited_for(self) -> None:
        async def main() -> None:
            order: list[str] = []

            def work() -> str:
                order.append("begun")
                overlapped.sleep(0.002)
                return "done"

            other = asyncio.ensure_future(asyncio.sleep(0, order.append("task")))
            assert await overlapped.spawn(work) == "done"
            assert order == ["task", "begun"]
            await other

        run(main())

    def test_a_cancel_of_the_loops_tasklet_meanwhile_is_not_raised_in_the_coroutine(self) -> None:
        ended: list[str] = []

        async def main() -> None:
            runner = overlapped.current()
            try:
                await overlapped.spawn(runner.cancel)
                ended.append("awaited")
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        runner = overlapped.spawn(run, main())
        runner.join()
        assert isinstance(runner.exception(), overlapped.TaskletExit)
        assert ended == ["awaited", "cancelled"]
