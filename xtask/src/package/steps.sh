#!/bin/bash
# Runs the steps of a test in a virtual machine, as a unit of the booted system. The file
# test.sh, beside this file, sets `steps` and has a function for each of them. It may set `unit`: a failure prints the
# journal of this unit. xtask/src/vm/console.rs parses the marks.

cd /root
export LC_ALL=C.UTF-8
unit=

say() {
    echo "<1>ctpulse-guest: $*" > /dev/kmsg
}

# Until a command succeeds, for at most a minute.
until_true() {
    for _ in $(seq 120); do
        "$@" && return 0
        sleep 0.5
    done
    return 1
}

# `!` alone would not end a step.
not() {
    ! "$@"
}

. ./test.sh

for step in "${steps[@]}"; do
    say "test $step"
done
for step in "${steps[@]}"; do
    say "begin $step"
    # Not in a condition, where `set -e` would have no effect.
    (
        set -exuo pipefail
        "$step"
    ) > /run/step 2>&1
    status=$?
    if [ "$status" -ne 0 ]; then
        cat /run/step > /dev/console
        [ -z "$unit" ] || journalctl --unit "$unit" --no-pager --lines 20 > /dev/console
    fi
    say "end $step $status"
done
say done
sleep 1
systemctl poweroff --force --force
