#!/usr/bin/env bash
# usage: run.sh PYTHON [PYTEST_ARGUMENT...]
# Runs the tests of the compiled module with it built under AddressSanitizer and UndefinedBehaviorSanitizer,
# for PYTHON, which has pytest; then looks for memory that it allocated and nobody can reach any more. The
# first fault ends the run. The build is in .cache/sanitized, beside a copy of the package; the module of
# other runs stays as it is.
set -euo pipefail
python=$(realpath -s "$1"); shift
cd "$(dirname "$0")/../.."
build=.cache/sanitized
rm -rf "$build/lib"
# what is warned of is an error here, for setup.py is content with a warning
CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1 -Werror" \
  LDFLAGS="-fsanitize=address,undefined" BPFSTREAM_PURE=0 BPFSTREAM_REQUIRE_COMPILED=1 \
  "$python" setup.py -q build --build-base "$build/base" --build-lib "$build/lib"

# The interpreter knows nothing of sanitizers: their runtimes come before all other libraries
runtimes=$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libubsan.so)
export UBSAN_OPTIONS=print_stacktrace=1
sanitized() { # ASAN_OPTIONS COMMAND...
  env LD_PRELOAD="$runtimes" PYTHONMALLOC=malloc ASAN_OPTIONS="abort_on_error=1:$1" "${@:2}"
}
tests=("$python" -m pytest -q -p no:cacheprovider -o "pythonpath=$build/lib .")

PYTHONPATH=$build/lib sanitized detect_leaks=0 "$python" -P -c \
  'from bpfstream._native import hot; assert "sanitized" in hot.__file__, hot.__file__'
if [ $# -gt 0 ]; then
  sanitized detect_leaks=0 "${tests[@]}" "$@"
  exit
fi
# those that take the fixture `native`, or use the module itself
mapfile -t files < <(grep -lE '\bnative\b|\bhot\b' tests/unit/test_*.py | grep -vE 'test_(package|native_fuzz)\.py')
sanitized detect_leaks=0 "${tests[@]}" -k "not pure" "${files[@]}"
sanitized detect_leaks=0 "${tests[@]}" --hypothesis-profile=many tests/unit/test_native_fuzz.py

# Stacks as deep as they are, for the interpreter has no frame pointers. What it leaks itself does not count.
rm -f "$build"/leaks.*
PYTHONPATH=$build/lib:. LSAN_OPTIONS=exitcode=0 \
  sanitized "detect_leaks=1:fast_unwind_on_malloc=0:log_path=$build/leaks" "$python" -P -c \
  'from tests.support.native_calls import CALLS, repeat
for name in CALLS: repeat(name, 5)'
if grep -s 'bpfstream/_native/' "$build"/leaks.*; then
  echo "run.sh: the compiled module leaks memory, see $build/leaks.*" >&2; exit 1
fi
