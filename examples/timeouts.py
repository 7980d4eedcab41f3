"""Four ways to stop waiting: a socket's time-out, one around any code, a join that gives up, and cancelling.

python examples/timeouts.py
"""

import time

import overlapped
from overlapped import socket


def main() -> None:
    begun = time.perf_counter()
    left, right = socket.socketpair()
    with left, right:
        conversation(left, right)
    print(f"timeouts: four waits ended early, {time.perf_counter() - begun:.2f} s in all")


def conversation(left: socket.socket, right: socket.socket) -> None:
    # A socket's own time-out is for each call.
    left.settimeout(0.05)
    try:
        left.recv(100)
    except TimeoutError:
        print("recv: nothing came within 50 ms")
    left.settimeout(None)

    # This one is for all that its body does, whatever it waits for. The receive is cancelled in the kernel.
    try:
        with overlapped.timeout(0.05):
            while True:
                left.recv(100)
    except TimeoutError:
        print("timeout: the conversation had 50 ms")

    # Nothing that arrives later is lost to a receive that was cancelled.
    right.sendall(b"still here")
    print("recv:", left.recv(100).decode())

    # A tasklet can be waited for a while, and be cancelled: it leaves through its `finally`.
    def patient() -> None:
        try:
            left.recv(100)
        finally:
            print("patient: leaving")

    tasklet = overlapped.spawn(patient)
    try:
        tasklet.result(timeout=0.05)
    except TimeoutError:
        print("result: not yet after 50 ms")
    tasklet.cancel()
    tasklet.join()


main()
