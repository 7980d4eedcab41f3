#!/usr/bin/env python3
"""Runs the Rust tests, or a command, on another Linux kernel: one of Debian's, in an emulated machine.

    scripts/kernel.py [--kernel PACKAGE] [--backend uring] [--command COMMAND] [WORD ...]

QEMU emulates the processor, so nothing but its packages is needed (no /dev/kvm); that costs some times the time. The
machine's root is this one's, read-only (9p), with what is written on top in its memory: so what was built here runs
there. WORD chooses test programs by their names; COMMAND is run in the tree in the place of them. The kernel is that of
this machine's Debian, `linux-image-amd64`, or the package that is named (apt has to know it). Limits of time are ten
times as long there, for the tests are told of a crowd.

The Rust face's programs run on io_uring and on poll, or on the one `--backend`. What a program printed that failed is
shown, and stays with all others' in target/kernel/PACKAGE/out.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from crates import FACE, PORT

ROOT = Path(__file__).resolve().parent.parent
TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "cpio": "cpio", "depmod": "kmod"}
MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]
LIMIT = 3600
"""Seconds for one test program, or for the command, emulated."""

INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
mkdir /host /top /new
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,ro,cache=loose host /host
mount -t tmpfs tmpfs /top
mkdir /top/upper /top/work
mount -t overlay -o lowerdir=/host,upperdir=/top/upper,workdir=/top/work overlay /new
mount -t proc proc /new/proc
mount -t sysfs sysfs /new/sys
mount -t devtmpfs dev /new/dev
mkdir -p /new/dev/pts /new/dev/shm
ln -s /proc/self/fd /new/dev/fd
mount -t devpts devpts /new/dev/pts
mount -t tmpfs tmpfs /new/dev/shm
mount -t tmpfs tmpfs /new/tmp
mount -t tmpfs tmpfs /new/run
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 out /new/mnt
exec switch_root /new /bin/sh /mnt/guest.sh
"""

GUEST = """ip link set lo up || busybox ifconfig lo 127.0.0.1 up
ulimit -n 65536
echo '20.0 20.0 20.0 1/100 1' > /run/loadavg
mount --bind /run/loadavg /proc/loadavg
uname -r > /mnt/kernel
run() {{ # NAME FOLDER COMMAND...
  name=$1; cd "$2"; shift 2
  timeout {limit} "$@" > "/mnt/$name.log" 2>&1
  echo "$? $name" >> /mnt/results
}}
{jobs}
sync
echo o > /proc/sysrq-trigger
while :; do :; done
"""


def need_tools() -> None:
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if missing := [package for tool, package in TOOLS.items() if not shutil.which(tool)]:
        sys.exit(f"missing; install them with: apt-get install --no-install-recommends {' '.join(missing)}")


def unpack(package: str, place: Path) -> Path:
    """Unpacks Debian's kernel; returns the folder."""
    told = subprocess.run(["apt-cache", "depends", "--important", package], capture_output=True, text=True, check=True)
    # The package of the newest version is empty, and depends on that.
    package = next((line.split()[1] for line in told.stdout.splitlines() if "Depends: linux-image-" in line), package)
    place /= package
    if not (place / "boot").is_dir():
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", package], cwd=place, check=True)
        subprocess.run(["dpkg-deb", "--extract", next(place.glob("*.deb")), place], check=True)
    return place


def first_disk(kernel: Path) -> Path:
    """What the kernel begins with: busybox, and the modules for a root by 9p."""
    tree = kernel / "first-disk"
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("bin", "proc", "dev", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", tree / "bin")
    for tool in ("sh", "mount", "insmod", "mkdir", "ln", "cat", "switch_root"):
        (tree / "bin" / tool).symlink_to("busybox")
    folder = next((kernel / "lib" / "modules").iterdir())
    subprocess.run(["depmod", "-b", kernel, folder.name], check=True)
    needs = dict(line.split(":", 1) for line in (folder / "modules.dep").read_text().splitlines())
    order: dict[str, None] = {}
    for module in MODULES:
        for path in (path for path in needs if Path(path).name.split(".")[0] == module):
            for needed in [*reversed(needs[path].split()), path]:
                data = (folder / needed).read_bytes()
                file = Path(needed).name.removesuffix(".xz")
                (tree / "modules" / file).write_bytes(lzma.decompress(data) if needed.endswith(".xz") else data)
                order[file] = None
    (tree / "modules" / "order").write_text("\n".join(order))
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in [tree, *tree.rglob("*")])
    disk = kernel / "first-disk.cpio"
    archive = ["cpio", "--create", "--format=newc", "--quiet", f"--file={disk}"]
    subprocess.run(archive, cwd=tree, input=names, text=True, check=True)
    return disk


def programs(words: list[str], backends: list[str]) -> Iterator[tuple[str, Path, list[str]]]:
    """The test programs, built: of each run its name, its folder and its command."""
    for crate, its_backends in ((PORT, [""]), (FACE, backends)):
        command = ["cargo", "test", "--no-run", "--message-format=json", "--quiet", *crate]
        told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
        for line in map(json.loads, told.splitlines()):
            if line["reason"] != "compiler-artifact" or not line["profile"]["test"] or not line["executable"]:
                continue
            name = f"{crate[1]}-{line['target']['name']}"
            if words and not any(word in name for word in words):
                continue
            run = [line["executable"], "--test-threads=2"]
            for backend in its_backends:
                chosen = ["env", f"OVERLAPPED_BACKEND={backend}"] if backend else []
                yield f"{name}-{backend}".removesuffix("-"), Path(line["manifest_path"]).parent, [*chosen, *run]


def boot(kernel: Path, disk: Path, out: Path) -> subprocess.Popen[bytes]:
    shares = [("host", "/", ",readonly=on"), ("out", out, "")]
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "6G", "-smp", "2"]
    command += ["-kernel", str(next((kernel / "boot").glob("vmlinuz-*"))), "-initrd", str(disk)]
    command += ["-append", "console=ttyS0 panic=-1 quiet", "-nographic", "-no-reboot"]
    for name, path, more in shares:
        command += ["-fsdev", f"local,id={name},path={path},security_model=none,multidevs=remap{more}"]
        command += ["-device", f"virtio-9p-pci,fsdev={name},mount_tag={name}"]
    with (out / "console").open("wb") as console:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)


def follow(machine: subprocess.Popen[bytes], out: Path, shows_all: bool) -> tuple[int, list[str]]:
    """Tells of each run as it ends, until the machine has; returns how many there were, and which failed."""
    ended, failed = 0, []
    is_running = True
    while is_running:
        time.sleep(1)
        is_running = machine.poll() is None
        results = (out / "results").read_text().splitlines() if (out / "results").exists() else []
        for result in results[ended:]:
            status, name = result.split()
            log = (out / f"{name}.log").read_text(errors="replace")
            told = [line for line in log.splitlines() if line.startswith("test result:")]
            print(f"{name}: {told[-1] if told else f'exit status {status}'}", flush=True)
            if status != "0":
                failed.append(name)
            if status != "0" or shows_all:
                print(log)
        ended = len(results)
    return ended, failed


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the Rust tests, or a command, on another Linux kernel.")
    parser.add_argument("words", nargs="*", metavar="WORD", help="of a test program's name (all)")
    parser.add_argument("--kernel", default="linux-image-amd64", help="Debian's package (linux-image-amd64)")
    parser.add_argument("--backend", choices=["uring", "poll"], help="of the Rust face's tests (both)")
    parser.add_argument("--command", help="to run in the tree, in the place of the tests")
    options = parser.parse_args()
    need_tools()
    if options.command:
        jobs = [("command", ROOT, ["sh", "-c", options.command])]
    else:
        jobs = list(programs(options.words, [options.backend] if options.backend else ["uring", "poll"]))
    kernel = unpack(options.kernel, ROOT / "target" / "kernel")
    disk = first_disk(kernel)
    out = kernel / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    lines = "\n".join(shlex.join(["run", name, str(folder), *command]) for name, folder, command in jobs)
    (out / "guest.sh").write_text(GUEST.format(limit=LIMIT, jobs=lines))
    machine = boot(kernel, disk, out)
    try:
        ended, failed = follow(machine, out, shows_all=bool(options.command))
    finally:
        machine.kill()
    if ended < len(jobs):
        failed.append("the machine, which ended before the tests had: see its console")
    release = (out / "kernel").read_text().strip() if (out / "kernel").exists() else "the kernel"
    print(f"on {release}: {ended} of {len(jobs)} ended; {'failed: ' + ', '.join(failed) if failed else 'all is well'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
