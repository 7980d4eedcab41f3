#!/bin/bash
# Runs a Windows program under Wine: run.sh PROGRAM [ARGUMENT]... (cargo's runner, see .cargo/config.toml).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/wine-environment.sh"
if [ ! -e "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" ]; then
  echo "$WINEPREFIX is not ready for Wine: run $here/setup-wine.sh once" >&2
  exit 1
fi
keep_server
exec "$wine" "$@"
