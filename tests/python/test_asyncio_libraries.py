"""Libraries that are written for asyncio, on our loop: their coroutines and blocking tasklets talk on one thread."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import overlapped
import overlapped.asyncio
from overlapped import socket
from overlapped.asyncio import result_of

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed here")
websockets = pytest.importorskip("websockets", reason="websockets is not installed here")

COUNT = 50


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
        def ask(address: tuple[str, int], number: int) -> bytes:
            connection = http.client.HTTPConnection(*address)
            connection._create_connection = socket.create_connection  # type: ignore[attr-defined]
            body = b"%d" % number + b"x" * 100_000
            for _ in range(3):
                connection.request("POST", "/", body)
                assert connection.getresponse().read() == body.upper()
            connection.close()
            return body[:10]

        async def main() -> None:
            async with self.serving() as address:
                bodies = await asyncio.gather(*(overlapped.spawn(ask, address, number) for number in range(COUNT)))
            assert len(set(bodies)) == COUNT

        overlapped.asyncio.run(main())

    def test_its_client_is_used_from_blocking_code(self) -> None:
        """One session for many tasklets, as one would have it in a program of threads."""

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


def test_websockets_talk_in_both_directions() -> None:
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve

    async def echo(connection: websockets.asyncio.server.ServerConnection) -> None:
        async for message in connection:
            await connection.send(await overlapped.spawn(message.swapcase))

    async def talk(port: int, number: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}") as connection:
            for length in (1, 1000, 100_000):
                await connection.send("a" * length + str(number))
                assert await connection.recv() == "A" * length + str(number)

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.gather(*(talk(port, number) for number in range(COUNT)))

    overlapped.asyncio.run(main())
