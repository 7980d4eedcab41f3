"""A plain program: many clients at once of an application in this folder, whose address the first arguments are."""

import http.client
import sys
import threading

host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
answers: list[bool] = []


def client() -> None:
    connection = http.client.HTTPConnection(host, port, timeout=60)
    connection.request("GET", "/together")
    response = connection.getresponse()
    assert response.status == 200 and int(response.read()) < 50
    for _ in range(3):
        connection.request("POST", "/echo", b"x" * 100_000)
        answers.append(connection.getresponse().read() == b"X" * 100_000)
    connection.close()


threads = [threading.Thread(target=client) for _ in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sum(answers), "answers")
