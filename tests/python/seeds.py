"""Storms that can be run again: each has a seed, which a failure names."""

import os
import random
from collections.abc import Callable


def with_a_seed(storm: Callable[[int], object]) -> None:
    """Runs a storm with the seed of ``OVERLAPPED_SEED``, else with one of its own; adds it to what it raises."""
    seed = int(os.environ.get("OVERLAPPED_SEED", random.randrange(1 << 32)))
    try:
        storm(seed)
    except BaseException as error:
        error.add_note(f"OVERLAPPED_SEED={seed}")
        raise
