# Sourced by its neighbours: where Wine is and where it keeps its files.
wine=${OVERLAPPED_WINE:-/usr/lib/wine/wine64}
export WINEPREFIX=${OVERLAPPED_WINEPREFIX:-$(cd "$here/../.." && pwd)/target/wine}
export WINEDEBUG=${WINEDEBUG:--all}

# Starts Wine's server, which ends by itself a minute after its last program: with it at hand a program starts in 50 ms
# instead of 1 s. The first program starts Wine's services, which live as long as the server and keep its output open: so
# that is one whose output goes nowhere, or who reads ours would wait for that minute. Who comes meanwhile waits until it
# has ended, or its program would be the first.
keep_server() {
  (
    flock 9
    # The first fails where a server runs already.
    if "${wine%/*}/wineserver64" -p60 >/dev/null 2>&1 </dev/null 9>&-; then
      "$wine" wineboot >/dev/null 2>&1 </dev/null 9>&- || true
    fi
  ) 9>"$WINEPREFIX/starting"
}
