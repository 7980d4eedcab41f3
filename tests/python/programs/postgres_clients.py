"""A plain program: many clients at once of a PostgreSQL server, whose socket's folder is the second argument, with the
driver that the first one names."""

import sys
import threading
from typing import Any

driver, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])


def connect() -> Any:
    if driver == "psycopg":
        import psycopg

        return psycopg.connect(host=folder, user="postgres")
    import pg8000.dbapi

    return pg8000.dbapi.connect(user="postgres", unix_sock=f"{folder}/.s.PGSQL.5432")


def execute(statement: str, *values: object) -> list[Any]:
    """In a transaction of its own, on a connection of its own."""
    connection = connect()
    cursor = connection.cursor()
    cursor.execute(statement, values)
    rows = list(cursor.fetchall()) if cursor.description else []
    connection.commit()
    connection.close()
    return rows


execute("drop table if exists items, counter")
execute("create table items (number int, text text)")
execute("create table counter (value int)")
execute("insert into counter values (0)")
together = threading.Barrier(count)
inserted = threading.Semaphore(0)
lengths: list[int] = []


def client(number: int) -> None:
    connection = connect()
    cursor = connection.cursor()
    together.wait(60)
    for turn in range(5):
        cursor.execute("insert into items values (%s, %s)", (number, "x" * 10_000 * turn))
    connection.commit()
    inserted.release()
    # All want the lock on one row, and keep it while they wait for something else.
    cursor.execute("update counter set value = value + 1")
    cursor.execute("select pg_sleep(0.002)")
    connection.commit()
    cursor.execute("select text from items where number = %s", (number,))
    lengths.extend(len(text) for (text,) in cursor.fetchall())
    connection.close()


def lock() -> None:
    """Holds the row while the thread sleeps, and not the server."""
    connection = connect()
    connection.cursor().execute("update counter set value = value + 1")
    locked.set()
    released.wait()
    connection.commit()
    connection.close()


locked, released = threading.Event(), threading.Event()
holder = threading.Thread(target=lock)
holder.start()
locked.wait()
threads = [threading.Thread(target=client, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for _ in range(count):
    inserted.acquire()
assert execute("select count(*) from items")[0][0] == 5 * count
released.set()
for thread in [*threads, holder]:
    thread.join()
assert sum(lengths) == count * sum(10_000 * turn for turn in range(5))
print(execute("select value from counter")[0][0] - 1, "clients")
