#!/bin/bash
# Readies a Debian 12 machine to build for Windows and to run the result under Wine (some 35 s; 1 s where it is ready).
# After it, `cargo test --target x86_64-pc-windows-gnu` works: .cargo/config.toml names run.sh as the runner.
# OVERLAPPED_WINEPREFIX says where Wine keeps its files; unset, target/wine of this checkout.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/wine-environment.sh"

packages=()
command -v x86_64-w64-mingw32-gcc >/dev/null || packages+=(gcc-mingw-w64-x86-64-win32)
[ -x "$wine" ] || packages+=(wine64)
if [ ${#packages[@]} -gt 0 ]; then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
rustup target list --installed | grep -qx x86_64-pc-windows-gnu || rustup target add x86_64-pc-windows-gnu

library="$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll"
if [ ! -e "$library" ]; then
  mkdir -p "$WINEPREFIX"
  keep_server
  "$wine" wineboot --init >/dev/null 2>&1 </dev/null
  # Wine 8 says that it is Windows 7, and Python takes it at its word: its pipes then lose empty messages.
  "$wine" reg add 'HKCU\Software\Wine' /v Version /d win10 /f >/dev/null 2>&1 </dev/null
fi
if [ ! "$library" -nt "$here/bcryptprimitives.c" ]; then
  # Rust's std imports ProcessPrng from this library; Wine 8 has no such library, and a program that needs it ends with
  # exit code 53 and no word.
  x86_64-w64-mingw32-gcc -O2 -shared -o "$library" "$here/bcryptprimitives.c" -ladvapi32
fi
