"""Echo on an asyncio loop.

`echo_asyncio.py uvloop|zuvloop|asyncio streams|protocol [READ_SIZE] [UNIX_PATH] [--lines|--once]`. A protocol has no
say in how much is read at once, and no lines.
"""

import asyncio
from importlib import import_module

from measured import announce, asked


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await (reader.readline() if serving.lines else reader.read(serving.read_size)):
        writer.write(data)
        await writer.drain()
        if serving.once:
            break
    writer.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as TCP's always are
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class EchoOnce(Echo):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


async def serve() -> None:
    loop = asyncio.get_running_loop()
    protocol = EchoOnce if serving.once else Echo
    match serving.style, serving.path:
        case "streams", None:
            server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=1024)
        case "streams", path:
            server = await asyncio.start_unix_server(echo, path, backlog=1024)
        case _, None:
            server = await loop.create_server(protocol, "127.0.0.1", 0, backlog=1024)
        case _, path:
            server = await loop.create_unix_server(protocol, path, backlog=1024)
    announce(serving.path or server.sockets[0].getsockname()[1])
    await server.serve_forever()


serving = asked("loop", "style")
import_module(serving.loop).run(serve())
