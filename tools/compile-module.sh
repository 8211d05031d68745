#!/usr/bin/env bash
# usage: compile-module.sh PYTHON
# Builds the compiled module in place for PYTHON, which has setuptools. Where it lacks a compiler or Python's
# headers, and they can't be installed, that is said and is no failure: all works in Python. A module that
# does not compile is one.
set -euo pipefail
python=$1
cd "$(dirname "$0")/.."

has_compiler() { "$python" -c 'import shutil, sysconfig as s; exit(not shutil.which(s.get_config_var("CC").split()[0]))'; }
has_headers() { "$python" -c 'import os, sysconfig as s; exit(not os.path.exists(s.get_path("include") + "/Python.h"))'; }
# Debian has the headers of its own interpreters in packages of their own
debian_headers() { "$python" -c 'import sys; print("libpython%d.%d-dev" % sys.version_info[:2])'; }

has_compiler || tools/install-packages.sh gcc libc6-dev
has_headers || tools/install-packages.sh "$(debian_headers)"
if has_compiler && has_headers; then
  # shared with other interpreters, whose objects have the same names but other folders
  BPFSTREAM_PURE=0 BPFSTREAM_REQUIRE_COMPILED=1 "$python" setup.py -q build_ext --inplace
else
  echo "compile-module.sh: no C compiler, or no headers for $python: left out the compiled module" >&2
fi
