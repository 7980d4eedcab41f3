"""Runs the Rust tests under tools that see what a test cannot: `make sanitize`, or `sanitize.py TOOL...`.

- **address**: AddressSanitizer over both crates' tests, each backend. Rust offers it to nightly compilers; the stable
  one has it too and is asked with RUSTC_BOOTSTRAP=1. The standard library is the one that is installed, which is not
  instrumented; the allocator is AddressSanitizer's all the same. Stack switches are told (feature `sanitizer`).
- **valgrind**: memcheck over the face's tests, on the poll backend alone: of what the kernel writes through io_uring's
  rings valgrind knows nothing, and its 3.19 never comes back from waiting there. Stacks are told (feature `valgrind`).
- **loom**: every interleaving of the wake protocol, tests/wake_protocol.rs of the port.
- **miri**: undefined behaviour in the parts that neither call the kernel nor switch stacks, which Miri cannot.

What is missing is installed where that may be done (root and apt-get, rustup), else named. Ends with 1 where a tool has
found something or is missing; Miri, which no stable Rust has, is left out with a word where there is no nightly.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from crates import FACE, PORT

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = [chosen] if (chosen := os.environ.get("OVERLAPPED_BACKEND")) else ["uring", "poll"]

ASAN_OPTIONS = ":".join(
    [
        # Tests of the port leak what the kernel may still own, and what a suspended tasklet's stack holds is not found.
        "detect_leaks=0",
        # What there is no memory for is an error that the tests expect, and not the end.
        "allocator_may_return_null=1",
        # Faults are our handler's, which has tests; who gets none dies of the signal.
        "handle_segv=0",
        "handle_sigbus=0",
    ]
)
UNDER_ASAN_NOT = ["mappings::", "all_ways_are_gone_"]
"""Tests of what memory costs, of which AddressSanitizer's shadow costs more, and one that makes some ten thousand
worlds, each with new stacks: their shadows stay, and came to over 11 GB."""

UNDER_VALGRIND = [
    "channels",
    "sync",
    "tasklets",
    "leaving",
    "offload",
    "operate_any",
    "conversions",
    "files",
    "unix",
    "unix_sockets",
    "udp",
    "tcp",
    "broadcasts",
    "connect",
    "ecosystem_block_on",
    "ecosystem_futures_io",
    "first_of",
    "framing",
    "groups",
    "halves",
    "locals",
    "locks",
    "mpmc",
    "notify",
    "once",
    "pools",
    "queues",
    "ready",
    "rwlocks",
    "scopes",
    "select",
    "threads",
    "tokens",
]
"""The face's test files that take some minutes there at most, and do not need two threads that run at once."""

UNDER_MIRI = [
    (
        "overlapped-port",
        ["slots::", "buffers::", "step::", "table::", "inbox::", "uring::lanes::"],
        ["uring::buffers", "poll", "memory_that_is_not_there"],
    ),
    (
        "overlapped",
        [
            "attempt::",
            "pieces::",
            "wait_list::",
            "book::",
            "crew::",
            "delay::",
            "expectations::",
            "handoff::wire::",
            "interrupt::",
            "journal::",
            "net::race::",
            "scheduler::ready::",
            "ticket::",
        ],
        ["not_touched", "no_call_is_asked", "noise"],
    ),
]
"""Crate, what of its unit tests is run, and what of these not: they ask the kernel, or move much."""

PATIENCE = 900
"""Seconds for each command."""


def run(command: list[str], **environment: str) -> bool:
    """Runs a command; whether it ended well."""
    print(f"\n== {' '.join(f'{name}={value}' for name, value in environment.items())} {' '.join(command)}", flush=True)
    try:
        return subprocess.run(command, cwd=ROOT, env=os.environ | environment, timeout=PATIENCE).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"it had not ended after {PATIENCE} s", flush=True)
        return False


def host() -> str:
    """The compiler's own target. It is named, so that what runs while building is built without the tool."""
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"^host: (.+)$", version, re.MULTILINE)
    assert found
    return found[1]


def address() -> Iterator[bool]:
    build = {
        "RUSTC_BOOTSTRAP": "1",
        "RUSTFLAGS": "-Zsanitizer=address",
        "CARGO_TARGET_DIR": "target/sanitize-address",
        "ASAN_OPTIONS": ASAN_OPTIONS,
    }
    skips = [word for test in UNDER_ASAN_NOT for word in ("--skip", test)]
    test = ["cargo", "test", "--quiet", "--no-fail-fast", "--target", host(), "--lib", "--tests"]
    yield run([*test, *PORT, "--", *skips], **build)
    examples = ["cargo", "build", "--quiet", "--target", host(), "--examples"]
    yield run([*examples, *FACE, "--features", "overlapped/sanitizer"], **build)
    # By itself: it takes as long as the tests.
    yield run([*test, "--no-run", *FACE, "--features", "overlapped/sanitizer"], **build)
    for backend in BACKENDS:
        command = [*test, *FACE, "--features", "overlapped/sanitizer", "--", *skips]
        yield run(command, **build, OVERLAPPED_BACKEND=backend)


def valgrind() -> Iterator[bool]:
    if shutil.which("valgrind") is None and not install("valgrind"):
        yield False
        return
    build = ["cargo", "test", "--quiet", *FACE, "--features", "overlapped/valgrind"]
    checked = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=no"]
    for name in UNDER_VALGRIND:
        yield run(
            [*build, "--test", name, "--", "--test-threads=1"],
            CARGO_TARGET_DIR="target/sanitize-valgrind",
            OVERLAPPED_BACKEND="poll",
            **{f"CARGO_TARGET_{host().upper().replace('-', '_')}_RUNNER": " ".join(checked)},
        )


def loom() -> Iterator[bool]:
    command = ["cargo", "test", "--quiet", "--release", *PORT, "--test", "wake_protocol"]
    yield run(command, RUSTFLAGS="--cfg loom", CARGO_TARGET_DIR="target/sanitize-loom")


def miri() -> Iterator[bool]:
    nightly = ["rustup", "run", "nightly"]
    if (
        shutil.which("rustup") is None
        or subprocess.run([*nightly, "rustc", "--version"], capture_output=True).returncode
    ):
        print("\n!! Miri is left out: it needs a nightly Rust (rustup toolchain install nightly)")
        return
    if not run(["rustup", "component", "add", "--toolchain", "nightly", "miri", "rust-src"]):
        print("!! Miri is left out: this nightly has none")
        return
    for package, tests, skips in UNDER_MIRI:
        skipped = [word for test in skips for word in ("--skip", test)]
        command = ["cargo", "miri", "test", "--quiet", "--package", package, "--lib", "--", *tests, *skipped]
        yield run([*nightly, *command], CARGO_TARGET_DIR="target/sanitize-miri")


def install(package: str) -> bool:
    """Installs a package of Debian's where that may be done; else names the command."""
    command = ["apt-get", "install", "--yes", "--no-install-recommends", package]
    if os.geteuid() == 0 and shutil.which("apt-get") and run(["apt-get", "update"]) and run(command):
        return True
    print(f"!! {package} is missing: sudo {' '.join(command)}", flush=True)
    return False


TOOLS = {"address": address, "valgrind": valgrind, "loom": loom, "miri": miri}


def main() -> None:
    names = sys.argv[1:] or list(TOOLS)
    if unknown := set(names) - set(TOOLS):
        sys.exit(f"no such tools: {', '.join(sorted(unknown))}; there are {', '.join(TOOLS)}")
    told = []
    for name in names:
        begun = time.monotonic()
        results = list(TOOLS[name]())
        told.append((name, results.count(True), results.count(False), time.monotonic() - begun))
    print(f"\n{'tool':10} {'well':>6} {'failed':>6} {'seconds':>8}")
    for name, well, failed, seconds in told:
        print(f"{name:10} {well:6} {failed:6} {seconds:8.0f}")
    sys.exit(any(failed for _, _, failed, _ in told))


main()
