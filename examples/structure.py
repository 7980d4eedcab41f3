"""Work with an end: a pool that fetches, a group that a failure ends, whichever comes first, and what must be done.

python examples/structure.py
"""

import overlapped
from overlapped import socket


def serve(connection: socket.socket) -> None:
    with connection:
        while word := connection.recv(100):
            connection.sendall(word.upper())


def accept(listener: socket.socket, clients: overlapped.Group) -> None:
    while True:
        clients.spawn(serve, listener.accept()[0])


def ask(address: tuple[str, int], word: str) -> str:
    with socket.create_connection(address) as connection:
        connection.sendall(word.encode())
        return connection.recv(100).decode()


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, overlapped.Group() as server:
        server.spawn(accept, listener, server, name="accept")
        address = listener.getsockname()

        # Five connections at a time; each answer as it comes.
        with overlapped.Pool(5) as pool:
            answers = sorted(pool.map_unordered(lambda word: ask(address, word), ["to", "be", "or", "not"] * 5))
        print("pool:", len(answers), "answers, the last is", answers[-1])

        # One fails: the others are cancelled, and what failed is raised.
        try:
            with overlapped.Group() as group:
                group.spawn(overlapped.sleep, 60)
                group.spawn(ask, address, None)  # type: ignore[arg-type]
        except* AttributeError as failures:
            print("group:", failures.exceptions[0])

        # Whichever comes first: a job, or the word that there are no more.
        jobs, stop = overlapped.Queue[str](10), overlapped.Event()
        worker = overlapped.spawn(work, jobs, stop)
        for word in ("first", "second"):
            jobs.put(word)
        overlapped.sleep(0)
        stop.set()
        worker.join()

        # The end of the block is not reached by itself: a server has none.
        server.cancel()
    print(f"structure: all has ended, {len(overlapped.tasklets())} tasklet is left")


def work(jobs: overlapped.Queue[str], stop: overlapped.Event) -> None:
    while True:
        which, job = overlapped.first_of(jobs, stop, timeout=10)
        if which == 1:
            break
        print("first_of:", job)
    overlapped.shield(print, "shield: what has to be done is done")


main()
