"""What the library that Rust's programs load under Wine does about failed starts: with a stand-in for Windows."""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAM = """
static int starts;
#define SYSTEM_START(...) (SetLastError((DWORD)outcomes[starts]), outcomes[starts++] == 0)
static const int outcomes[] = {OUTCOMES};
#include "bcryptprimitives.c"
#include <stdio.h>

int main(void) {
    take_its_place((BYTE *)GetModuleHandleW(NULL), GetProcAddress(GetModuleHandleW(L"kernel32"), "CreateProcessW"));
    BOOL well = CreateProcessW(L"program", NULL, NULL, NULL, FALSE, 0, NULL, NULL, NULL, NULL);
    printf("%d after %d, error %lu\\n", well, starts, GetLastError());
    return 0;
}
"""


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        ([1359, 1359, 0], "1 after 3, error 0"),
        ([1359] * 10, "0 after 5, error 1359"),
        ([1359, 2, 0], "0 after 2, error 2"),
    ],
)
def test_a_start_that_wine_has_failed_is_tried_again(tmp_path: Path, outcomes: list[int], told: str) -> None:
    source, program = tmp_path / "start.c", tmp_path / "start.exe"
    source.write_text(PROGRAM.replace("OUTCOMES", ", ".join(map(str, outcomes))))
    subprocess.run(
        ["x86_64-w64-mingw32-gcc", "-Wall", "-Werror", f"-I{HERE}", source, "-o", program, "-ladvapi32"], check=True
    )
    ran = subprocess.run([HERE / "run.sh", program], capture_output=True, text=True)
    assert ran.stdout.strip() == told, ran.stderr
