"""Ten big and twenty small files copied at once under stackless.run(), as programs for Stackless were written.

python -m overlapped --stackless examples/stackless/files.py
"""

import os
import tempfile
import time

import stackless
from stacklessfile import stacklessfile as file

BIG = (10, 3_000_000)
SMALL = (20, 50_000)


def digits(length):
    text = "".join(map(str, range(length // 4)))
    return text[:length]


class Ticker:
    """Takes its turn between the others, and counts what it gets."""

    turns = 0
    stopped = False

    def __init__(self):
        stackless.tasklet(self.run)()

    def run(self):
        while not self.stopped:
            self.turns += 1
            time.sleep(0.001)


def copyfile(finished, infile, outfile):
    f1 = file(infile, "rb")
    f2 = file(outfile, "wb")
    f2.write(f1.read())
    f1.close()
    f2.close()
    finished.send(outfile)


def await_all(finished, count, ticker):
    for _ in range(count):
        finished.receive()
    ticker.stopped = True


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for name, (_, length) in {"test-big.txt": BIG, "test-small.txt": SMALL}.items():
        with open(name, "w") as newfile:
            newfile.write(digits(length))

    ticker = Ticker()
    finished = stackless.channel()
    for i in range(BIG[0]):
        stackless.tasklet(copyfile)(finished, "test-big.txt", f"big{i}.txt")
    for i in range(SMALL[0]):
        stackless.tasklet(copyfile)(finished, "test-small.txt", f"sm{i}.txt")
    stackless.tasklet(await_all)(finished, BIG[0] + SMALL[0], ticker)

    st = time.time()
    stackless.run()
    seconds = time.time() - st

    for names, (count, length) in {"big%s.txt": BIG, "sm%s.txt": SMALL}.items():
        for i in range(count):
            with open(names % i) as copied:
                if copied.read() != digits(length):
                    raise SystemExit(f"{names % i} differs from the original")
    os.chdir("/")

moved = BIG[0] * BIG[1] + SMALL[0] * SMALL[1]
print(
    f"stackless files: {BIG[0]} big and {SMALL[0]} small files, {moved} bytes, copied at once in {seconds:.3f} s"
    f" and right; another tasklet had {ticker.turns} turns meanwhile"
)
