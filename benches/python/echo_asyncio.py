"""Echo on an asyncio loop: `echo_asyncio.py uvloop|asyncio streams|protocol`."""

import asyncio
import sys

from measured import READ_SIZE, announce


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(READ_SIZE):
        writer.write(data)
        await writer.drain()
    writer.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as TCP's always are
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def serve(style: str) -> None:
    if style == "streams":
        server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=1024)
    else:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=1024)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


loop_name, style = sys.argv[1:]
if loop_name == "uvloop":
    import uvloop

    uvloop.run(serve(style))
else:
    asyncio.run(serve(style))
