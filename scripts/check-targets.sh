#!/bin/bash
# Type-checks the crates for systems that the tests do not run on: check-targets.sh [TARGET]...
# The readiness backend through kqueue (macOS, FreeBSD) and Windows' own tool chain are checked here and not run.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(
  x86_64-pc-windows-msvc
  aarch64-unknown-linux-gnu
  x86_64-unknown-linux-musl
  aarch64-apple-darwin
  x86_64-unknown-freebsd
)
installed=$(rustup target list --installed)
for target in "${targets[@]}"; do
  grep -qx "$target" <<<"$installed" || rustup target add "$target"
  echo "cargo check --target $target"
  # With the tests of the port; those of the other crate need a C compiler for the target.
  RUSTFLAGS="${RUSTFLAGS:-} -D warnings" cargo check -q --target "$target" -p overlapped-port --tests
  RUSTFLAGS="${RUSTFLAGS:-} -D warnings" cargo check -q --target "$target" -p overlapped
done
