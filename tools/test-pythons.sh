#!/usr/bin/env bash
# usage: test-pythons.sh PYTHON... [-- PYTEST_ARGUMENT...]
# Runs the tests with each of these interpreters that runs here, with the compiled module and without. Their
# virtual environments are .cache/venvs/VERSION. No interpreter at all is a failure.
set -euo pipefail
here=$(dirname "$(realpath "$0")"); cd "$here/.."
pythons=() results=() failed=0
while [ $# -gt 0 ] && [ "$1" != -- ]; do pythons+=("$1"); shift; done
shift $(($# > 0))

# 3.12, or 3.14t where threads run without a global lock
version_of() {
  "$1" -c 'import sys, sysconfig as s
print("%d.%d" % sys.version_info[:2] + "t" * bool(s.get_config_var("Py_GIL_DISABLED")))' 2>/dev/null
}

for python in "${pythons[@]}"; do
  version=$(version_of "$python") || continue
  venv=.cache/venvs/$version
  if [ ! -e "$venv/.ready" ] || [ pyproject.toml -nt "$venv/.ready" ]; then
    PYTHON=$python "$here/make-venv.sh" "$venv"
    touch "$venv/.ready"
  fi
  "$here/compile-module.sh" "$venv/bin/python"
  for pure in 0 1; do
    kind=$([ $pure = 0 ] && "$venv/bin/python" -c 'from bpfstream._native import COMPILED
print("with the compiled module" if COMPILED else "without a compiled module, which could not be built")' || echo pure)
    echo "== Python $version, $kind"
    result=passed
    BPFSTREAM_PURE=$pure "$venv/bin/python" -m pytest -p no:cacheprovider "$@" || { result=FAILED; failed=1; }
    results+=("Python $version, $kind: $result")
  done
done
[ ${#results[@]} -gt 0 ] || { echo "test-pythons.sh: none of these runs here: ${pythons[*]}" >&2; exit 1; }
printf '%s\n' "${results[@]}"
exit $failed
