# `patience SECONDS`: so many, or more where others want the processors too: as many times as the load average says (proc(5)),
# ten times at most. tests/python/load.py says the same in Python.
patience() {
  awk -v seconds="$1" -v processors="$(nproc)" \
    '{ crowd = $1 / processors; if (crowd < 1) crowd = 1; if (crowd > 10) crowd = 10; print int(seconds * crowd) }' /proc/loadavg
}
