"""How much of the machine others take, and waiting until it is little.

What a core did is in `/proc/stat`, in ticks of 10 ms, whoever did it; with what a hypervisor gave to other guests
(`steal`, proc(5)). What we did ourselves is known by rusage. The rest is others'. The time that interrupts took is
counted as busy: on loopback it is the kernel's TCP, which rusage charges to whoever was running.
"""

import os
import resource
import sys
import time
from pathlib import Path

BUSY = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
IDLE = ("idle", "iowait")


def _busy() -> float:
    """Seconds that all cores together were busy since the machine began, or were given to other guests."""
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    ticks = dict(zip(BUSY, map(int, line.split()[1:]), strict=False))
    return sum(count for kind, count in ticks.items() if kind not in IDLE) / os.sysconf("SC_CLK_TCK")


def _ours() -> float:
    """CPU seconds of this process, and of its children that have ended."""
    usages = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Others:
    """The share of all cores that others took since this was made, or since `share` was last asked.

    A child counts once it has ended: ask when none of ours runs.
    """

    def __init__(self) -> None:
        self.share()

    def share(self) -> float:
        now = time.monotonic(), _busy(), _ours()
        then = getattr(self, "_then", now)
        self._then = now
        seconds, busy, ours = (after - before for after, before in zip(now, then, strict=True))
        return min(1.0, max(0.0, busy - ours) / (seconds * (os.cpu_count() or 1))) if seconds else 0.0


class Calm:
    """Waits before a round until others take little; for a while only, as a figure with a disturbance is still one."""

    LITTLE = 0.06
    """The share of the cores up to which the machine counts as calm: three ticks of a window on two cores."""
    WINDOW = 0.25
    """Seconds over which it is looked at."""
    LONGEST = 20.0
    """Seconds before one round."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        """Seconds that may still be waited, in the whole run."""
        self.waited = 0.0

    def wait(self) -> None:
        """Says so where it waits, and how it ended."""
        began = time.monotonic()
        longest = min(self.LONGEST, self._patience)
        others = Others()
        told = False
        while True:
            time.sleep(self.WINDOW)
            share, passed = others.share(), time.monotonic() - began
            calm = share <= self.LITTLE
            if calm or passed >= longest:
                break
            if not told:
                print(f"others take {share:.0%} of the cores; waiting up to {longest:.0f} s ...", file=sys.stderr)
                told = True
        if told:
            print(f"waited {passed:.0f} s; others take {share:.0%} now", file=sys.stderr)
            self._patience -= passed
            self.waited += passed
