"""A Starlette application, for uvicorn: it tells of its loop, and answers with what it was sent, upper case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import overlapped


async def loop(request: Request) -> PlainTextResponse:
    kind = type(asyncio.get_running_loop())
    return PlainTextResponse(f"{kind.__module__.rpartition('._')[0]}.{kind.__name__}")


async def echo(request: Request) -> StreamingResponse:
    # All of it first: a streaming response listens for the client's end, and would take what else it sends.
    body = await request.body()

    async def answer() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 30_000):
            yield await overlapped.spawn(body[start : start + 30_000].upper)

    return StreamingResponse(answer())


async def talk(connection: WebSocket) -> None:
    await connection.accept()
    async for message in connection.iter_text():
        await connection.send_text(message.upper())


app = Starlette(routes=[Route("/loop", loop), Route("/echo", echo, methods=["POST"]), WebSocketRoute("/talk", talk)])
