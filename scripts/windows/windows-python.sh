#!/bin/bash
# Puts a CPython for Windows into FOLDER, with greenlet and pytest, to run under Wine: windows-python.sh FOLDER
# It is of the version of PYTHON, the interpreter at hand. Some 15 s; nothing where FOLDER is complete. Needs mingw
# (setup-wine.sh) and two sources, for python.org's own packages are no Python packages:
# - the DLLs come from PyPI: the wheel of panda3d for Windows brings those of CPython;
# - the standard library's .py files are PYTHON's own. Its micro version may be another than the DLL's (Debian 12 has
#   3.11.2, the DLL is 3.11.9): the bytecode is the same, and nothing that the tests need has changed in between. Debian
#   has the modules of `test` in libpython3.11-testsuite, which prepare.sh installs.
# There is no venv under Wine: FOLDER/packages goes into PYTHONPATH.
set -euo pipefail
[ $# = 1 ] || { sed -n 2,9p "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
python=$(command -v "${PYTHON:-python3}")
python=$(realpath -s "$python")
library=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# What was put there is from here, and as this script would do it today; without the modules of `test` it is another.
mark="$(ls -d "$library" "$library/test/test_socket.py" 2>/dev/null || true)"
mark+=" $(cat "$0" "$here/launcher.c" "$here/sitecustomize.py" | sha256sum)"
[ "$(cat "$1/.complete" 2>/dev/null)" != "$mark" ] || exit 0
rm -rf "$1"
mkdir -p "$1"
cd "$1"

wheels=$(mktemp -d)
trap 'rm -r "$wheels"' EXIT
download() {
  "$python" -m pip download --quiet --disable-pip-version-check --only-binary=:all: --platform win_amd64 \
    --python-version "$version" --implementation cp --dest "$wheels" "$@"
}
download --no-deps panda3d==1.10.16 'greenlet>=3.1'
download pytest colorama trustme requests
"$python" - "$wheels" "$library" <<'P'
import glob, os, shutil, sys, zipfile

wheels, library = sys.argv[1:]
VERSION = "%d%d" % sys.version_info[:2]
DLLS = [f"python{VERSION}", *"vcruntime140 vcruntime140_1 libffi-8 libcrypto-3 libssl-3 sqlite3 zlib1".split()]
for wheel in glob.glob(os.path.join(wheels, "*.whl")):
    archive = zipfile.ZipFile(wheel)
    if not os.path.basename(wheel).startswith("panda3d-"):
        archive.extractall("packages")
        continue
    for member in archive.namelist():
        folder, _, name = member.rpartition("/")
        stem, extension = os.path.splitext(name.lower())
        # Not those of tkinter, nor of the Python without a GIL (.cp313t-win_amd64.pyd).
        wanted = extension == ".pyd" and "." not in stem and stem != "_tkinter" or extension == ".dll" and stem in DLLS
        if folder == "deploy_libs" and wanted:
            with open(name, "wb") as file:
                file.write(archive.read(member))

# Neither what is installed there, nor what is built for this system; a Linux distribution's sitecustomize is for it.
OTHERS = shutil.ignore_patterns("__pycache__", "site-packages", "dist-packages", "lib-dynload", "config-*", "sitecustomize.py")
shutil.copytree(library, "Lib", ignore=OTHERS, symlinks=False, ignore_dangling_symlinks=True)
os.makedirs(os.path.join("Lib", "site-packages"), exist_ok=True)
P
# In the place of the distribution's.
cp "$here/sitecustomize.py" Lib/sitecustomize.py
dll=python${version/./}
x86_64-w64-mingw32-gcc -O2 -municode "-DLIBRARY=L\"$dll.dll\"" -o python.exe "$here/launcher.c"
# python3.dll, for modules that are built for every version: each of its names is one of the other library's.
x86_64-w64-mingw32-objdump -p "$dll.dll" |
  awk -v dll="$dll" 'BEGIN { print "EXPORTS" } /Name Pointer. Table/ { names = 1 }
    names && /^\t\[ *[0-9]+\]/ { print "  " $NF " = " dll "." $NF }' >python3.def
x86_64-w64-mingw32-gcc -shared -nostdlib -Wl,-e,0 -o python3.dll python3.def
rm python3.def
echo "$mark" >.complete
