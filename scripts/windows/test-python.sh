#!/bin/bash
# Tests the Python face under Wine: cross-builds the wheel, and runs the package's tests (test_examples runs the examples)
# and the standard library's on a Windows CPython. Needs what setup-wine.sh installs, and see windows-python.sh. PYTHON has
# maturin.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
export PYTHON=${PYTHON:-$PWD/.venv/bin/python}
folder=$PWD/target/windows-python
package=$PWD/target/windows-package
# Left out: what needs fork, Unix sockets or a redis server, and the standard library's tests, which have a way of their own.
LEFT_OUT=(fork unix clients stdlib)
PROGRAMS=(examples explain handoff interrupt main monkey prefork readme ssl)

"$here/windows-python.sh" "$folder"
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
rm -rf "$package" target/windows-wheels
PYO3_CROSS_PYTHON_VERSION=$version "$PYTHON" -m maturin build --quiet --release --target x86_64-pc-windows-gnu \
  --interpreter "python$version" --features pyo3/generate-import-lib --out target/windows-wheels
"$PYTHON" -m zipfile -e target/windows-wheels/overlapped-*.whl "$package"
export PYTHONPATH="Z:${package//\//\\};Z:${folder//\//\\}\\packages"
export PYTHONDONTWRITEBYTECODE=1

# Servers and workers of the hand-off's and prefork's other language.
cargo build --quiet --package overlapped --example handoff --example prefork --target x86_64-pc-windows-gnu
examples=Z:${PWD//\//\\}'\target\x86_64-pc-windows-gnu\debug\examples'
export OVERLAPPED_TEST_RUST_HANDOFF="$examples\handoff.exe" OVERLAPPED_TEST_RUST_PREFORK="$examples\prefork.exe"

# Under Wine 8, a Python whose output is a regular file ends with an error (WinError 6): hence cat, which is not waited
# for: a program that a failed test has left may hold its input.
source "$here/patience.sh"
windows_python() { timeout --kill-after=10 "$(patience 1500)" "$here/run.sh" "$folder/python.exe" "$@" </dev/null > >(cat) 2>&1; }

# A run that does not come to its end, because it is killed or a test's time is up, is told by the test that it was in.
package_tests() {
  local note status=0
  note=target/windows-test-$BASHPID
  OVERLAPPED_TEST_NOTE=$note windows_python -m pytest -p no:cacheprovider "$@" || status=$?
  if [ $status != 0 ] && [ -s "$note" ]; then printf '\nit was in %s\n' "$(cat "$note")"; fi
  rm -f "$note"
  return $status
}

failed=()
# Two runs at once: what starts programs mostly waits for them.
package_tests $(printf 'tests/python/test_%s.py ' "${PROGRAMS[@]}") >target/windows-programs.log &
programs=$!
package_tests tests/python $(printf -- '--ignore=tests/python/test_%s.py ' "${LEFT_OUT[@]}" "${PROGRAMS[@]}") || failed+=(tests)
wait $programs || failed+=("tests of programs")
sleep 1 # That cat may have some lines left.
cat target/windows-programs.log
# These run here; the first starts the Windows Python by the command that it is given.
OVERLAPPED_WINDOWS_PYTHON="env 'PYTHONPATH=$PYTHONPATH' '$here/run.sh' '$folder/python.exe'" \
  env -u PYTHONPATH "$PYTHON" -m pytest -o pythonpath=tests/python "$here"/test_{stdlib,sitecustomize,bcryptprimitives,run}.py ||
  failed+=("the standard library's tests")
if [ ${#failed[@]} -gt 0 ]; then
  printf 'Python on Windows, under Wine: %s failed\n' "${failed[@]}" >&2
  exit 1
fi
