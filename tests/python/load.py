"""Limits of time that follow the load: a test that hangs is to be ended, one that others keep waiting is not."""

import os
from pathlib import Path

MOST = 10.0
"""However crowded the machine is, limits are no more than this many times as long."""


def crowd() -> float:
    """How many wanted each processor in the last minute, as a factor for limits of time: from 1 to `MOST`.

    It is the load average of proc(5), which under Wine is to be had too; 1 where the system tells none.
    """
    for path in ("/proc/loadavg", "Z:\\proc\\loadavg"):
        try:
            wanted = float(Path(path).read_text().split()[0])
        except (OSError, ValueError):
            continue
        return min(max(wanted / (os.cpu_count() or 1), 1.0), MOST)
    return 1.0
