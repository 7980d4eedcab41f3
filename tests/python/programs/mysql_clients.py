"""A plain program: many clients at once with PyMySQL, of a MariaDB server; its socket is the first argument."""

import sys
import threading

import pymysql

path, count = sys.argv[1], int(sys.argv[2])


def connect() -> "pymysql.Connection[pymysql.cursors.Cursor]":
    return pymysql.connect(unix_socket=path, user="root", database="test")


with connect() as setup, setup.cursor() as cursor:
    cursor.execute("create or replace table items (number int, text longtext) engine = innodb")
    cursor.execute("create or replace table counter (value int) engine = innodb")
    cursor.execute("insert into counter values (0)")
    setup.commit()
together = threading.Barrier(count)
lengths: list[int] = []


def client(number: int) -> None:
    with connect() as connection, connection.cursor() as cursor:
        together.wait(60)
        for turn in range(5):
            cursor.execute("insert into items values (%s, %s)", (number, "x" * 10_000 * turn))
        # All want the lock on one row, and keep it while they wait for something else.
        cursor.execute("update counter set value = value + 1")
        cursor.execute("select sleep(0.002)")
        connection.commit()
        cursor.execute("select text from items where number = %s", (number,))
        lengths.extend(len(text) for (text,) in cursor.fetchall())


threads = [threading.Thread(target=client, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert sum(lengths) == count * sum(10_000 * turn for turn in range(5))
with connect() as connection, connection.cursor() as cursor:
    cursor.execute("select value from counter")
    print(*cursor.fetchall()[0], "clients")
