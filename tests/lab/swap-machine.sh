# shellcheck shell=sh
# Runs in the machine of tests/lab/qemu.sh: swap-extend on disks of its own, told step by step. A root on a disk is
# needed, for a kernel doesn't swap to the memory that the machine itself starts from.
set -u
mkdir /m
mount -t ext4 /dev/vda /m
cp -a /bin /lib* /m/
# Not busybox, which runs its own programs before those of the PATH.
ln -sf dash /m/bin/sh
for dir in usr etc tmp proc dev ext2 small full; do mkdir -p /m/$dir; done
[ ! -d /usr ] || cp -a /usr/. /m/usr/
mount -o bind /proc /m/proc
mount -o bind /dev /m/dev
mount -t ext2 /dev/vdb /m/ext2
mount -t ext4 /dev/vdc /m/small
mount -t tmpfs tmp /m/tmp
# Comments, tabs, other people's swap, no newline at the end.
printf '# /swap.img none swap sw 0 0\nproc\t/proc proc  defaults 0 0\n/other none swap sw 0 0\n#end' > /m/etc/fstab
chmod 640 /m/etc/fstab
cp -p /m/etc/fstab /fstab
cd /m || exit

state() {
    awk 'NR > 1 { print "  swaps", $1, $3 + 4 "K" }' /proc/swaps
    diff /fstab etc/fstab | sed -n 's/^+\([^+#]\)/  fstab \1/p;s/^-\([^-#]\)/  fstab lost \1/p'
    find . -xdev -name '*swap*' -o -name 'fstab?*' | grep -v /bin/ | sort | xargs -r stat -c '  %n %s %a'
}
step() { # WHAT OPTION…
    echo "$1"
    shift
    said=$(chroot /m swap-extend "$@" 2>&1)
    echo "  exit $?"
    [ -z "$said" ] || echo "$said" | sed 's/^/  /'
    state
}

step 'to be made' -s 64M --dry-run
step made -s 64M
stat -c '  fstab %a %u' etc/fstab
step grown -s 128M
stamp=$(stat -c %Y.%i etc/fstab)
step 'to be grown' -s 200M --dry-run
step again -s 128M
[ "$stamp" = "$(stat -c %Y.%i etc/fstab)" ] && echo '  fstab not written'
swapoff swap.img
step 'switched on' -s 128M
echo '/swap.img none swap defaults 0 0' >> etc/fstab
step 'named twice' -s 128M
step smaller -s 64M
step 'too large' -s 900M
step 'to be removed' --remove --dry-run
step removed --remove
step 'removed again' --remove

step tmpfs -s 64M /tmp/swap
step 'disk too small' -s 64M /small/swap
step 'no extents' -s 64M /ext2/swap
step 'no extents, grown' -s 80M /ext2/swap
step 'no extents, removed' --remove /ext2/swap
truncate -s 64M swap.img
chroot /m mkswap /swap.img > /dev/null 2>&1
step 'a file with holes' -s 64M
echo precious > swap.img
step "somebody's file" -s 64M
step "somebody's file, removed" --remove
rm swap.img
ln -s /etc/fstab swap.img
step 'a link' -s 64M
rm swap.img

# A step that fails: what was begun is undone.
broken() { # COMMAND
    mv bin/"$1" bin/real
    printf '#!/bin/sh\necho "%s: no" >&2; exit 1\n' "$1" > bin/"$1"
    chmod +x bin/"$1"
}
mend() { mv bin/real bin/"$1"; }
for command in fallocate mkswap swapon mv; do
    broken $command
    step "$command fails" -s 64M
    mend $command
done
step made -s 64M
for command in swapoff fallocate mkswap dd; do
    broken $command
    step "$command fails, growing" -s 128M
    mend $command
done

# Killed after any command that it calls, it leaves a swap file and a whole /etc/fstab; the next one finishes.
killed() { # COMMAND ARGUMENT OPTION…: when COMMAND was called with ARGUMENT in what it got
    echo "$*" > /where
    mv bin/"$1" bin/real
    cat > bin/"$1" << END
#!/bin/sh
/bin/real "\$@"
status=\$?
case \$* in *$2*) kill -9 \$(cat /victim) ;; esac
exit \$status
END
    command=$1
    chmod +x bin/"$command"
    shift 2
    # shellcheck disable=SC2016 # expanded by the shell inside
    chroot /m sh -c 'echo $$ > /victim; exec swap-extend "$@"' sh "$@" > /dev/null 2>&1
    [ $? = 137 ] || echo "$(cat /where): wasn't"
    mv bin/real bin/"$command"
    grep -q '^/swap.img none swap sw 0 0$' etc/fstab && [ ! -e swap.img ] && echo "$(cat /where): fstab names none"
    [ "$(grep -v '^/swap.img none swap sw 0 0$' etc/fstab)" = "$(cat /fstab)" ] || echo "$(cat /where): fstab differs"
    [ "$(grep -c '^/swap.img' etc/fstab)" -le 1 ] || echo "$(cat /where): fstab twice"
    if [ -e swap.img ]; then
        [ "$(dd if=swap.img bs=1 skip=4086 count=10 2> /dev/null)" = SWAPSPACE2 ] || echo "$(cat /where): no swap file"
        [ "$(stat -c '%a %u' swap.img)" = '600 0' ] || echo "$(cat /where): others can read it"
    fi
    # The boot after that.
    swapoff swap.img 2> /dev/null
    ! grep -q '^/swap.img' etc/fstab || swapon swap.img 2> /dev/null || echo "$(cat /where): no swap after a boot"
    chroot /m swap-extend "$@" > /tmp/said 2>&1 || echo "$(cat /where): then $(cat /tmp/said)"
}
chroot /m swap-extend --remove > /dev/null
echo killed
for at in fallocate: mkswap: mv:/swap.img swapon: sync:fstab; do
    killed "${at%:*}" "${at#*:}" -s 2M
    chroot /m swap-extend --remove > /dev/null
done
killed mv fstab -s 2M
size=2
for command in swapoff fallocate mkswap dd swapon; do
    killed $command '' -s $((size += 2))M
done
state
for at in swapoff: mv:fstab rm:/swap.img; do
    killed "${at%:*}" "${at#*:}" --remove
    [ $at = rm:/swap.img ] || chroot /m swap-extend -s 2M > /dev/null
done
echo gone
state
