#!/bin/bash
# Whether the two crates are ready for crates.io: each feature alone, the documentation as docs.rs builds it (for Windows too), the
# packages, which are built as others would get them, and whether what was released still compiles against them. Some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
crates=(--package overlapped-port --package overlapped)
windows=x86_64-pc-windows-msvc

# Those for builds with a sanitizer or valgrind are none of a program's, but have to compile.
for feature in "" rustls futures-io hyper tower tracing sanitizer valgrind; do
  echo "cargo check --no-default-features --features '$feature'"
  RUSTFLAGS="${RUSTFLAGS:-} -D warnings" cargo check --quiet --package overlapped --no-default-features --features "$feature"
done

# docs.rs has a nightly compiler and says so by a cfg.
rustup target list --installed | grep -qx "$windows" || rustup target add "$windows"
features=overlapped/rustls,overlapped/tower,overlapped/futures-io,overlapped/tracing
for target in "" "$windows"; do
  echo "cargo doc ${target:+--target $target}"
  RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS="--cfg docsrs --deny warnings" cargo doc --quiet --no-deps --target-dir target/docs \
    ${target:+--target "$target"} "${crates[@]}" --features "$features"
done

echo "cargo package"
cargo package --quiet "${crates[@]}" --allow-dirty

# cargo-semver-checks looks at rustdoc's account of both versions: a release is a tag "v…".
if ! release=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null); then
  echo "nothing was released yet: there is no tag v… to compare with"
elif cargo semver-checks --version >/dev/null 2>&1; then
  cargo semver-checks "${crates[@]}" --baseline-rev "$release" --features rustls,tower,futures-io,tracing
else
  echo "not compared with $release: cargo install --locked cargo-semver-checks" >&2
  exit 1
fi
