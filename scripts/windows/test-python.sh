#!/bin/bash
# Tests the Python face under Wine: cross-builds the wheel, and runs the tests named in TESTS, the standard library's own
# and the examples on a Windows CPython. Needs what setup-wine.sh installs, and see windows-python.sh. PYTHON has maturin.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
export PYTHON=${PYTHON:-$PWD/.venv/bin/python}
folder=$PWD/target/windows-python
package=$PWD/target/windows-package
# Not among them: what needs fork, Unix sockets, Unix's signals or os.system's shell.
TESTS=(tasklets channels sync timeout queue)
# Python's monotonic clock on Windows counts 15 ms steps: these measure shorter times.
LEFT_OUT=(
  --deselect tests/python/test_tasklets.py::test_sleep_times
  --deselect tests/python/test_queue.py::test_timeout_of_get_is_kept
  --deselect tests/python/test_tasklets.py::test_result_and_exception_with_a_timeout
)
EXAMPLES=(channels echo file_copies timeouts)

"$here/windows-python.sh" "$folder"
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
rm -rf "$package" target/windows-wheels
PYO3_CROSS_PYTHON_VERSION=$version "$PYTHON" -m maturin build --quiet --release --target x86_64-pc-windows-gnu \
  --interpreter "python$version" --features pyo3/generate-import-lib --out target/windows-wheels
"$PYTHON" -m zipfile -e target/windows-wheels/overlapped-*.whl "$package"
export PYTHONPATH="Z:${package//\//\\};Z:${folder//\//\\}\\packages"
export PYTHONDONTWRITEBYTECODE=1

# Under Wine 8, a Python whose output is a regular file ends with an error (WinError 6): hence cat.
windows_python() { timeout --kill-after=10 300 "$here/run.sh" "$folder/python.exe" "$@" </dev/null 2>&1 | cat; }

failed=()
windows_python -m pytest -q -p no:cacheprovider "${LEFT_OUT[@]}" $(printf "tests/python/test_%s.py " "${TESTS[@]}") || failed+=(tests)
# This one runs here, and starts the Windows Python by the command that it is given.
OVERLAPPED_WINDOWS_PYTHON="env 'PYTHONPATH=$PYTHONPATH' '$here/run.sh' '$folder/python.exe'" \
  env -u PYTHONPATH "$PYTHON" -m pytest -o pythonpath=tests/python "$here/test_stdlib.py" || failed+=("the standard library's tests")
for example in "${EXAMPLES[@]}"; do
  echo "== examples/$example.py"
  windows_python -m overlapped "examples/$example.py" || failed+=("examples/$example.py")
done
if [ ${#failed[@]} -gt 0 ]; then
  printf 'Python on Windows, under Wine: %s failed\n' "${failed[@]}" >&2
  exit 1
fi
