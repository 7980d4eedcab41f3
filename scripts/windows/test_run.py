"""What starts Windows programs does about Wine's failed starts: with a stand-in for Wine."""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("body", "starts", "status", "told"),
    [
        ('[ "$starts" -lt 3 ] && exit 1; echo well', 3, 0, "well\n"),
        ("echo ill; exit 1", 1, 1, "ill\n"),
        ("echo ill >&2; exit 1", 1, 1, "ill\n"),
        ("exit 9", 1, 9, ""),
        ("exit 1", 3, 1, "Wine does not start the program, or that ends with 1 and says nothing\n"),
    ],
)
def test_a_start_that_wine_has_failed_is_tried_again(
    tmp_path: Path, body: str, starts: int, status: int, told: str
) -> None:
    wine = tmp_path / "wine"
    counting = f'echo >>"{tmp_path}/starts"; starts=$(wc -l <"{tmp_path}/starts")'
    wine.write_text(f"#!/bin/bash\n{counting}\n{body}\n")
    wine.chmod(0o755)
    system = tmp_path / "prefix/drive_c/windows/system32"
    system.mkdir(parents=True)
    (system / "bcryptprimitives.dll").touch()
    environment = {
        "PATH": "/usr/bin:/bin",
        "OVERLAPPED_WINE": str(wine),
        "OVERLAPPED_WINEPREFIX": str(tmp_path / "prefix"),
    }
    done = subprocess.run(
        [HERE / "run.sh", "the program"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (status, told)
    assert len((tmp_path / "starts").read_text()) == starts
