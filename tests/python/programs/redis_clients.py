"""A plain program: 100 clients at once of a redis server, whose port is the first argument."""

import sys
import threading

import redis

port, count = int(sys.argv[1]), int(sys.argv[2])
shared = redis.Redis(port=port, socket_timeout=30)
shared.flushall()
done, heard = [], []
together = threading.Barrier(count)


def client(number: int) -> None:
    """Most share one pool of connections; every tenth has its own."""
    mine = redis.Redis(port=port, socket_timeout=30) if number % 10 == 0 else shared
    together.wait(30)
    for turn in range(20):
        key, value = f"key {number} {turn}", bytes([turn]) * (turn * 1000)
        assert mine.set(key, value)
        assert mine.get(key) == value
        mine.incr("counter")
    with mine.pipeline() as pipeline:
        for turn in range(20):
            pipeline.strlen(f"key {number} {turn}")
        assert pipeline.execute() == [turn * 1000 for turn in range(20)]
    mine.lpush("waiting", number)
    done.append(number)
    if mine is not shared:
        mine.close()


def consume() -> None:
    """Blocks in the server until all have come."""
    while len(heard) < count:
        _name, value = shared.blpop("waiting", timeout=30)
        heard.append(int(value))


threads = [threading.Thread(target=client, args=(number,)) for number in range(count)]
threads.append(threading.Thread(target=consume))
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert shared.get("counter") == b"%d" % (20 * count)
assert sorted(done) == sorted(heard) == list(range(count))
shared.close()
print(len(done), "clients")
