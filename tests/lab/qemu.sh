#!/bin/bash
# A small machine with a kernel of its own: control groups v2 that enforce, pressure, real disks. Emulated, so it starts
# anywhere, in a few seconds, as any user.
#
#   qemu.sh build DIR                  fetch Debian's cloud kernel into DIR, once; ext4 and virtio are loaded
#   qemu.sh run DIR SCRIPT [OPTION]…   boot, run SCRIPT as root with busybox sh, power off; its output and status
#     -p PROGRAM    a program of this machine, with the libraries it needs, put into the guest's /bin
#     -d IMAGE      a disk: /dev/vda, /dev/vdb, …
#     -s ROOTFS     boot systemd in a throw-away copy of this root file system (rootfs); SCRIPT, a service of its own there, is
#                   run by bash, and the programs of the options after it, without libraries, are in /run/w; the copy is /dev/vda
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
if [ -e /systemd ]; then
  mkdir /new
  mount -t ext4 /dev/vda /new
  mount -t tmpfs -o mode=755 run /new/run
  mv /w /new/run/w
  mv /systemd /new/run/systemd
  mv /script /new/run/w/script
  mount --move /dev /new/dev
  umount /tmp /sys/fs/cgroup /sys /proc
  exec switch_root /new /sbin/init
fi
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

# What systemd is to start, and not to start, in a machine that lives for seconds.
add_systemd() { # GUEST
  local unit masked=$1/systemd/system
  mkdir -p "$1/w" "$masked"
  for unit in systemd-{journal-flush,modules-load,network-generator,pcrphase,pcrphase-sysinit,random-seed,repart,sysctl}.service \
    systemd-{sysusers,tmpfiles-setup,tmpfiles-setup-dev,update-utmp,binfmt,firstboot,remount-fs,machine-id-commit}.service \
    systemd-ask-password-{console,wall}.path systemd-initctl.socket kmod-static-nodes.service modprobe@.service quotaon.service \
    dev-{hugepages,mqueue}.mount sys-kernel-{config,debug,tracing}.mount sys-fs-fuse-connections.mount \
    proc-sys-fs-binfmt_misc.automount e2scrub_reap.service timers.target getty.target cron.service; do
    ln -s /dev/null "$masked/$unit"
  done
  cat > "$masked/check.service" <<'UNIT'
[Unit]
Wants=systemd-logind.service dbus.socket systemd-user-sessions.service
After=systemd-logind.service dbus.socket systemd-user-sessions.service
[Service]
Type=oneshot
KillMode=process
TimeoutStartSec=infinity
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
Environment=TERM=dumb HOME=/root
ExecStart=/bin/sh -c 'echo @@BEGIN; cd /; bash /run/w/script; echo "@@STATUS=$$?"; sleep 0.2; exec systemctl poweroff -ff'
UNIT
}

# The root file system as a disk, made once.
image_of() { # ROOTFS
  exec 8> "$1.lock"
  flock 8
  if [ ! -e "$1.ext4" ]; then
    mke2fs -q -F -t ext4 -O ^has_journal -d "$1" "$1.part" 800M > /dev/null
    mv "$1.part" "$1.ext4"
  fi
  flock -u 8
}

add_program() { # GUEST PROGRAM
  cp -L "$2" "$1/bin/"
  ldd "$2" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$1/$(dirname "$library")"
    cp -L "$library" "$1/$library"
  done
}

disk() { # IMAGE HOW
  disks+=(-drive "file=$1,if=none,id=d$n,format=raw,$2" -device "virtio-blk-pci,drive=d$n")
  n=$((n + 1))
}

run() {
  local dir=$1 script=$2 work disks=() n=0 status words=
  shift 2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cp -r "$dir/guest" "$work/guest"
  cp "$script" "$work/guest/script"
  while [ $# -gt 0 ]; do
    case $1 in
    -p) if [ "$words" ]; then cp -L "$2" "$work/guest/w/"; else add_program "$work/guest" "$2"; fi ;;
    -s)
      words="systemd.unit=check.service systemd.show_status=0 mitigations=off"
      add_systemd "$work/guest"
      image_of "$2"
      disk "$2.ext4" snapshot=on
      ;;
    -d) disk "$2" snapshot=off ;;
    esac
    shift 2
  done
  (cd "$work/guest" && find . | cpio -o -H newc --quiet | gzip -1 > ../initrd)
  timeout -k 5 "${TIMEOUT:-120}" qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -smp 2 -m "${MEM:-512M}" \
    -nodefaults -no-reboot -display none -serial stdio -kernel "$dir/vmlinuz" -initrd "$work/initrd" "${disks[@]}" \
    -append "console=ttyS0 quiet loglevel=1 psi=1 $words" </dev/null >"$work/log" 2>&1 || true
  tr -d '\r' <"$work/log" | sed -n '/^@@BEGIN/,$p' | grep -v "^@@\|reboot: Power down\|^Powering off" || true
  status=$(tr -d '\r' <"$work/log" | sed -n 's/^@@STATUS=//p')
  [ -n "$status" ] || cat "$work/log" >&2
  exit "${status:-125}"
}

action=$1
shift
"$action" "$@"
