#!/bin/busybox sh
# The init of the guests that `cargo xtask vm` boots: file systems, modules, then each test in a
# separate process. It reports through the kernel's log, because its lines are never split;
# xtask/src/vm/console.rs parses them. The init must not exit: the kernel would panic.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin
/bin/busybox --install -s /bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t securityfs securityfs /sys/kernel/security
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
ln -s /run /var/run
ln -s /proc/self/fd /dev/fd

# Changing a terminal waits until pending output was written, so the output before comes first.
say() {
    stty -F /dev/console -onlcr
    echo "<1>ctpulse-guest: $*" > /dev/kmsg
}

say "booted $(uname -r)"
ip link set lo up
while read -r module; do
    insmod "/modules/$module" || say "cannot load $module"
done < /modules/order

export CTPULSE_BIN=/bin/ctpulse CTPULSE_TEST_ROOT=1 HOME=/tmp
# How probes are attached where a test does not say it.
if [ -e /etc/ctpulse-attach ]; then
    export CTPULSE_EBPF_ATTACH="$(cat /etc/ctpulse-attach)"
fi
# How many seconds a test may take, where there is a limit.
if [ -e /etc/ctpulse-patience ]; then
    patience="timeout -s KILL $(cat /etc/ctpulse-patience)"
fi
list() {
    /bin/guest --list --format terse "$@" | sed -n 's/: test$//p'
}
# Measurements are ignored tests: they run where they are asked for, and then alone.
list --ignored > /run/ignored
if [ -e /etc/ctpulse-measure ]; then
    which=--ignored
    list --ignored $(cat /etc/ctpulse-test) > /run/tests
else
    which=
    list $(cat /etc/ctpulse-test) > /run/all
    read -r of remainder kernels kernel < /etc/ctpulse-part
    grep -vxF -f /run/ignored /run/all | awk "
        /^advice::/ && ++advice % $kernels != $kernel { next }
        ++number % $of == $remainder
    " > /run/tests
fi
while read -r name; do
    say "test $name"
done < /run/tests
while read -r name; do
    say "begin $name"
    $patience /bin/guest $which --exact "$name" --test-threads=1 --nocapture < /dev/null
    status=$?
    if [ -n "$patience" ] && [ $status -eq 137 ]; then
        echo "killed, as a test is that has not ended in ${patience##* } s"
    fi
    say "end $name $status"
done < /run/tests
say "done"
poweroff -f
