#!/bin/bash
# Tests the Windows side under Wine: the conformance suite on completion ports, both crates' tests, doctests and examples,
# and the Python package on a Windows CPython.
# Installs what it needs (scripts/windows/setup-wine.sh). A machine that cannot have Wine fails here, unless
# OVERLAPPED_SKIP_WINDOWS=1 says by name that Windows is not to be tested.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD/scripts/windows
target=x86_64-pc-windows-gnu
source "$here/patience.sh"
# Seconds for each of the steps, several times what the longest takes where nothing else runs: what hangs in a test is told
# by the test, long before.
patience=$(patience "${OVERLAPPED_WINDOWS_PATIENCE:-2400}")

loudly() {
  printf '\n*** %s\n' "$@" >&2
}

if [ "${OVERLAPPED_SKIP_WINDOWS:-}" = 1 ]; then
  loudly "Windows is NOT tested: OVERLAPPED_SKIP_WINDOWS=1 says so."
  exit 0
fi
if ! timeout "$patience" "$here/setup-wine.sh"; then
  loudly "Windows cannot be tested: this machine has no Wine to run its programs, and setup-wine.sh could not install it." \
    "It needs Debian 12's packages wine64 and gcc-mingw-w64-x86-64-win32, and rustup." \
    "To pass without testing Windows, say so: OVERLAPPED_SKIP_WINDOWS=1"
  exit 1
fi
source "$here/wine-environment.sh"
# Wine's server is that of this WINEPREFIX alone.
trap '/usr/lib/wine/wineserver64 -k >/dev/null 2>&1 || true' EXIT

failed=()
step() {
  local name=$1 status=0
  shift
  echo "== Windows under Wine, after $SECONDS s: $name"
  timeout --kill-after=10 "$patience" "$@" || status=$?
  case $status in
    0) ;;
    124 | 137) failed+=("$name (it had not ended after $patience s)") ;;
    *) failed+=("$name") ;;
  esac
}

step "the programs are built" cargo build --quiet --target "$target" --package overlapped --features tower,futures-io,tracing --examples
# The next program of tests runs also where one has failed: each failure is to have its test's name in the report.
step "the completion port, its conformance suite" cargo test --no-fail-fast --target "$target" --package overlapped-port
step "tasklets, sockets, files, examples" cargo test --no-fail-fast --target "$target" \
  --package overlapped --features tower,futures-io,tracing
step "Python" "$here/test-python.sh"

if [ ${#failed[@]} -gt 0 ]; then
  loudly "Windows, under Wine, failed:" "${failed[@]}"
  exit 1
fi
echo "Windows, under Wine: all is well"
