#!/bin/bash
# Runs a Windows program under Wine: run.sh PROGRAM [ARGUMENT]... (cargo's runner, see .cargo/config.toml).
# Where several start at once, Wine 8 does not start one in some thousands: it ends with 1 and has said nothing. Such a one
# is started again, as sitecustomize.py and bcryptprimitives.c do for programs that other Windows programs start.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/wine-environment.sh"
if [ ! -e "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" ]; then
  echo "$WINEPREFIX is not ready for Wine: run $here/setup-wine.sh once" >&2
  exit 1
fi
keep_server
said=$(mktemp)
trap 'rm -f "$said"' EXIT
exec {out}> >(tee -a "$said") && out_tee=$!
exec {err}> >(tee -a "$said" >&2) && err_tee=$!

# Ends when all that was said is passed on; a program that this one has left may hold on to it, and is not waited for.
finish() {
  exec {out}>&- {err}>&-
  timeout 2 tail -s 0.02 --pid "$out_tee" -f /dev/null || true
  timeout 2 tail -s 0.02 --pid "$err_tee" -f /dev/null || true
  exit "$1"
}

for attempt in 1 2 3; do
  status=0
  "$wine" "$@" >&$out 2>&$err {out}>&- {err}>&- || status=$?
  [ $status = 1 ] || finish $status
  sleep 1 # That the last lines are there.
  [ ! -s "$said" ] || finish 1
done
echo "Wine does not start $1, or that ends with 1 and says nothing" >&2
finish 1
