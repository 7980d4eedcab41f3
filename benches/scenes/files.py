"""Files: opens, and copies of many at once, with a ticker beside them that is to run on; on all cores."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from charts import Chart
from plan import Plan
from processes import Failed, figures
from tables import OURS, Figures, Found, Table

RUST = (OURS, "tokio", "compio", "monoio", "std")
RUST_RANDOM = (OURS, "tokio", "compio", "monoio", "glommio", "std")
POOL = "tokio, spawn_blocking"
"""Positioned reads of the standard library's, which tokio's own files do not have."""
PAGES = 65_536
"""Of the file that is read at random: 256 MiB."""
PYTHON = {name: ("files.py", name) for name in (OURS, "gevent", "aiofiles", "blocking")}
BIG = 3_000_000
"""Bytes of a big file; ten of a set are big, and twenty small."""


def scene(plan: Plan) -> Iterator[Chart]:
    with tempfile.TemporaryDirectory(prefix="overlapped-bench-", dir=plan.files_in) as folder:
        yield _python(plan, Path(folder))
        yield _rust(plan, Path(folder))
        yield _random(plan, Path(folder))


def _python(plan: Plan, folder: Path) -> Chart:
    sets = 3
    commands = plan.python(PYTHON)
    source = folder / "python"
    source.mkdir()
    for number in range(sets):
        for big in range(10):
            (source / f"{number}-big-{big}").write_bytes(os.urandom(BIG))
        for small in range(20):
            (source / f"{number}-small-{small}").write_bytes(os.urandom(100 * small + 1))

    def one(name: str) -> Figures:
        done = _into_a_fresh_folder(commands[name], source)
        megabytes = done["bytes"] / 1e6
        return {
            "ms": done["seconds"] * 1e3,
            "cpu_us": done["cpu"] / megabytes * 1e6,
            "worst_gap": done["worst_gap_ms"],
        }

    costs = {"ms": ("ms", ".1f"), "cpu_us": ("CPU µs a MB", ".0f")}
    chart = Chart("files-python", f"{sets * 30} files copied at once in Python, in pieces of 64 KiB")
    chart.add(Table("", *_warmed(plan, list(commands), one), costs, GAP, aside=("blocking",)))
    return chart


def _rust(plan: Plan, folder: Path) -> Chart:
    commands = plan.rust("files", RUST)
    source = folder / "rust"
    source.mkdir()
    for big in range(10):
        (source / f"big-{big}").write_bytes(os.urandom(BIG))
    for small in range(30):
        (source / f"small-{small}").write_bytes(os.urandom(4096))

    def one(name: str) -> Figures:
        return _into_a_fresh_folder(commands[name], source)

    costs = {
        "open": ("open and close, ns", ".0f"),
        "small": ("30 files of 4 KiB copied, ms", ".2f"),
        "all": ("these and ten of 3 MB copied, ms", ".1f"),
    }
    chart = Chart("files-rust", "Files in Rust")
    chart.add(Table("", *_warmed(plan, list(commands), one), costs, GAP, aside=("std",)))
    return chart


def _random(plan: Plan, folder: Path) -> Chart:
    """What is not in the cache is measured of the disk, where the folder is on one."""
    commands = {name: [*command, folder / "pages"] for name, command in plan.rust("random", RUST_RANDOM).items()}
    if "tokio" in commands:
        commands[POOL] = [*commands["tokio"], "blocking"]
    with open(folder / "pages", "wb") as pages:
        for number in range(PAGES):
            pages.write(number.to_bytes(8, "little").ljust(4096, b"\0"))
        pages.flush()
        os.fsync(pages.fileno())

    costs = {
        "cached": ("in the cache, ns", ".0f"),
        "cached_cpu": ("in the cache, CPU ns", ".0f"),
        "cold": ("from the disk, ns", ".0f"),
        "cold_cpu": ("from the disk, CPU ns", ".0f"),
    }
    chart = Chart("random", "64 readers of 4 KiB anywhere in a file of 256 MiB, a read")
    chart.add(Table("", *plan.interleaved(list(commands), lambda name: figures(commands[name])), costs, aside=("std",)))
    return chart


GAP = {"worst_gap": ("worst gap of the 1 ms ticker, ms", ".1f")}


def _into_a_fresh_folder(command: list[object], source: Path) -> Figures:
    target = tempfile.mkdtemp(dir=source.parent)
    try:
        return figures([*command, source, target])
    finally:
        shutil.rmtree(target)


def _warmed(plan: Plan, names: list[str], one: Callable[[str], Figures]) -> Found:
    """Each once for nothing: fills the page cache and the guest's free memory. What fails is told in the rounds."""
    for name in names:
        with contextlib.suppress(Failed):
            one(name)
    return plan.interleaved(names, one)
