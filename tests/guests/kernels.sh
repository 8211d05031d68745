#!/usr/bin/env bash
# usage: kernels.sh DIR SUITE...
# Downloads the newest cloud kernel of each Debian suite and unpacks it into DIR/SUITE; a suite that is
# there already is left alone. apt does it, from the mirror that this machine's apt uses, with signatures
# checked; nothing is installed and the machine's package lists stay as they are.
set -euo pipefail
dir=$(realpath -m "$1"); shift
key=/usr/share/keyrings/debian-archive-keyring.gpg

die() { echo "kernels.sh: $*" >&2; exit 1; }

debian_mirror() {
  # one-line entries (deb URI suite ...) and deb822 entries (URIs: URI) alike
  grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null |
    tr -d ' ' | sed -n 1p
}

download() { # SUITE: unpacks its kernel into $work/kernel
  local suite=$1 image package
  mkdir -p "$work"/{lists/partial,cache/archives/partial,kernel}
  echo "deb [signed-by=$key] $mirror $suite main" > "$work/sources.list"
  local options=(-qq -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$work/cache"
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User=root
    -o Acquire::Languages=none -o Acquire::Retries=3)
  depends() { apt-cache "${options[@]}" depends "$1" | sed -nE "s/^ *Depends: ($2[^ ]*)/\1/p"; }
  apt-get "${options[@]}" update || die "$suite: its package list can't be downloaded"
  image=$(depends linux-image-cloud-amd64 'linux-image-[0-9]' | sed -n 1p)
  [ -n "$image" ] || die "$suite has no cloud kernel"
  # newer kernels come in parts
  for package in "$image" $(depends "$image" 'linux-(binary|modules)-'); do
    (cd "$work" && apt-get "${options[@]}" download "$package")
    dpkg -x "$work/$package"_*.deb "$work/kernel"
  done
  echo "$suite: $image"
}

missing=()
for suite in "$@"; do [ -d "$dir/$suite" ] || missing+=("$suite"); done
[ ${#missing[@]} -gt 0 ] || exit 0
mirror=$(debian_mirror || true)
[ -n "$mirror" ] || die "apt has no Debian mirror here, where the kernels of ${missing[*]} come from"
[ -e "$key" ] || die "$key is missing: install debian-archive-keyring"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p "$dir"
for suite in "${missing[@]}"; do
  download "$suite"
  # complete or not there: what an interrupted run leaves is not taken for a kernel
  rm -rf "$dir/$suite.part"; mv "$work/kernel" "$dir/$suite.part"; rm -rf "${work:?}"/*
  modules=$(find "$dir/$suite.part" -path '*/lib/modules/*/kernel' -type d | sed -n 1p)
  depmod --basedir "${modules%/lib/modules/*}" "$(basename "$(dirname "$modules")")"
  mv "$dir/$suite.part" "$dir/$suite"
done
