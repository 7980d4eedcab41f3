"""Libraries that are written for asyncio, on our loop: their coroutines and blocking tasklets talk on one thread."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import overlapped
import overlapped.asyncio
import servers
from conftest import needs_library, unix_only
from overlapped import socket
from overlapped.asyncio import new_event_loop, result_of

if TYPE_CHECKING:
    import aiohttp

COUNT = 50
PROGRAMS = Path(__file__).with_name("programs")


def post(address: tuple[str, int], path: str, number: int) -> bytes:
    """Blocking code: three requests on one connection of this tasklet's; returns how the body begins."""
    connection = http.client.HTTPConnection(*address)
    connection._create_connection = socket.create_connection  # type: ignore[attr-defined]
    body = b"%d" % number + b"x" * 100_000
    for _ in range(3):
        connection.request("POST", path, body)
        assert connection.getresponse().read() == body.upper()
    connection.close()
    return body[:10]


async def talk_on_websocket(url: str, number: int) -> None:
    from websockets.asyncio.client import connect

    async with connect(url) as connection:
        for length in (1, 1000, 100_000):
            await connection.send("a" * length + str(number))
            assert await connection.recv() == "A" * length + str(number)


@needs_library("aiohttp")
class TestAiohttp:
    @asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[str, int]]:
        """Its server, which answers with what it was sent, a chunk a tasklet."""
        from aiohttp import web

        async def echo(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            async for chunk in request.content.iter_any():
                await response.write(await overlapped.spawn(bytes.upper, chunk))
            await response.write_eof()
            return response

        application = web.Application()
        application.router.add_post("/", echo)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield runner.addresses[0][:2]
        finally:
            await runner.cleanup()

    def test_its_server_answers_blocking_clients_of_the_same_thread(self) -> None:
        async def main() -> None:
            async with self.serving() as address:
                bodies = await asyncio.gather(
                    *(overlapped.spawn(post, address, "/", number) for number in range(COUNT))
                )
            assert len(set(bodies)) == COUNT

        overlapped.asyncio.run(main())

    def test_its_client_is_used_from_blocking_code(self) -> None:
        """One session for many tasklets, as one would have it in a program of threads."""

        import aiohttp

        async def open_session() -> aiohttp.ClientSession:
            return aiohttp.ClientSession()

        serving = self.serving()
        host, port = result_of(serving.__aenter__())
        session = result_of(open_session())

        async def post(body: bytes) -> bytes:
            async with session.post(f"http://{host}:{port}/", data=body) as response:
                return await response.read()

        tasklets = [overlapped.spawn(result_of, post(b"body %d" % number)) for number in range(COUNT)]
        assert [tasklet.result() for tasklet in tasklets] == [b"BODY %d" % number for number in range(COUNT)]
        result_of(session.close())
        result_of(serving.__aexit__(None, None, None))


@needs_library("websockets")
def test_websockets_talk_in_both_directions() -> None:
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(await overlapped.spawn(message.swapcase))  # type: ignore[union-attr]

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            await asyncio.gather(*(talk_on_websocket(f"ws://127.0.0.1:{port}", number) for number in range(COUNT)))

    overlapped.asyncio.run(main())


@needs_library("uvicorn", "starlette", "websockets")
class TestUvicornWithStarlette:
    def test_as_a_command_it_takes_our_loop_by_its_name(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "--loop", "overlapped.asyncio:new_event_loop", "--port", "0"]
        server = subprocess.Popen(
            [*command, "--app-dir", str(PROGRAMS), "starlette_echo:app"], stderr=subprocess.PIPE, text=True
        )
        assert server.stderr is not None
        with server, server.stderr:
            try:
                found = None
                while found is None:
                    line = server.stderr.readline()
                    assert line, "it has ended"
                    found = re.search(r"running on http://(127\.0\.0\.1):(\d+)", line)
                address = (found[1], int(found[2]))
                connection = http.client.HTTPConnection(*address)
                connection.request("GET", "/loop")
                assert connection.getresponse().read() == b"overlapped.asyncio.EventLoop"
                connection.close()
                bodies = [overlapped.spawn(post, address, "/echo", number) for number in range(COUNT)]
                assert len({body.result() for body in bodies}) == COUNT
            finally:
                server.terminate()
            log = server.stderr.read()
        assert os.name == "nt" or (server.returncode in (0, -signal.SIGTERM) and "Finished server process" in log)
        assert "Traceback" not in log

    def test_from_code_it_serves_tasklets_and_coroutines_of_its_own_thread(self, monkeypatch: Any) -> None:
        import uvicorn

        monkeypatch.syspath_prepend(PROGRAMS)
        server = uvicorn.Server(uvicorn.Config("starlette_echo:app", port=0, log_level="error"))

        async def main() -> None:
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.001)
            address = server.servers[0].sockets[0].getsockname()
            bodies = await asyncio.gather(
                *(overlapped.spawn(post, address, "/echo", number) for number in range(COUNT))
            )
            assert len(set(bodies)) == COUNT
            url = f"ws://127.0.0.1:{address[1]}/talk"
            await asyncio.gather(*(talk_on_websocket(url, number) for number in range(COUNT)))
            server.should_exit = True
            await serving

        overlapped.asyncio.run(main())


@needs_library("tornado", "websockets")
def test_tornado_serves_requests_and_websockets() -> None:
    from tornado.httpclient import AsyncHTTPClient
    from tornado.httpserver import HTTPServer
    from tornado.netutil import bind_sockets
    from tornado.web import Application, RequestHandler
    from tornado.websocket import WebSocketHandler

    class Echo(RequestHandler):
        async def post(self) -> None:
            self.write(await overlapped.spawn(self.request.body.upper))

    class Talk(WebSocketHandler):
        async def on_message(self, message: str | bytes) -> None:
            assert isinstance(message, str)
            await self.write_message(message.upper())

    async def main() -> None:
        (listener,) = bind_sockets(0, "127.0.0.1")
        server = HTTPServer(Application([("/", Echo), ("/talk", Talk)]))
        server.add_socket(listener)
        address = listener.getsockname()
        client = AsyncHTTPClient(force_instance=True, defaults={"request_timeout": 60})

        async def fetch(number: int) -> bytes:
            url = f"http://127.0.0.1:{address[1]}/"
            return (await client.fetch(url, method="POST", body=b"body %d" % number)).body

        answers = await asyncio.gather(*map(fetch, range(COUNT)))
        assert answers == [b"BODY %d" % number for number in range(COUNT)]
        await asyncio.gather(*(overlapped.spawn(post, address, "/", number) for number in range(COUNT)))
        url = f"ws://127.0.0.1:{address[1]}/talk"
        await asyncio.gather(*(talk_on_websocket(url, number) for number in range(COUNT)))
        client.close()
        server.stop()
        await server.close_all_connections()

    overlapped.asyncio.run(main())


@needs_library("anyio")
class TestAnyio:
    def run(self, main: Any) -> Any:
        import anyio

        return anyio.run(main, backend="asyncio", backend_options={"loop_factory": new_event_loop})

    def test_its_streams_and_task_groups(self) -> None:
        import anyio

        async def echo(stream: Any) -> None:
            async with stream:
                async for chunk in stream:
                    await stream.send(await overlapped.spawn(chunk.upper))

        async def talk(port: int, number: int) -> None:
            sent = b"%d" % number + b"x" * 100_000
            async with await anyio.connect_tcp("127.0.0.1", port) as stream, anyio.create_task_group() as group:

                async def send() -> None:
                    await stream.send(sent)
                    await stream.send_eof()

                group.start_soon(send)
                assert b"".join([chunk async for chunk in stream]) == sent.upper()

        async def main() -> None:
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            async with listener, anyio.create_task_group() as serving:
                serving.start_soon(listener.serve, echo)
                async with anyio.create_task_group() as clients:
                    for number in range(COUNT):
                        clients.start_soon(talk, port, number)
                serving.cancel_scope.cancel()

        self.run(main)

    def test_its_cancel_scopes_cancel_tasklets(self) -> None:
        import anyio

        async def main() -> None:
            ended = []

            def wait() -> None:
                try:
                    overlapped.sleep(1000)
                finally:
                    ended.append(True)

            with anyio.move_on_after(0.01) as scope:
                await overlapped.spawn(wait)
            assert scope.cancelled_caught and ended == [True]

        self.run(main)

    @unix_only("asyncio's selector loop has no child processes there")
    def test_its_processes_threads_and_sockets_of_datagrams(self) -> None:
        import anyio

        async def main() -> None:
            program = "import sys; print(sys.stdin.read()[::-1])"
            done = await anyio.run_process([sys.executable, "-c", program], input=b"abc")
            assert done.stdout.split() == [b"cba"]
            assert await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(anyio.sleep, 0)) is None
            async with (
                await anyio.create_udp_socket(local_host="127.0.0.1") as one,
                await anyio.create_udp_socket(local_host="127.0.0.1") as other,
            ):
                name = other.extra(anyio.abc.SocketAttribute.local_address)
                await one.sendto(b"datagram", *name)
                assert (await other.receive())[0] == b"datagram"

        self.run(main)


@needs_library("asyncpg")
@pytest.mark.skipif(bool(servers.POSTGRES), reason=servers.POSTGRES)
@unix_only("its server's socket is a Unix one")
class TestAsyncpg:
    @pytest.fixture
    def server(self) -> Iterator[str]:
        """The folder with the socket of a server of this test's own."""
        with servers.postgres() as folder:
            yield folder

    def test_its_pool_is_used_by_coroutines_and_by_blocking_code(self, server: str) -> None:
        import asyncpg

        async def write(pool: asyncpg.Pool, number: int) -> None:
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("insert into items values ($1, $2)", number, "x" * number)

        def read(pool: asyncpg.Pool, number: int) -> int:
            length: int = result_of(pool.fetchval("select length(text) from items where number = $1", number))
            return length

        async def main() -> None:
            async with asyncpg.create_pool(host=server, user="postgres", min_size=5, max_size=5) as pool:
                await pool.execute("create table items (number int primary key, text text)")
                await asyncio.gather(*(write(pool, number) for number in range(COUNT)))
                lengths = await asyncio.gather(*(overlapped.spawn(read, pool, number) for number in range(COUNT)))
                assert lengths == list(range(COUNT))
                rows = [(number, "row") for number in range(1000, 6000)]
                async with pool.acquire() as connection:
                    await connection.copy_records_to_table("items", records=rows)
                    notes: asyncio.Queue[str] = asyncio.Queue()
                    await connection.add_listener("news", lambda *told: notes.put_nowait(told[-1]))
                    await pool.execute("notify news, 'told'")
                    assert await notes.get() == "told"
                    with pytest.raises(asyncio.TimeoutError):
                        await connection.execute("select pg_sleep(1000)", timeout=0.01)
                    assert await connection.fetchval("select count(*) from items") == COUNT + len(rows)
                    await connection.reset()

        overlapped.asyncio.run(main())
