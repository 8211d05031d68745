#!/usr/bin/env bash
# usage: make-venv.sh DIR
# Makes the virtual environment DIR, with this package (editable) and its development tools, from the
# first Python >= 3.11 that runs: $PYTHON if set, python3, python3.14 ... python3.11.
set -euo pipefail
dir=$1
here=$(dirname "$0")

die() { echo "make-venv.sh: $*" >&2; exit 1; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.1{4,3,2,1}; do
    if is_new_enough "$candidate"; then echo "$candidate"; return; fi
  done
  die "Python 3.11 or later is needed and none was found (PYTHON=/path/to/python names one)"
}

python=$(find_python)
# Debian keeps ensurepip, which venv needs, in a package of its own
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  "$here/install-packages.sh" "$package"
  "$python" -c 'import ensurepip, venv' || die "$python can't make virtual environments: install $package"
fi
if ! "$dir/bin/python" -c 'import pip' 2>/dev/null; then
  "$python" -m venv --clear "$dir"
fi
# the compiled module is compile-module.sh's
BPFSTREAM_PURE=1 "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$here/..[dev]"
# pip compiles what it copies, but not an editable package: without this the first start, and every
# start under PYTHONDONTWRITEBYTECODE, would compile it
"$dir/bin/python" -m compileall -q "$here/../bpfstream"
