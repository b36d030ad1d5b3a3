#!/bin/bash
# A small machine with a kernel of its own: control groups v2 that enforce, pressure, real disks. Emulated, so it starts
# anywhere, in a few seconds, as any user.
#
#   qemu.sh build DIR                  fetch Debian's cloud kernel into DIR, once; ext4 and virtio are loaded
#   qemu.sh run DIR SCRIPT [OPTION]…   boot, run SCRIPT as root with busybox sh, power off; its output and status
#     -p PROGRAM    a program of this machine, with the libraries it needs, put into the guest's /bin
#     -d IMAGE      a disk: /dev/vda, /dev/vdb, …
#   $MEM is the guest's memory (512M), $TIMEOUT the longest it may run (120 s).
set -eu

build() {
  local kernel version self
  self=$(sha256sum <"$0")
  mkdir -p "$1" && cd "$1"
  # Tests that build at once: one does it, the others wait; and again when this script has changed.
  exec 9>lock
  flock 9
  [ "$(cat ready 2>/dev/null)" != "$self" ] || return 0
  kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9]\)/\1/p' | head -n 1)
  apt-get download -qq "$kernel" >/dev/null 2>&1
  rm -rf kernel guest
  dpkg-deb -x "$kernel"_*.deb kernel
  rm -f "$kernel"_*.deb
  version=$(ls kernel/lib/modules)
  cp kernel/boot/vmlinuz-* vmlinuz
  depmod -b kernel "$version"
  mkdir -p guest/bin guest/mods
  cp /bin/busybox guest/bin/
  for module in virtio_pci virtio_blk ext4; do
    modprobe -d "$PWD/kernel" -S "$version" --show-depends "$module"
  done | awk '/^insmod/ && !seen[$2]++ {print $2}' > list
  xargs -n1 basename < list > guest/mods/order
  xargs cp -t guest/mods < list
  cat > guest/init <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
for module in $(cat /mods/order); do insmod /mods/$module; done
echo '+memory +pids +cpu +io' > /sys/fs/cgroup/cgroup.subtree_control
echo @@BEGIN
sh /script 2>&1
echo "@@STATUS=$?"
poweroff -f
INIT
  chmod +x guest/init
  rm -rf kernel list
  echo "$self" > ready
}

add_program() { # GUEST PROGRAM
  cp -L "$2" "$1/bin/"
  ldd "$2" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$1/$(dirname "$library")"
    cp -L "$library" "$1/$library"
  done
}

run() {
  local dir=$1 script=$2 work disks=() n=0 status
  shift 2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cp -r "$dir/guest" "$work/guest"
  cp "$script" "$work/guest/script"
  while [ $# -gt 0 ]; do
    case $1 in
    -p) add_program "$work/guest" "$2" ;;
    -d)
      disks+=(-drive "file=$2,if=none,id=d$n,format=raw" -device "virtio-blk-pci,drive=d$n")
      n=$((n + 1))
      ;;
    esac
    shift 2
  done
  (cd "$work/guest" && find . | cpio -o -H newc --quiet | gzip -1 > ../initrd)
  timeout -k 5 "${TIMEOUT:-120}" qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -smp 2 -m "${MEM:-512M}" \
    -nodefaults -no-reboot -display none -serial stdio -kernel "$dir/vmlinuz" -initrd "$work/initrd" "${disks[@]}" \
    -append "console=ttyS0 quiet loglevel=1 psi=1" </dev/null >"$work/log" 2>&1 || true
  tr -d '\r' <"$work/log" | sed -n '/^@@BEGIN/,$p' | grep -v '^@@\|reboot: Power down' || true
  status=$(tr -d '\r' <"$work/log" | sed -n 's/^@@STATUS=//p')
  [ -n "$status" ] || cat "$work/log" >&2
  exit "${status:-125}"
}

action=$1
shift
"$action" "$@"
