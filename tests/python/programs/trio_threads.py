"""A plain program: trio in threads and in the main thread, one after the other, with servers, clients and threads of
trio's own."""

import sys
import threading
from functools import partial

import trio

count = int(sys.argv[1])


async def echo(stream: trio.SocketStream) -> None:
    async for chunk in stream:
        await stream.send_all(await trio.to_thread.run_sync(chunk.upper))


async def main(answers: list[bytes]) -> None:
    async with trio.open_nursery() as serving:
        (listener,) = await serving.start(partial(trio.serve_tcp, host="127.0.0.1"), echo, 0)
        port = listener.socket.getsockname()[1]

        async def client(number: int) -> None:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(b"client %d" % number)
            await stream.send_eof()
            answers.append(b"".join([chunk async for chunk in stream]))

        async with trio.open_nursery() as clients:
            for number in range(count):
                clients.start_soon(client, number)
        with trio.move_on_after(0.01) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        await trio.to_thread.run_sync(trio.from_thread.run, trio.sleep, 0)
        serving.cancel_scope.cancel()


def run(answers: list[bytes]) -> None:
    trio.run(main, answers)
    assert sorted(answers) == sorted(b"CLIENT %d" % number for number in range(count))


several: list[list[bytes]] = [[] for _ in range(4)]
threads = [threading.Thread(target=run, args=(answers,)) for answers in several]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
last: list[bytes] = []
run(last)
print(sum(map(len, several)) + len(last), "answers")
