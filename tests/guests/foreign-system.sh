#!/usr/bin/env bash
# usage: foreign-system.sh ARCH DIR PACKAGE...
# Fills DIR with a Debian system of a foreign architecture, arm64 or s390x, for foreign-vm.sh to boot: a
# kernel, an image of a root with the PACKAGEs and all that they depend on, and in DIR/headers the files of
# libpython3-dev, to compile for it. A DIR that is complete is left alone. apt does it, from the mirror that
# this machine's apt uses, with signatures checked; packages are unpacked only, and nothing is installed here.
set -euo pipefail
suite=trixie # has every Python package that the tests need
arch=$1 dir=$(realpath -m "$2"); shift 2
key=/usr/share/keyrings/debian-archive-keyring.gpg

die() { echo "foreign-system.sh: $*" >&2; exit 1; }

case $arch in
  arm64) kernel=linux-image-cloud-arm64 ;;
  s390x) kernel=linux-image-s390x ;;
  *) die "unknown architecture: $arch" ;;
esac
wanted="$suite $arch $*"
[ "$(cat "$dir/complete" 2>/dev/null || true)" != "$wanted" ] || exit 0
for program in busybox mke2fs depmod; do command -v $program >/dev/null || die "needs $program"; done
# one-line entries (deb URI suite ...) and deb822 entries (URIs: URI) alike
mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null |
  tr -d ' ' | sed -n 1p || true)
[ -n "$mirror" ] || die "apt has no Debian mirror here, where the $arch system comes from"
[ -e "$key" ] || die "$key is missing: install debian-archive-keyring"

work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,cache/archives/partial}
echo "deb [signed-by=$key] $mirror $suite main" > "$work/sources.list"
options=(-qq -o APT::Get::Assume-Yes=true -o "APT::Architecture=$arch" -o "APT::Architectures=$arch"
  -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null -o Dir::State::extended_states=/dev/null
  -o Dir::Cache="$work/cache" -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o Dir::Etc::preferencesparts=/dev/null -o APT::Sandbox::User=root -o APT::Install-Recommends=false
  -o Acquire::Languages=none -o Acquire::Retries=3 -o Debug::NoLocking=1)
apt-get "${options[@]}" update || die "the package list of $suite can't be downloaded"

depends() { apt-cache "${options[@]}" depends "$1" | sed -nE "s/^ *Depends: ($2[^ ]*)/\1/p" | sed -n 1p; }
download() { (cd "$work/cache/archives" && apt-get "${options[@]}" download "$@"); }
unpack() { # FOLDER: all that was downloaded
  local package
  for package in "$work"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$1"; rm "$package"
  done
}

rm -rf "$dir"; mkdir -p "$dir"/{modules,headers}
download "$(depends libpython3-dev 'libpython3\.[0-9]*-dev')"
unpack "$dir/headers"; rm -rf "$dir"/headers/usr/{lib,share}

# A root with /usr merged, as the scripts of packages would make it
root=$work/root; mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{boot,dev,etc,proc,root,run,sys,tmp}
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
chmod 1777 "$root/tmp"
apt-get "${options[@]}" install --download-only busybox-static bash coreutils kmod "$@" >/dev/null
download "$(depends "$kernel" 'linux-image-[0-9]')"
unpack "$root"
printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/:/bin/false > "$root/etc/passwd"
printf '%s\n' root:x:0: nogroup:x:65534: > "$root/etc/group"
printf '%s\n' '127.0.0.1 localhost guest' '::1 localhost' > "$root/etc/hosts"
# what update-alternatives would do for numpy
for library in "$root"/usr/lib/*/{blas,lapack}/*.so.*; do [ ! -e "$library" ] || ln -s "$(basename "$(dirname "$library")")/${library##*/}" "$(dirname "$library")/../"; done
[ -e "$root/bin/sh" ] || ln -s bash "$root/bin/sh"
release=$(basename "$root"/lib/modules/*)
depmod --basedir "$root" "$release"
mv "$(find "$root/boot" -name 'vmlinu[xz]*' | sed -n 1p)" "$dir/vmlinuz"
cp "$root/bin/busybox" "$dir/"
# What reaches the root image, in load order; what the kernel has built in is no module and left out
order=10
for module in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk virtio_console \
  rng-core virtio-rng crc32c_generic crc16 mbcache jbd2 ext4; do
  file=$(find "$root/lib/modules" -name "$module.ko*" | sed -n 1p)
  [ -n "$file" ] || continue
  case $file in *.xz) xz -dc "$file" ;; *.zst) zstd -dcq "$file" ;; *) cat "$file" ;; esac \
    > "$dir/modules/$((order++))-$module.ko"
done
rm -rf "$root"/usr/share/{doc,man,locale}
megabytes=$(($(du -sm --apparent-size "$root" | cut -f1) * 5 / 4 + 512))
mke2fs -q -F -t ext4 -O ^has_journal -E lazy_itable_init=1,root_owner=0:0 -m 0 -N $(($(find "$root" | wc -l) + 20000)) \
  -d "$root" "$dir/root.img" "${megabytes}M" >/dev/null
echo "$wanted" > "$dir/complete"
echo "$arch: Linux $release"
