#!/usr/bin/env bash
# usage: foreign-vm.sh [-m MEGABYTES] [-s CPUS] [-t SECONDS] SYSTEM_DIR FOLDER COMMAND...
# Boots the system that foreign-system.sh put into SYSTEM_DIR, under emulation, runs COMMAND as root in a copy
# of FOLDER, prints its output and returns its status; 125 when none came back (the guest crashed, or the time
# was over). The guest may write anywhere: what it writes vanishes. Its network is lo alone.
set -euo pipefail
megabytes=1536 cpus=2 limit=900
while getopts m:s:t: option; do
  case $option in m) megabytes=$OPTARG ;; s) cpus=$OPTARG ;; t) limit=$OPTARG ;; *) exit 64 ;; esac
done
shift $((OPTIND - 1))
[ $# -ge 3 ] || { sed -n 2p "$0" >&2; exit 64; }
system=$(realpath "$1") folder=$(realpath "$2"); shift 2

die() { echo "foreign-vm.sh: $*" >&2; exit 69; }

read -r _ arch _ < "$system/complete" || die "not a complete system: $system"
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

bus=pci console=(-serial "file:$work/console")
case $arch in
  arm64) qemu=qemu-system-aarch64 terminal=ttyAMA0 machine=(-M virt -cpu cortex-a72) ;;
  s390x) qemu=qemu-system-s390x terminal=ttysclp0 bus=ccw machine=(-M s390-ccw-virtio -cpu max)
    console=(-chardev "file,id=console,path=$work/console" -device "sclpconsole,chardev=console") ;;
esac
for program in $qemu busybox mke2fs; do command -v $program >/dev/null || die "needs $program"; done

megabytes_of() { du -sm --apparent-size "$1" | cut -f1; }
mke2fs -q -F -t ext4 -O ^has_journal -E lazy_itable_init=1,root_owner=0:0 -m 0 -N $(($(find "$folder" | wc -l) + 20000)) \
  -d "$folder" "$work/folder.img" "$(($(megabytes_of "$folder") * 5 / 4 + 256))M" >/dev/null

# The first root: busybox, and the modules that reach the images
root=$work/root; mkdir -p "$root"/{bin,proc,sys,dev,new}
cp "$system/busybox" "$root/bin/"; cp -r "$system/modules" "$root/"
{ echo 'cd /project'; printf '%q ' "$@"; echo; } > "$root/command"
cat > "$root/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
disk() { for device in /sys/block/vd*; do [ "$($b cat $device/serial)" != "$1" ] || echo /dev/${device##*/}; done; }
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod $module || echo "insmod $module failed"; done
$b mount -t ext4 "$(disk root)" /new || $b poweroff -f
$b mkdir /new/project; $b mount -t ext4 "$(disk folder)" /new/project || $b poweroff -f
cd /new
$b mount -t proc proc proc; $b mount -t sysfs sysfs sys; $b mount -t devtmpfs dev dev; $b mount -t tmpfs run run
$b mkdir -p dev/pts dev/shm run/lock; $b mount -t devpts pts dev/pts; $b mount -t tmpfs shm dev/shm; $b mount -t tmpfs tmp tmp
$b mount -t securityfs security sys/kernel/security; $b mount -t cgroup2 cgroup sys/fs/cgroup
$b mount -t bpf bpf sys/fs/bpf; $b mount -t debugfs debug sys/kernel/debug; $b mount -t tracefs trace sys/kernel/tracing
$b ln -s /proc/self/fd dev/fd; $b cp /command run/command; $b ip link set lo up; $b hostname guest
tries=0
until set -- /dev/vport*p1 /dev/vport*p2; [ -c "$2" ] || [ $tries = 50 ]; do tries=$((tries + 1)); $b sleep 0.1; done
set -o pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root TERM=dumb LANG=C.UTF-8 CI=true
$b setsid $b chroot /new /bin/bash /run/command </dev/null 2>&1 | $b chroot /new /bin/cat >"$1"
echo "status=$?" >"$2"; $b sync; $b poweroff -f
INIT
# the kernel looks for modprobe in the first root, the modules are in the second one
mkdir "$root/sbin"; printf '%s\n' '#!/bin/busybox sh' 'exec /bin/busybox chroot /new /sbin/modprobe "$@"' > "$root/sbin/modprobe"
chmod +x "$root/init" "$root/sbin/modprobe"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) > "$work/initrd"

drives=()
for image in "root=$system/root.img" "folder=$work/folder.img"; do
  drives+=(-drive "if=none,id=${image%%=*},format=raw,snapshot=on,cache=unsafe,file=${image#*=}"
    -device "virtio-blk-$bus,drive=${image%%=*},serial=${image%%=*}")
done
mkfifo "$work/output"
cat "$work/output" & # a port with stdio behind it is unplugged at the end of stdin
reader=$!
TMPDIR=$work timeout --kill-after=5 "$limit" "$qemu" "${machine[@]}" -accel tcg,thread=multi -smp "$cpus" -m "$megabytes" \
  -nodefaults -no-user-config -display none -no-reboot -kernel "$system/vmlinuz" -initrd "$work/initrd" \
  -append "console=$terminal quiet panic=-1 oops=panic bpfstream.guest" "${console[@]}" "${drives[@]}" \
  -device "virtio-rng-$bus" -device "virtio-serial-$bus" \
  -chardev "file,id=output,path=$work/output" -device virtserialport,chardev=output,nr=1 \
  -chardev "file,id=status,path=$work/status" -device virtserialport,chardev=status,nr=2 </dev/null &
wait $! || true # a signal to this script ends the wait at once
exec 3<>"$work/output" 3>&- # ends a reader that qemu did not come to write to
wait $reader || true

status=$(sed -n 's/^status=\([0-9]*\).*/\1/p' "$work/status" 2>/dev/null || true)
if [ -z "$status" ]; then
  echo "foreign-vm.sh: no status came back within $limit s; the last lines of the console:" >&2
  tail -n 40 "$work/console" >&2 || true
  status=125
fi
exit "$status"
