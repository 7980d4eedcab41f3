#!/bin/bash
# Unpacks Debian's Python 3.14, from sid, beside this Debian's own: `python3.14.sh FOLDER`, then `FOLDER/usr/bin/python3.14`.
# Nothing is installed: apt-get looks into lists of its own, and the interpreter gets the C library that came with it.
# Needed: Debian, apt-get, patchelf.
set -euo pipefail
command -v patchelf >/dev/null || { echo "patchelf is missing: apt-get install patchelf" >&2; exit 1; }
mkdir -p "$1"
folder=$(realpath "$1")
apt=$(mktemp -d)
trap 'rm -r "$apt"' EXIT
chmod 755 "$apt"
mkdir -p "$apt"/lists/partial "$apt"/archives/partial "$apt"/debs
mirror=$(apt-get indextargets --format '$(ORIGIN) $(SITE)' 'Created-By: Packages' | sed -n 's/^Debian //p' | head -1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$apt/sources.list"
touch "$apt/status"
cat >"$apt/apt.conf" <<CONF
Dir::State "$apt"; Dir::State::status "$apt/status"; Dir::Cache "$apt";
Dir::Etc::sourcelist "$apt/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none"; APT::Sandbox::User "root";
CONF
export APT_CONFIG=$apt/apt.conf
apt-get update --quiet=2
only_needed=(--no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances)
mapfile -t packages < <(
  apt-cache depends --recurse "${only_needed[@]}" python3.14 python3.14-venv libpython3.14-testsuite python3-pip-whl libstdc++6 |
    grep -E '^(lib|python3|zlib1g)' | grep -v -E 'debian-installer|selinux|slang|newt' | sort -u
)
(cd "$apt/debs" && apt-get download --quiet=2 "${packages[@]}")
for package in "$apt"/debs/*.deb; do dpkg-deb --extract "$package" "$folder"; done
libraries=$(dirname "$(find "$folder/usr/lib" -name libc.so.6)")
loader=$(basename "$(patchelf --print-interpreter "$folder/usr/bin/python3.14")")
patchelf --set-interpreter "$libraries/$loader" --force-rpath --set-rpath "$libraries" "$folder/usr/bin/python3.14"
# pip for virtual environments comes as a wheel, which ensurepip looks for where Debian has it.
wheels="'WHEEL_PKG_DIR': '$folder/usr/share/python-wheels/'"
sed -i "s#'WHEEL_PKG_DIR': '[^']*'#$wheels#" "$folder"/usr/lib/python3.14/_sysconfigdata_*.py
"$folder/usr/bin/python3.14" --version
