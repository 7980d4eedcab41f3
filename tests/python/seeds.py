"""Storms that can be run again: each has a seed, which a failure names."""

import os
import random
from collections.abc import Callable


def with_seeds(rounds: int, storm: Callable[[int], object], first: int | None = None) -> None:
    """Runs a storm so many times, or as many as ``OVERLAPPED_ROUNDS`` says, each with a seed of its own: from that of
    ``OVERLAPPED_SEED`` on, else from `first`, else from a random one. What a storm raises tells its seed."""
    rounds = int(os.environ.get("OVERLAPPED_ROUNDS", rounds))
    if given := os.environ.get("OVERLAPPED_SEED"):
        first = int(given)
    elif first is None:
        first = random.randrange(1 << 32)
    for seed in range(first, first + rounds):
        try:
            storm(seed)
        except BaseException as error:
            error.add_note(f"OVERLAPPED_SEED={seed}")
            raise


def with_a_seed(storm: Callable[[int], object]) -> None:
    """`with_seeds`, once."""
    with_seeds(1, storm)
