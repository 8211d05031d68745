#!/usr/bin/env bash
# usage: install-packages.sh PACKAGE...
# Installs those Debian or Ubuntu packages that are missing. What can't be installed (not root, another
# distribution, not in this release) is said and is no failure: the tests that need it skip by name.
set -euo pipefail

say() { echo "install-packages.sh: $*" >&2; }

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

has_candidate() { [[ $(apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[!\(]* ]]; }

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null >/dev/null; }

if ! command -v apt-get >/dev/null; then
  say "no apt-get here; tests may need these Debian packages: $*"; exit 0
fi
missing=()
for package in "$@"; do is_installed "$package" || missing+=("$package"); done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
  say "not root; left out: ${missing[*]}"; exit 0
fi

for package in "${missing[@]}"; do
  has_candidate "$package" || { apt update || say "apt-get update failed"; break; }
done
available=()
for package in "${missing[@]}"; do
  if has_candidate "$package"; then available+=("$package"); else say "this release has no package $package"; fi
done
[ ${#available[@]} -gt 0 ] || exit 0
say "installing ${available[*]}"
install=(install --yes --no-install-recommends "${available[@]}")
# package lists that are out of date name files that are gone
apt "${install[@]}" || { apt update && apt "${install[@]}"; } || say "could not be installed: ${available[*]}"
