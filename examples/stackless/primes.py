"""The sieve as a pipeline: each prime is a tasklet that lets pass what it does not divide, on a channel to the next.

python -m overlapped --stackless examples/stackless/primes.py
"""

import stackless

LIMIT = 1000


def numbers(out):
    out.send_sequence(range(2, LIMIT))
    out.send(None)


def sieve(source, found):
    """Takes its prime, and makes the next sieve when something passes."""
    prime = source.receive()
    if prime is None:
        return
    found.append(prime)
    following = stackless.channel()
    stackless.tasklet(sieve)(following, found)
    while (number := source.receive()) is not None:
        if number % prime:
            following.send(number)
    following.send(None)


found: list[int] = []
source = stackless.channel()
stackless.tasklet(numbers)(source)
stackless.tasklet(sieve)(source, found)
stackless.run()

expected = [n for n in range(2, LIMIT) if all(n % d for d in range(2, int(n**0.5) + 1))]
if found != expected:
    raise SystemExit(f"these are not the primes below {LIMIT}: {found}")
print(f"stackless primes: {len(found)} below {LIMIT}, each a tasklet")
