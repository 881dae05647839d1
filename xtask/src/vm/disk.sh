#!/bin/busybox sh
# The init of a guest that boots from a disk (`cargo xtask test-package`): mounts it, and makes
# way for the system that is on it.

/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs devtmpfs /dev
while read -r module; do
    /bin/busybox insmod "/modules/$module"
done < /modules/order
/bin/busybox mkdir /root/disk
# The disk appears a moment after its driver.
tries=50
until /bin/busybox mount -t ext4 /dev/vda /root/disk || [ "$((tries -= 1))" -eq 0 ]; do
    /bin/busybox sleep 0.1
done
/bin/busybox umount /proc
/bin/busybox mount --move /dev /root/disk/dev
exec /bin/busybox switch_root /root/disk /sbin/init
