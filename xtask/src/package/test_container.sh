# The steps of `cargo xtask test-container`, in their order; steps.sh runs them. The command lines are
# those of docs/install.md.

steps=(the_image_loads
    without_capabilities_it_reads_the_counters
    the_default_seccomp_profile_is_named
    with_sys_admin_it_has_probes
    without_the_seccomp_profile_bpf_and_perfmon_are_enough
    a_namespace_of_the_host_is_sampled
    it_answers_prometheus_and_ends_on_sigterm)

run="podman run --rm --network host --read-only --cap-drop ALL"

flows() {
    for port in $(seq "$1" "$(($1 + 49))"); do
        echo > "/dev/udp/127.0.0.1/$port"
    done
}

# Writes the output of a container during 50 new connections to /run/rows and /run/messages.
sampled() {
    # Not the rows of the step before.
    rm -f /run/rows
    "$@" --interval 200ms --count 50 --format influx > /run/rows 2> /run/messages &
    until_true grep -q '^conntrack' /run/rows || { cat /run/messages; return 1; }
    flows $((20000 + RANDOM % 20000))
    wait $!
    cat /run/messages
    head -2 /run/rows
}

# The largest value of an integer field.
largest() {
    grep -o "[ ,]$1=[0-9]*i" /run/rows | grep -o '[0-9]*' | sort -n | tail -1
}

the_image_loads() {
    modprobe overlay
    modprobe nf_conntrack
    nft add table inet t
    nft add chain inet t out '{ type filter hook output priority 0; }'
    nft add rule inet t out ct state new counter
    podman load -i image.tar | tee /run/loaded
    podman images --noheading
    sed -n 's/^Loaded image[^:]*: *//p' /run/loaded > image
    [ -s image ]
}

without_capabilities_it_reads_the_counters() {
    $run "$(cat image)" --once --format influx | tee /run/rows
    grep -q 'ip_conntrack_count=' /run/rows
}

# podman 4.3's profile allows bpf(2) and perf_event_open(2) to CAP_SYS_ADMIN only.
the_default_seccomp_profile_is_named() {
    sampled $run --cap-add BPF --cap-add PERFMON --cap-add NET_ADMIN "$(cat image)"
    [ "$(largest insert)" -eq 0 ]
    grep -i seccomp /run/messages
    # The option that allows it.
    $run --cap-add BPF --cap-add PERFMON --cap-add NET_ADMIN "$(cat image)" doctor > /run/doctor || true
    grep -- 'seccomp=unconfined' /run/doctor
}

with_sys_admin_it_has_probes() {
    sampled $run --cap-add SYS_ADMIN --cap-add NET_ADMIN "$(cat image)"
    [ "$(largest insert)" -ge 50 ]
    not grep -iE 'seccomp|cannot' /run/messages
}

without_the_seccomp_profile_bpf_and_perfmon_are_enough() {
    sysctl -w kernel.perf_event_paranoid=2
    sampled $run --security-opt seccomp=unconfined \
        --cap-add BPF --cap-add PERFMON --cap-add NET_ADMIN "$(cat image)"
    sysctl -w kernel.perf_event_paranoid=3
    [ "$(largest insert)" -ge 50 ]
}

a_namespace_of_the_host_is_sampled() {
    ip netns add router1
    ip netns exec router1 ip link set lo up
    ip netns exec router1 nft add table inet t
    ip netns exec router1 nft add chain inet t out '{ type filter hook output priority 0; }'
    ip netns exec router1 nft add rule inet t out ct state new counter
    ip netns exec router1 bash -c 'for p in 1 2 3; do echo > /dev/udp/127.0.0.1/$p; done'
    $run --cap-add SYS_ADMIN --cap-add SYS_PTRACE --cap-add NET_ADMIN \
        --volume /proc:/host/proc:ro --volume /run/netns:/run/netns:ro \
        --env HOST_PROC=/host/proc \
        "$(cat image)" --netns router1 --once --format influx | tee /run/rows
    grep -q 'ip_conntrack_count=3' /run/rows
    # The same by the root directory of the host's first process.
    $run --cap-add SYS_ADMIN --cap-add SYS_PTRACE --cap-add NET_ADMIN \
        --volume /proc:/host/proc:ro --env HOST_PROC=/host/proc \
        "$(cat image)" --netns router1 --once --format influx | tee /run/rows
    grep -q 'ip_conntrack_count=3' /run/rows
}

it_answers_prometheus_and_ends_on_sigterm() {
    podman run --detach --name metrics --network host --read-only --cap-drop ALL \
        "$(cat image)" run --listen 127.0.0.1:9466 --interval 1s
    scrape() {
        exec 3<> /dev/tcp/127.0.0.1/9466
        printf 'GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n' >&3
        cat <&3 > /run/metrics
        grep -q '^conntrack_table_entries' /run/metrics
    }
    until_true scrape
    podman kill --signal TERM metrics
    # Its end is awaited, and the exit code is that of an orderly end.
    [ "$(podman wait metrics)" = 0 ]
    podman rm metrics
}
