#!/bin/bash
# Puts a CPython 3.12 for Windows into FOLDER, with greenlet and pytest, to run under Wine: windows-python.sh FOLDER
# Some 10 s; nothing where FOLDER is complete. Needs mingw (setup-wine.sh) and two sources, for python.org's own
# packages are no Python packages:
# - the DLLs come from PyPI: the wheel of panda3d for Windows brings those of CPython;
# - the standard library's .py files come from a CPython 3.12 of this machine: PY312_LIB names its folder (the one with
#   os.py in it); unset, that of python3.12 on the path, of pyenv or of uv.
# PYTHON is the interpreter whose pip is used. There is no venv under Wine: FOLDER/packages goes into PYTHONPATH.
set -euo pipefail
[ $# = 1 ] || { sed -n 2,8p "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
python=$(command -v "${PYTHON:-python3}")
python=$(realpath -s "$python")
[ ! -e "$1/.complete" ] || exit 0
mkdir -p "$1"
cd "$1"

# What the standard library says of itself must be the version that the DLL is.
is_312() { [ -n "$1" ] && [ -e "$1/os.py" ] && [ "$("$python" - "$1" <<'P'
import os, sys
folder = sys.argv[1]
opcodes = open(os.path.join(folder, "importlib", "_bootstrap_external.py")).read()
print("3.12" if "MAGIC_NUMBER = (3531)" in opcodes else "other")
P
)" = 3.12 ]; }

library=${PY312_LIB:-}
if [ -z "$library" ]; then
  for candidate in "$(command -v python3.12 || true)" \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python3.12 "$HOME"/.local/share/uv/python/cpython-3.12.*/bin/python3.12; do
    [ -x "$candidate" ] || continue
    found=$("$candidate" -c 'import sysconfig; print(sysconfig.get_paths()["stdlib"])' 2>/dev/null) || continue
    is_312 "$found" && library=$found && break
  done
fi
if ! is_312 "$library"; then
  cat >&2 <<'T'
overlapped: the tests on a Windows Python need the standard library of CPython 3.12 (its .py files), and this machine
has none. Install a CPython 3.12 (pyenv install 3.12, uv python install 3.12, or a distribution that has it), or name
its folder: PY312_LIB=/where/it/is/lib/python3.12
T
  exit 1
fi

wheels=$(mktemp -d)
trap 'rm -r "$wheels"' EXIT
download() {
  "$python" -m pip download --quiet --disable-pip-version-check --only-binary=:all: --platform win_amd64 \
    --python-version 3.12 --implementation cp --dest "$wheels" "$@"
}
download --no-deps panda3d==1.10.16 'greenlet>=3.1'
download pytest colorama
rm -rf Lib packages
"$python" - "$wheels" <<'P'
import glob, os, sys, zipfile

DLLS = "python312 vcruntime140 vcruntime140_1 libffi-8 libcrypto-3 libssl-3 sqlite3".split()
for wheel in glob.glob(os.path.join(sys.argv[1], "*.whl")):
    archive = zipfile.ZipFile(wheel)
    if not os.path.basename(wheel).startswith("panda3d-"):
        archive.extractall("packages")
        continue
    for member in archive.namelist():
        folder, _, name = member.rpartition("/")
        stem, extension = os.path.splitext(name.lower())
        wanted = extension == ".pyd" and "tkinter" not in stem or extension == ".dll" and stem in DLLS
        if folder == "deploy_libs" and wanted:
            with open(name, "wb") as file:
                file.write(archive.read(member))
P
cp -r "$library" Lib
rm -rf Lib/site-packages/* Lib/lib-dynload Lib/config-*
find Lib -name __pycache__ -prune -exec rm -r {} +
x86_64-w64-mingw32-gcc -O2 -municode -o python.exe "$here/launcher.c"
touch .complete
