#!/usr/bin/env bash
# usage: foreign.sh [-t SECONDS] ARCH [PYTEST_ARGUMENT...]
# Runs tests in a guest of a foreign architecture, arm64 or s390x, as root: with the compiled module, which is
# cross-compiled for it, and then in pure Python. All that the guest needs is made in .cache/foreign/ARCH.
set -euo pipefail
limit=1800
while getopts t: option; do case $option in t) limit=$OPTARG ;; *) exit 64 ;; esac; done
shift $((OPTIND - 1))
[ $# -ge 1 ] || { sed -n 2p "$0" >&2; exit 64; }
arch=$1; shift
here=$(dirname "$(realpath "$0")"); cd "$here/../.."
system=.cache/foreign/$arch
packages=(python3 python3-{trio,pyelftools,pytest,pytest-trio,hypothesis,click,rich,numpy} iproute2 mount util-linux bpftool)
# An emulated interpreter is slow. So first both twins, in one process, and the kernel tests; then, in pure
# Python, what the choice of a twin is left to the library in.
twins=$(grep -lE '\bnative\b|\bhot\b' tests/unit/test_*.py | grep -v test_package.py)
streams=$(grep -lE 'bpfstream\.(streams|aio)|\.events\(' tests/unit/test_*.py)
kernel_streams=$(grep -lE '\.events\(' tests/kernel/test_*.py)

kernel=tests/kernel
# their objects are little-endian
[ "$arch" != s390x ] || kernel='' kernel_streams=''
case $arch in
  arm64) triplet=aarch64-linux-gnu; packages+=(python3-msgspec) ;;
  s390x) triplet=s390x-linux-gnu ;; # for which Debian has no msgspec
  *) echo "foreign.sh: unknown architecture: $arch" >&2; exit 64 ;;
esac
"$here/foreign-system.sh" "$arch" "$system" "${packages[@]}"

project=$(mktemp -d); trap 'rm -rf "$project"' EXIT
tar -c --exclude=__pycache__ --exclude='*.so' pyproject.toml README.md bpfstream docs examples tests | tar -x -C "$project"
include=$system/headers/usr/include
compile() { # OUTPUT ARGUMENT...
  $triplet-gcc -shared -fPIC -O3 -I"$(echo "$include"/python3.*)" -I"$include" "${@:2}" -o "$1"
}
compile "$project/bpfstream/_native/hot.so" -std=c11 -Wall -Wextra -Werror -fvisibility=hidden bpfstream/_native/*.c
if [[ " ${packages[*]} " != *" python3-msgspec "* ]]; then
  if [ ! -e "$system/msgspec/_core.so" ]; then
    sources=$(mktemp -d); trap 'rm -rf "$project" "$sources"' EXIT
    .venv/bin/python -m pip download --quiet --no-deps --no-binary :all: --no-build-isolation -d "$sources" msgspec==0.19.0
    tar -xzf "$sources"/msgspec-*.tar.gz -C "$sources"
    rm -rf "$system/msgspec"; cp -r "$sources"/msgspec-*/msgspec "$system/"
    compile "$system/msgspec/_core.so" -w "$system/msgspec/_core.c"
  fi
  cp -r "$system/msgspec" "$project/"
fi

cat > "$project/test.sh" <<'TEST'
run() { python3 -m pytest -p no:cacheprovider --color=no -rfE --hypothesis-profile=few "$@" || status=1; }
status=0
# what pip would install
echo "$PWD" > /usr/lib/python3/dist-packages/bpfstream.pth
printf '%s\n' '#!/usr/bin/python3' 'import sys' 'from bpfstream.cli import main' 'sys.exit(main())' > /usr/bin/bpfstream
chmod +x /usr/bin/bpfstream
python3 -c 'from bpfstream._native import hot; print(hot.__file__)' || exit
if [ $# -gt 0 ]; then run "$@"; else run $twins $streams $kernel; fi
export BPFSTREAM_PURE=1
if [ $# -gt 0 ]; then run "$@"; else run $streams $kernel_streams; fi
exit $status
TEST
"$here/foreign-vm.sh" -t "$limit" "$system" "$project" \
  env "kernel=$kernel" "twins=${twins//$'\n'/ }" "streams=${streams//$'\n'/ }" "kernel_streams=${kernel_streams//$'\n'/ }" bash test.sh "$@"
