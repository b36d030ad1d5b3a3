#!/bin/bash
# power-cut.sh PROGRESS-MARK
#
# Runs progress-mark in a machine of its own, on an ext4 without auto_da_alloc (which would hide a missing flush), cuts
# the machine's power, and looks on its disk for what was acknowledged. The program has to be linked statically.
# Prints a line a result, the count last. Needs qemu-system-x86, kmod, cpio, busybox-static, e2fsprogs, and apt for the
# kernel, which is fetched once and kept in target/lab.
set -eu
program=$(realpath "$1")
lab=$(realpath -m "$(dirname "$0")/../../target/lab")
work=$(mktemp -d)
qemu=
finish() {
	if [ -n "$qemu" ]; then
		kill -9 "$qemu" 2>/dev/null || true
		wait "$qemu" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap finish EXIT

# The kernel of Debian's cloud images, with the modules that the guest needs in the order they load.
build() {
	local deb version here=$work/build
	mkdir -p "$here/root/bin" "$here/root/mods" && cd "$here"
	deb=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9]\)/\1/p' | head -1)
	apt-get download "$deb" >&2
	dpkg-deb -x "$deb"_*.deb kernel
	version=$(ls kernel/lib/modules)
	cp kernel/boot/vmlinuz-* vmlinuz
	depmod -b kernel "$version"
	for module in virtio_pci virtio_blk ext4; do
		modprobe -d "$PWD/kernel" -S "$version" --show-depends $module 2>/dev/null || true
	done | awk '/^insmod/ && !seen[$2]++ { print $2 }' > list
	xargs -n1 basename < list > root/mods/order
	xargs cp -t root/mods < list
	cp /bin/busybox root/bin/
	cat > root/init <<-'INIT'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		export PATH=/bin
		mkdir -p /proc /sys /dev /tmp
		mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
		for module in $(cat /mods/order); do insmod /mods/$module; done
		sh /run.sh 2>&1
		poweroff -f
	INIT
	chmod +x root/init
	rm -rf kernel list ./*.deb
	cd - > /dev/null
	mkdir -p "$lab"
	# Two tests that build at once: the first one wins.
	mv -T "$here" "$lab/power-cut" 2>/dev/null || true
}
[ -e "$lab/power-cut/vmlinuz" ] || build

cp -r "$lab/power-cut/root" "$work/root"
cp "$program" "$work/root/bin/progress-mark"
cat > "$work/root/run.sh" <<-'RUN'
	mkdir /m
	mount -t ext4 -o noauto_da_alloc /dev/vda /m
	grep -o noauto_da_alloc /proc/mounts
	mkdir -p /m/new
	sync
	for n in 1 2 3 4 5 6 7 8; do
		progress-mark -f /m/new/p.jsonl add single_$n && echo "ACK single_$n"
	done
	progress-mark -f /m/new/p.jsonl compact && echo "compacted"
	for n in 1 2 3 4; do
		progress-mark -f /m/new/p.jsonl add after_$n && echo "ACK after_$n"
	done
	seq 1 200 | sed 's/^/stream_/' | progress-mark -f /m/new/p.jsonl add - | sed 's/^/ACK /'
	progress-mark -f /m/new/p.jsonl run work -- true && echo "ACK work"
	# Replaced by an editor that flushes nothing, then marked again: the new name has to last.
	sed -i s/nothing/nothing/ /m/new/p.jsonl
	progress-mark -f /m/new/p.jsonl add edited && echo "ACK edited"
	# A reader reports what another wrote and nobody flushed.
	echo '["unsynced"]' >> /m/new/p.jsonl
	[ "$(progress-mark -f /m/new/p.jsonl list | tail -1)" = unsynced ] && echo "ACK unsynced"
	# What nobody flushes is lost: the control.
	echo '["control"]' > /m/control
	echo POWERCUT
	sleep 600
RUN
(cd "$work/root" && find . | cpio -o -H newc --quiet | gzip -1 > "$work/initrd")
truncate -s 128M "$work/disk"
mke2fs -q -t ext4 "$work/disk"
qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -m 256M -nodefaults -no-reboot -display none -serial stdio \
	-kernel "$lab/power-cut/vmlinuz" -initrd "$work/initrd" -append "console=ttyS0 quiet loglevel=1" \
	-drive "file=$work/disk,if=none,id=d0,format=raw,cache=writeback" -device virtio-blk-pci,drive=d0 \
	< /dev/null > "$work/log" 2>&1 &
qemu=$!
for _ in $(seq 2400); do
	grep -q POWERCUT "$work/log" && break
	kill -0 "$qemu" 2>/dev/null || break
	sleep 0.05
done
kill -9 "$qemu"
wait "$qemu" 2>/dev/null || true
qemu=
tr -d '\r' < "$work/log" > "$work/console"
grep -q POWERCUT "$work/console" || { cat "$work/console"; exit 1; }
grep -q noauto_da_alloc "$work/console"

# The next boot: the journal is replayed, and the file read as it is.
e2fsck -fy "$work/disk" > /dev/null 2>&1 || [ $? -lt 4 ]
debugfs -R "cat /new/p.jsonl" "$work/disk" 2>/dev/null > "$work/p.jsonl"
debugfs -R "cat /control" "$work/disk" 2>/dev/null > "$work/control" || true
sed -n 's/^ACK //p' "$work/console" | sort > "$work/acknowledged"
"$program" -f "$work/p.jsonl" list | sort > "$work/listed"
echo "acknowledged: $(wc -l < "$work/acknowledged")"
comm -23 "$work/acknowledged" "$work/listed" | sed 's/^/lost: /'
echo "missing: $(comm -23 "$work/acknowledged" "$work/listed" | wc -l)"
echo "unflushed survived: $(grep -c control "$work/control" || true)"
