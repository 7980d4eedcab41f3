"""asyncio's loop on the port: tasklets run on while it waits, and each style waits for the other."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import overlapped
import overlapped.asyncio
from conftest import WINDOWS, RunPython, Ticker, unix_only
from overlapped import socket
from overlapped.asyncio import result_of, run


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


def outcome(call: Callable[[], object]) -> object:
    """What a call returns, or the exception that it raises, whatever that is."""
    try:
        return call()
    except BaseException as error:
        return error


class TestLoop:
    def test_it_is_a_loop_of_the_standard_library(self) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, overlapped.asyncio.EventLoop)
            assert isinstance(loop, asyncio.SelectorEventLoop)
            assert isinstance(loop.call_later(1, print), asyncio.TimerHandle)

        run(main())

    def test_other_tasklets_run_while_it_waits(self, ticker: Ticker) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            ticked = asyncio.Event()

            def tell() -> None:
                ticker.wait(3)
                loop.call_soon_threadsafe(ticked.set)

            overlapped.spawn(tell)
            await ticked.wait()

        with ticker:
            run(main())

    def test_other_tasklets_run_while_it_is_busy(self, ticker: Ticker) -> None:
        async def main() -> None:
            while ticker.ticks < 3:
                await asyncio.sleep(0)

        with ticker:
            run(main())

    def test_each_tasklet_can_run_a_loop_of_its_own(self) -> None:
        async def meet(mine: asyncio.Event, other: asyncio.Event) -> asyncio.AbstractEventLoop:
            loop = asyncio.get_running_loop()
            loops.append(loop)
            while len(loops) < 2:
                await asyncio.sleep(0.001)
            assert asyncio.get_running_loop() is loop
            return loop

        loops: list[asyncio.AbstractEventLoop] = []
        tasklets = [overlapped.spawn(run, meet(asyncio.Event(), asyncio.Event())) for _ in range(2)]
        assert {tasklet.result() for tasklet in tasklets} == set(loops)
        assert loops[0] is not loops[1]

    def test_streams_talk_with_a_tasklet(self) -> None:
        async def main() -> bytes:
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            async with server:
                return await overlapped.spawn(talk, server.sockets[0].getsockname())

        def talk(address: tuple[str, int]) -> bytes:
            with socket.create_connection(address) as connection:
                connection.sendall(b"blocking")
                connection.shutdown(socket.SHUT_WR)
                return connection.makefile("rb").read()

        assert run(main()) == b"blocking"

    def test_another_tasklet_gives_a_loop_that_waits_something_to_do(self) -> None:
        """By a future's result and by a timer, neither of which is meant to wake a loop."""

        async def main() -> object:
            loop = asyncio.get_running_loop()
            loop.set_debug(True)
            future = loop.create_future()
            overlapped.spawn(lambda: loop.call_later(0.001, future.set_result, "told"))
            timer = await future
            future = loop.create_future()
            overlapped.spawn(future.set_result, timer)
            return await future

        assert run(main()) == "told"

    def test_another_thread_wakes_it(self) -> None:
        async def main() -> str:
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(future.set_result, "woken"))
            thread.start()
            try:
                return await future
            finally:
                thread.join()

        assert run(main()) == "woken"

    def test_another_threads_careless_call_is_told_in_debug_mode(self) -> None:
        async def main() -> object:
            loop = asyncio.get_running_loop()
            loop.set_debug(True)
            return await asyncio.to_thread(outcome, lambda: loop.call_soon(print))

        assert "Non-thread-safe operation" in str(run(main()))

    def test_to_thread_runs_beside_it(self, ticker: Ticker) -> None:
        with ticker:
            run(asyncio.to_thread(ticker.let_tick, 4))

    def test_a_loop_that_is_closed_has_left_nothing(self) -> None:
        """What the fixture for all tests looks for: descriptors, operations, tasklets."""
        loop = overlapped.asyncio.new_event_loop()
        loop.run_until_complete(asyncio.sleep(0.001))
        loop.close()
        assert loop.is_closed()
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            loop.call_soon(print)

    def test_run_within_a_loop_is_refused(self) -> None:
        async def main() -> None:
            inner = asyncio.sleep(0)
            try:
                run(inner)
            finally:
                inner.close()

        with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
            run(main())

    @pytest.mark.skipif(sys.version_info >= (3, 14), reason="policies are on their way out")
    def test_the_policy_makes_our_loops(self) -> None:
        asyncio.set_event_loop_policy(overlapped.asyncio.EventLoopPolicy())
        try:

            async def main() -> bool:
                return isinstance(asyncio.get_running_loop(), overlapped.asyncio.EventLoop)

            assert asyncio.run(main())
        finally:
            asyncio.set_event_loop_policy(None)

    def test_debug_mode_says_where_a_handle_was_made(self) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_debug(True)
            for handle in (loop.call_soon(print), loop.call_later(1, print), loop.call_at(0, print)):
                handle.cancel()
                assert handle._source_traceback[-1].name == "main"  # type: ignore[attr-defined]

        run(main())

    def test_a_slow_callback_is_named(self, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            asyncio.get_running_loop().slow_callback_duration = 0.01
            await asyncio.sleep(0)
            time.sleep(0.02)

        with caplog.at_level(logging.WARNING):
            run(main(), debug=True)
        assert "took" in caplog.text
        assert "main()" in caplog.text

    def test_child_processes_end_without_a_thread(self, ticker: Ticker) -> None:
        async def main() -> tuple[bytes, int]:
            loop = asyncio.get_running_loop()
            program = "import sys; sys.stdout.write(sys.stdin.read()[::-1]); sys.exit(7)"
            pipe = asyncio.subprocess.PIPE
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe)
            assert child.stdin is not None and child.stdout is not None

            def feed(stdin: asyncio.StreamWriter) -> None:
                ticker.wait(3)
                loop.call_soon_threadsafe(stdin.write, b"abc")
                loop.call_soon_threadsafe(stdin.close)

            overlapped.spawn(feed, child.stdin)
            output, status = await child.stdout.read(), await child.wait()
            assert threading.active_count() == threads
            return output, status

        threads = threading.active_count()
        with ticker:
            assert run(main()) == (b"cba", 7)

    @unix_only("there a handle names the process, and stays its own")
    def test_a_child_keeps_its_number_until_its_transport_knows_of_its_end(self) -> None:
        """Else a signal that is sent in between reaches whoever has got the number."""

        async def main() -> None:
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(100)")
            child.kill()
            # The loop waits here; who watches the child does not.
            while not has_ended(child.pid):
                overlapped.sleep(0.001)
            for _ in range(10):
                overlapped.sleep(0.001)
            assert has_ended(child.pid) and child.returncode is None
            child.kill()
            assert await child.wait() == -signal.SIGKILL

        def has_ended(pid: int) -> bool:
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

        run(main())

    def test_a_child_process_is_killed(self) -> None:
        async def main() -> int:
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(100)")
            child.kill()
            return await child.wait()

        assert run(main()) == (1 if WINDOWS else -signal.SIGKILL)

    @unix_only("there a handle says how a process has ended")
    def test_how_a_child_ended_is_asked_by_what_the_module_os_has_then(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def waitpid(pid: int, options: int) -> tuple[int, int]:
            asked.append(pid)
            return theirs(pid, options)

        async def main() -> None:
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(3)")
            assert await child.wait() == 3
            assert asked == [child.pid]

        theirs = os.waitpid
        monkeypatch.setattr(os, "waitpid", waitpid)
        run(main())

    @unix_only("asyncio has no signal handlers there")
    def test_signals_are_handled_by_callbacks(self) -> None:
        async def main() -> str:
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            loop.add_signal_handler(signal.SIGUSR1, future.set_result, "signalled")
            overlapped.spawn(signal.raise_signal, signal.SIGUSR1)
            try:
                return await future
            finally:
                assert loop.remove_signal_handler(signal.SIGUSR1)

        assert run(main()) == "signalled"

    @unix_only("there Ctrl-C needs a console")
    def test_control_c_cancels_the_main_task(self, run_python: RunPython) -> None:
        done = run_python("""
import asyncio, os, signal
import overlapped, overlapped.asyncio

async def main():
    overlapped.spawn(os.kill, os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(100)
    finally:
        print("finally")

try:
    overlapped.asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
""")
        assert (done.stdout, done.stderr) == ("finally\ninterrupted\n", "")


class TestAwaitingTasklets:
    def test_a_coroutine_gets_what_a_tasklet_returns_or_raises(self) -> None:
        def work(seconds: float) -> float:
            overlapped.sleep(seconds)
            return 1 / seconds

        async def main() -> None:
            assert await overlapped.spawn(work, 0.01) == 100
            with pytest.raises(ZeroDivisionError):
                await overlapped.spawn(work, 0)
            values = await asyncio.gather(*(overlapped.spawn(work, 0.001 * n) for n in (3, 1, 2)))
            assert values == pytest.approx([1000 / 3, 1000, 500])

        run(main())

    @pytest.mark.parametrize("value", [None, (), (1, 2), StopIteration(3), ValueError("no"), StopIteration])
    def test_one_that_ends_at_once_brings_what_it_returns_as_it_is(self, value: object) -> None:
        async def main() -> None:
            tasklet = overlapped.spawn(lambda: value)
            assert await tasklet is value and await tasklet is value and tasklet.result() is value

        run(main())

    def test_one_that_has_ended_is_awaited_without_a_turn(self) -> None:
        tasklet = overlapped.spawn(lambda: "done")
        tasklet.join()
        awaiting = tasklet.__await__()
        with pytest.raises(StopIteration) as stopped:
            next(awaiting)
        assert stopped.value.value == "done"

    def test_cancelling_a_task_cancels_the_tasklet_and_waits_for_its_end(self) -> None:
        order = []
        begun = overlapped.Event()

        def work() -> None:
            begun.set()
            try:
                overlapped.sleep(100)
            finally:
                overlapped.sleep(0.01)
                order.append("tasklet")

        async def main() -> None:
            task = asyncio.ensure_future(overlapped.spawn(work))
            await overlapped.spawn(begun.wait)
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError):
                await task
            order.append("coroutine")

        run(main())
        assert order == ["tasklet", "coroutine"]

    def test_a_time_limit_of_asyncio_ends_the_tasklet(self) -> None:
        tasklet = overlapped.spawn(overlapped.sleep, 100)

        async def main() -> None:
            async with asyncio.timeout(0.01):
                await tasklet

        with pytest.raises(TimeoutError):
            run(main())
        assert not tasklet.alive

    def test_a_tasklet_that_was_cancelled_cancels_who_awaits_it(self) -> None:
        async def main() -> None:
            tasklet = overlapped.spawn(overlapped.sleep, 100)
            asyncio.get_running_loop().call_later(0.01, tasklet.cancel)
            await tasklet

        with pytest.raises(asyncio.CancelledError):
            run(main())

    def test_another_threads_tasklet_can_be_awaited(self) -> None:
        tasklets: list[overlapped.Tasklet[str]] = []
        there = overlapped.Event()

        def other() -> None:
            tasklet = overlapped.spawn(lambda: overlapped.sleep(0.02) or "elsewhere")
            tasklets.append(tasklet)
            there.set()
            tasklet.join()

        thread = threading.Thread(target=other)
        thread.start()
        there.wait()

        async def main() -> str:
            return await tasklets[0]

        assert run(main()) == "elsewhere"
        thread.join()

    def test_the_tasklet_that_runs_the_loop_cannot_be_awaited_in_it(self) -> None:
        async def main() -> None:
            await overlapped.current()

        with pytest.raises(RuntimeError, match="cannot wait for itself"):
            run(main())

    def test_the_standard_loop_awaits_tasklets_where_it_waits_on_the_port(self, patched: RunPython) -> None:
        patched("""
            import asyncio, overlapped
            async def main():
                return await overlapped.spawn(lambda: overlapped.sleep(0.01) or 5)
            assert asyncio.run(main()) == 5
        """)


class TestWaitingForCoroutines:
    def test_a_tasklet_gets_what_a_coroutine_returns_or_raises(self, ticker: Ticker) -> None:
        async def work(ticks: int) -> float:
            while ticker.ticks < ticks:
                await asyncio.sleep(0.001)
            return 1 / ticks

        with ticker:
            assert result_of(work(4)) == 0.25
        with pytest.raises(ZeroDivisionError):
            result_of(work(0))

    def test_what_one_call_has_opened_is_good_for_the_next(self, listener: socket.socket) -> None:
        reader, writer = result_of(asyncio.open_connection(*listener.getsockname()))
        with listener.accept()[0] as peer:
            peer.sendall(b"line\n")
            assert result_of(reader.readline()) == b"line\n"
            writer.close()
            result_of(writer.wait_closed())

    def test_a_server_goes_on_between_calls(self) -> None:
        server = result_of(asyncio.start_server(echo, "127.0.0.1", 0))
        with socket.create_connection(server.sockets[0].getsockname()) as connection:
            connection.sendall(b"ping")
            assert connection.recv(4) == b"ping"

        async def close() -> None:
            server.close()
            await server.wait_closed()

        result_of(close())

    def test_many_tasklets_share_the_threads_loop(self) -> None:
        async def which(_number: int) -> asyncio.AbstractEventLoop:
            await asyncio.sleep(0.001)
            return asyncio.get_running_loop()

        tasklets = [overlapped.spawn(lambda n=n: result_of(which(n))) for n in range(20)]  # type: ignore[misc]
        assert len({tasklet.result() for tasklet in tasklets}) == 1

    def test_a_loop_that_runs_on_the_thread_is_joined(self) -> None:
        async def which() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        async def main() -> bool:
            return await overlapped.spawn(lambda: result_of(which())) is asyncio.get_running_loop()

        assert run(main())

    def test_a_coroutine_sees_the_callers_context(self) -> None:
        variable = contextvars.ContextVar("variable", default="")
        variable.set("caller's")

        async def look() -> str:
            return variable.get()

        assert result_of(look()) == "caller's"

    @pytest.mark.parametrize("leave", ["cancel", "timeout"])
    def test_leaving_the_wait_cancels_the_coroutine_and_waits_for_its_end(self, leave: str) -> None:
        order = []

        async def work() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(0.01)
                order.append("coroutine")

        def wait() -> None:
            try:
                with overlapped.timeout(0.01) if leave == "timeout" else contextlib.nullcontext():
                    result_of(work())
            finally:
                order.append("tasklet")

        tasklet = overlapped.spawn(wait)
        overlapped.sleep(0.005)
        if leave == "cancel":
            tasklet.cancel()
        assert isinstance(outcome(tasklet.result), overlapped.TaskletExit if leave == "cancel" else TimeoutError)
        assert order == ["coroutine", "tasklet"]

    def test_a_coroutine_that_was_cancelled_says_so(self) -> None:
        async def work() -> None:
            task = asyncio.current_task()
            assert task
            task.cancel()
            await asyncio.sleep(0)

        assert isinstance(outcome(lambda: result_of(work())), asyncio.CancelledError)

    def test_a_coroutine_is_told_to_await(self) -> None:
        async def main() -> None:
            result_of(asyncio.sleep(0))

        with pytest.raises(RuntimeError, match="await it instead"):
            run(main())

    def test_a_cancelled_tasklet_leaves_its_loop_with_its_tasks_ended(self) -> None:
        ended = []

        async def main() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(0.001)
                ended.append("main")

        tasklet = overlapped.spawn(run, main())
        overlapped.sleep(0.01)
        tasklet.cancel()
        assert isinstance(outcome(tasklet.result), overlapped.TaskletExit)
        assert ended == ["main"]

    def test_the_end_of_the_program_ends_the_threads_loop(self, run_python: RunPython) -> None:
        done = run_python("""
import asyncio
import overlapped
from overlapped.asyncio import result_of

async def forever():
    try:
        await asyncio.sleep(1000)
    finally:
        await asyncio.sleep(0.001)
        print("finally")

overlapped.spawn(lambda: result_of(forever()))
result_of(asyncio.sleep(0.01))
print("end")
""")
        assert (done.stdout, done.stderr) == ("end\nfinally\n", "")


class TestFiles:
    def test_a_file_is_written_and_read_without_threads(self, tmp_path: Path) -> None:
        async def main() -> list[str]:
            threads = threading.active_count()
            async with overlapped.asyncio.open(tmp_path / "lines", "w+") as file:
                await file.write("one\ntwo\n")
                await file.writelines(["three\n"])
                await file.seek(0)
                lines = [line async for line in file]
                assert await file.readline() == ""
                assert threading.active_count() == threads
            assert file.closed
            return lines

        assert run(main()) == ["one\n", "two\n", "three\n"]

    def test_calls_at_once_follow_each_other(self, tmp_path: Path) -> None:
        path = tmp_path / "bytes"
        path.write_bytes(bytes(range(100)))

        async def main() -> list[bytes]:
            file = await overlapped.asyncio.open(path, "rb")
            try:
                return await asyncio.gather(*(file.read(10) for _ in range(10)))
            finally:
                await file.close()

        assert b"".join(run(main())) == bytes(range(100))

    def test_its_errors_are_those_of_open(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        async def read(path: Path) -> None:
            async with overlapped.asyncio.open(path):
                pass

        with pytest.raises(FileNotFoundError) as missing:
            run(read(tmp_path / "missing"))
        assert missing.value.filename == str(tmp_path / "missing")

        async def early() -> None:
            await overlapped.asyncio.open(tmp_path / "missing").read()

        with pytest.raises(ValueError, match="not open yet"):
            run(early())
        assert not capsys.readouterr().err, "who awaits is told; nobody else is"


def test_the_types_go_through() -> None:
    """A tasklet is an awaitable of what its function returns."""
    tasklet: Awaitable[int] = overlapped.spawn(lambda: 1)

    async def main() -> int:
        return await tasklet

    assert run(main()) == 1
