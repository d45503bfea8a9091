# A machine's worth of nothing: the agent runs here as nobody, without any capability, and sees neither a block device nor a
# device to make one of, nor the host's services. Whatever it is told to erase, nothing of the host can be meant.
# Called in namespaces of its own (network, mounts, processes); $KEEP are the folders it needs, $LINE is the kernel's line.
set -e
mount -t proc proc /proc
umount -l /sys 2>/dev/null || true
mount -t sysfs sysfs /sys
for hidden in /sys/block /sys/class/block /sys/dev/block /sys/fs /sys/firmware; do
    [ ! -d $hidden ] || mount -t tmpfs tmpfs $hidden
done
mkdir -p /sys/fs/pstore
mount -t tmpfs -o mode=755 tmpfs /dev
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/zero c 1 5
mknod -m 666 /dev/random c 1 8
mknod -m 666 /dev/urandom c 1 9
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/ironic-python-agent /run/bin
chown 65534:65534 /run/ironic-python-agent
echo "$LINE" > /run/line
mount --bind /run/line /proc/cmdline
[ ! -e /proc/sysrq-trigger ] || mount --bind /dev/null /proc/sysrq-trigger
# Programs of a ramdisk that would look at disks or end the machine.
for program in udevadm blkid poweroff reboot shutdown systemctl hwclock wipefs sgdisk modprobe mdadm multipath; do
    printf '#!/bin/sh\nexit 0\n' > /run/bin/$program
done
printf '#!/bin/sh\ncase "$*" in *-J*|*--json*) echo "{\\"blockdevices\\": []}";; esac\n' > /run/bin/lsblk
printf '#!/bin/sh\necho "{}"\n' > /run/bin/lshw
chmod 755 /run/bin/*
# What lies in root's own folder is shown to nobody, but for what is needed.
number=0
for folder in $KEEP; do
    number=$((number + 1))
    mkdir -p /run/keep/$number
    mount --bind "$folder" /run/keep/$number
done
mount -t tmpfs -o mode=755 tmpfs /root
number=0
for folder in $KEEP; do
    number=$((number + 1))
    [ -d "$folder" ] || { mkdir -p "$folder"; mount --bind /run/keep/$number "$folder"; }
done
cd /
exec setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \
    env -i PATH=/run/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run LANG=C.UTF-8 "$@"
