#!/usr/bin/env bash
# usage: vm.sh [-a tcg|kvm] [-m MEGABYTES] [-s CPUS] [-t SECONDS] KERNEL_DIR COMMAND...
# Boots the kernel that kernels.sh unpacked into KERNEL_DIR with the files of this machine, runs COMMAND
# in the current folder as root, prints its output and returns its status; 125 when none came back (the
# guest crashed, or the time was over), 124 when it did not even boot. The guest sees / read-only under
# an overlay in memory: what it writes vanishes. Its network is lo alone; of the shell's environment it
# gets PATH.
set -euo pipefail
accelerator=tcg megabytes=1536 cpus=2 limit=300 boot_limit=120
while getopts a:m:s:t: option; do
  case $option in
    a) accelerator=$OPTARG ;; m) megabytes=$OPTARG ;; s) cpus=$OPTARG ;; t) limit=$OPTARG ;;
    *) exit 64 ;;
  esac
done
shift $((OPTIND - 1))
[ $# -ge 2 ] || { sed -n 2p "$0" >&2; exit 64; }
kernel=$(realpath "$1"); shift

die() { echo "vm.sh: $*" >&2; exit 69; }

[ "$(id -u)" = 0 ] || die "needs root, to share this machine's files with the guest"
for program in qemu-system-x86_64 busybox; do
  command -v $program >/dev/null || die "needs $program"
done
for virtiofsd in /usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd ""; do
  [ ! -x "$virtiofsd" ] || break
done
[ -n "$virtiofsd" ] || die "needs virtiofsd"
vmlinuz=$(find "$kernel" -name 'vmlinuz*' -type f | sed -n 1p)
modules=$(dirname "$(find "$kernel" -path '*/lib/modules/*/kernel' -type d | sed -n 1p)")
[ -n "$vmlinuz" ] || die "no kernel in $kernel"

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The first root: busybox, and the modules that reach the files of the host, in load order. What a
# kernel has built in is not among its modules and is left out.
root=$work/root; mkdir -p "$root"/{bin,sbin,modules,proc,sys,dev,host,memory,new}
cp "$(command -v busybox)" "$root/bin/busybox"
order=10
for module in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci fuse virtiofs overlay; do
  file=$(find "$modules" -name "$module.ko*" | sed -n 1p)
  [ -n "$file" ] || continue
  case $file in *.xz) xz -dc "$file" ;; *.zst) zstd -dcq "$file" ;; *) cat "$file" ;; esac \
    > "$root/modules/$((order++))-$module.ko"
done
{ printf 'cd %q\n' "$PWD"; printf '%q ' "$@"; echo; } > "$root/command"
printf '%s\n' "modules=$(printf %q "$modules")" "export PATH=$(printf %q "$PATH")" > "$root/settings"
cat > "$root/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod $module || echo "insmod $module failed"; done
$b mount -t virtiofs -o ro host /host || $b poweroff -f
$b mount -t tmpfs memory /memory; $b mkdir /memory/upper /memory/work
$b mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /new || $b poweroff -f
cd /new
$b mount -t proc proc proc; $b mount -t sysfs sysfs sys; $b mount -t devtmpfs dev dev; $b mount -t tmpfs run run
$b mkdir -p dev/pts dev/shm run/lock; $b mount -t devpts pts dev/pts; $b mount -t tmpfs shm dev/shm
$b mount -t securityfs security sys/kernel/security; $b mount -t cgroup2 cgroup sys/fs/cgroup
$b mount -t bpf bpf sys/fs/bpf; $b mount -t debugfs debug sys/kernel/debug; $b mount -t tracefs trace sys/kernel/tracing
. /settings
$b mkdir -p lib/modules; $b ln -sfn "$modules" "lib/modules/$($b uname -r)"
echo started >/dev/ttyS2
$b ip link set lo up; $b hostname guest; $b cp /command run/command; $b stty -F /dev/ttyS1 raw -echo
set -o pipefail # a pipe, and not the port itself: what writes to a terminal redraws its lines
HOME=/root TERM=dumb LANG=C.UTF-8 CI=true $b setsid $b chroot /new /bin/bash /run/command </dev/null 2>&1 | $b cat >/dev/ttyS1
echo "status=$?" >/dev/ttyS2; $b sync; $b poweroff -f
INIT
# the kernel looks for modprobe in the first root, the modules are in the second one
printf '%s\n' '#!/bin/busybox sh' 'exec /bin/busybox chroot /new /sbin/modprobe "$@"' > "$root/sbin/modprobe"
chmod +x "$root/init" "$root/sbin/modprobe"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) > "$work/initrd"

case $virtiofsd in # QEMU's own, and its successor
  /usr/lib/qemu/*) sharing=(-o "source=/,cache=always,sandbox=chroot,xattr,no_writeback") ;;
  *) sharing=(--shared-dir=/ --cache=always --sandbox=chroot --xattr) ;;
esac
"$virtiofsd" --socket-path="$work/files" "${sharing[@]}" >"$work/virtiofsd.log" 2>&1 &
for _ in $(seq 100); do [ ! -S "$work/files" ] || break; sleep 0.05; done
[ -S "$work/files" ] || die "virtiofsd did not start: $(tail -n 3 "$work/virtiofsd.log")"

# One thread takes turns between the CPUs: with a thread each, guests lock up now and then where the kernel
# patches its code. CPUs stop each other for a 16-byte compare-and-exchange, which the slab allocator
# uses if it can.
case $accelerator in
  kvm) machine=(-accel kvm -cpu host) ;;
  *) machine=(-accel "tcg,thread=single" -cpu "max,cx16=off") ;;
esac
devices=(
  -object "memory-backend-memfd,id=memory,size=${megabytes}M,share=on" -numa "node,memdev=memory"
  -chardev "socket,id=files,path=$work/files" -device "vhost-user-fs-pci,chardev=files,tag=host"
  -device virtio-rng-pci
  -serial "file:$work/console" -chardev "stdio,id=output,signal=off" -serial chardev:output -serial "file:$work/status"
)
timeout --kill-after=5 "$limit" qemu-system-x86_64 "${machine[@]}" -smp "$cpus" -m "$megabytes" -nodefaults -no-user-config \
  -display none -no-reboot -kernel "$vmlinuz" -initrd "$work/initrd" "${devices[@]}" -append \
  "bpfstream.guest console=ttyS0 quiet panic=-1 oops=panic tsc=reliable mitigations=off nokaslr lsm=landlock,lockdown,yama,apparmor,bpf" \
  </dev/null &
qemu=$!
# An emulated guest hangs now and then before it runs anything, most of all where CPUs are scarce
deadline=$((SECONDS + boot_limit))
until grep -qs started "$work/status" || ! kill -0 $qemu 2>/dev/null; do
  [ $SECONDS -lt $deadline ] || { echo "vm.sh: the guest did not boot within $boot_limit s" >&2; exit 124; }
  sleep 0.1
done
wait $qemu || true # a signal to this script ends the wait at once

status=$(sed -n 's/^status=\([0-9]*\).*/\1/p' "$work/status" 2>/dev/null || true)
if [ -z "$status" ]; then
  echo "vm.sh: no status came back within $limit s; the last lines of the console:" >&2
  tail -n 40 "$work/console" >&2 || true
  status=125
fi
exit "$status"
