#!/bin/bash
# Finds what this machine lacks: `prepare.sh` to build, `prepare.sh test` for the tests, `prepare.sh check` for the lints.
# Debian's packages it installs where it may (root, apt-get); else it names the command and ends with 1.
# PYTHON is the interpreter that is to be used.
set -euo pipefail
for_what=${1:-build}
python=${PYTHON:-python3}

fail() {
  printf 'overlapped: %s\n' "$@" >&2
  exit 1
}

finds() { "$python" -c "import $1" 2>/dev/null; }

command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.95 or later from https://rustup.rs"
rust=$(rustc --version | cut -d' ' -f2)
[ "$(printf '%s\n' 1.95.0 "$rust" | sort -V | head -1)" = 1.95.0 ] ||
  fail "Rust 1.95 or later is needed, this is $rust: rustup update stable (https://rustup.rs)"

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  fail "Python 3.11 or later is needed, $python is $("$python" --version 2>&1 || true): try make PYTHON=python3.11"

# The interpreter that comes from Debian has its parts in packages; any other is expected to be whole.
packages=()
command -v cc >/dev/null || packages+=(gcc libc6-dev)
version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
# native-tls is built with it, of tests/crates.
needs_openssl() { pkg-config --exists openssl 2>/dev/null || packages+=(libssl-dev pkg-config); }
case $for_what in
  build)
    finds venv,ensurepip || packages+=("$version-venv")
    ;;
  test)
    finds test.test_socket || packages+=("lib$version-testsuite")
    command -v redis-server >/dev/null || packages+=(redis-server)
    needs_openssl
    command -v wrk >/dev/null || packages+=(wrk)
    command -v h2load >/dev/null || packages+=(nghttp2-client)
    [ -e /etc/services ] || packages+=(netbase)
    ;;
  check)
    needs_openssl
    for component in rustfmt clippy; do
      cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 && continue
      command -v rustup >/dev/null || fail "$component is missing, and there is no rustup to install it with"
      echo "installing $component ..."
      rustup component add --toolchain "$(rustup show active-toolchain | cut -d' ' -f1)" "$component" >/dev/null
    done
    ;;
esac
[ ${#packages[@]} -gt 0 ] || exit 0

install="apt-get install --yes --no-install-recommends ${packages[*]}"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  fail "this machine lacks: ${packages[*]} (as Debian names them). To install:" "  sudo $install"
fi
echo "installing ${packages[*]} ..."
log=$(mktemp)
# A service that is installed along must not start: the tests start their own.
if ! { apt-get update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive $install; } </dev/null >"$log" 2>&1; then
  tail -20 "$log" >&2
  fail "this command failed: $install"
fi
rm "$log"
