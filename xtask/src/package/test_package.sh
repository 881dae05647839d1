# The steps of `cargo xtask test-package`, in their order; steps.sh runs them.

export DEBIAN_FRONTEND=noninteractive
unit=ctpulse
recording=/var/lib/ctpulse/ctpulse.influx.zst
# Rows of a step that looks into them, and the options that write them.
rows=/var/lib/ctpulse/rows.influx
as_text="--config /etc/ctpulse/ctpulse.conf --output $rows"
drop_ins=/etc/systemd/system/ctpulse.service.d
steps=(an_old_package_installs_and_starts_nothing
    the_service_starts_with_its_probes
    the_service_is_confined
    connections_are_in_the_recording
    the_commands_of_the_readme_print_drops_and_entries
    a_reload_reopens_a_moved_recording
    logrotate_rotates_an_output_by_the_packaged_example
    a_textfile_of_the_service_is_readable
    a_procfs_of_processes_alone_is_named
    the_documented_drop_in_adds_the_walk_over_the_table
    the_packaged_drop_in_serves_metrics
    the_packaged_drop_in_permits_other_namespaces
    it_is_started_again_after_a_crash
    an_upgrade_keeps_the_configuration_and_goes_on
    a_new_root_starts_it_again
    removal_stops_the_service_and_keeps_the_configuration
    purge_leaves_nothing)

main_pid() {
    systemctl show --property MainPID --value ctpulse
}

flows() {
    nft add table inet t
    nft add chain inet t out '{ type filter hook output priority 0; }'
    nft add rule inet t out ct state new counter
    ping -q -c 20 -i 0.1 127.0.0.1 > /dev/null
    connections
}

connections() {
    for port in $(seq 20000 20049); do
        echo > "/dev/udp/127.0.0.1/$port"
    done
}

# Starts the service with its drop-ins and its configuration as they are now.
restart() {
    systemctl daemon-reload
    since=$(date '+%F %T')
    systemctl restart ctpulse
}

# Prints what the service logged since then.
messages() {
    journalctl --unit ctpulse --since "$since" --output cat --no-pager | tee /run/messages
}

# The service logs an operation that failed.
no_complaint() {
    messages
    not grep -iE 'warn|error|cannot|refused' /run/messages
}

# Replaces the command of the service, with one more setting.
command_is() {
    mkdir -p "$drop_ins"
    cat > "$drop_ins/command.conf" << END
[Service]
${2:-}
ExecStart=
ExecStart=/usr/bin/ctpulse run $1
END
}

# Copies a packaged drop-in, as docs/install.md describes.
packaged_drop_in() {
    mkdir -p "$drop_ins"
    cp "/usr/share/doc/ctpulse/packaging/systemd/$1" "$drop_ins"
}

# Starts the service as the package installs it.
restore() {
    rm -r "$drop_ins"
    [ ! -e /run/ctpulse.conf ] || mv /run/ctpulse.conf /etc/ctpulse/ctpulse.conf
    restart
    until_true systemctl --quiet is-active ctpulse
}

# Adds a line to the input in the configuration; `restore` removes it.
configure() {
    cp -p /etc/ctpulse/ctpulse.conf /run/ctpulse.conf
    sed -i "/^\[\[inputs.conntrack\]\]/a $1" /etc/ctpulse/ctpulse.conf
}

an_old_package_installs_and_starts_nothing() {
    dpkg -i old.deb
    ctpulse -V | grep '^ctpulse '
    [ "$(dpkg-query -W -f '${Version}' ctpulse)" = 0.0.1-1 ]
    [ "$(systemctl is-enabled ctpulse)" = disabled ]
    [ "$(systemctl is-active ctpulse)" = inactive ]
    ctpulse config --check /etc/ctpulse/ctpulse.conf
}

the_service_starts_with_its_probes() {
    modprobe nf_conntrack
    since=$(date '+%F %T')
    systemctl enable --now ctpulse
    until_true test -s "$recording"
    systemctl is-active ctpulse
    no_complaint
}

the_service_is_confined() {
    pid=$(main_pid)
    # CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF: bits 12, 21, 38 and 39. It keeps those that
    # this host needs.
    cap_bnd=$(awk '/^CapBnd/ { print $2 }' "/proc/$pid/status")
    [ "$cap_bnd" = 000000c000201000 ]
    cap_eff=$(awk '/^CapEff/ { print $2 }' "/proc/$pid/status")
    [ $((0x$cap_eff & ~0xc000200000)) -eq 0 ]
    [ "$(awk '/^Uid/ { print $2 }' "/proc/$pid/status")" -ge 61184 ]
    grep -qx 'NoNewPrivs:	1' "/proc/$pid/status"
    grep -qx 'Seccomp:	2' "/proc/$pid/status"
    # From its own mounts: nothing of the system can be written.
    nsenter --target "$pid" --mount findmnt --noheadings --output OPTIONS / | grep '^ro'
    # ProtectProc=invisible: other users' processes are hidden.
    nsenter --target "$pid" --mount findmnt --noheadings --output OPTIONS /proc |
        grep 'hidepid=\(invisible\|2\)'
    systemd-analyze security ctpulse | tail -1
}

connections_are_in_the_recording() {
    flows
    sleep 3
    # zstd of the running service: the rows that are whole.
    ctpulse report "$recording" | tee /run/report
    # 50 UDP flows and a ping; only the probes count `new`.
    new=$(awk '$1 == "new" { gsub(",", "", $2); print int($2); exit }' /run/report)
    [ "$new" -ge 51 ]
    # 3: some seconds are too few to exclude losses.
    ctpulse doctor --advise --recording "$recording" || [ $? -eq 3 ]
}

# Commands that need probes, as README.md has them, while the table is full.
the_commands_of_the_readme_print_drops_and_entries() {
    limit=$(cat /proc/sys/net/netfilter/nf_conntrack_max)
    trap 'echo "$limit" > /proc/sys/net/netfilter/nf_conntrack_max' EXIT
    echo 20 > /proc/sys/net/netfilter/nf_conntrack_max
    # An eviction looks into a few buckets only, so most packets find the table full.
    prints '\(table full\|evicted\)  *udp  *127.0.0.1:' ctpulse drops
    prints '\(table full\|evicted\)  *127.0.0.0/24' ctpulse drops --top cause,source/24,port
    prints '^conntrack_entries,.*protocol=udp' ctpulse --composition 10s --format influx
    ctpulse top --once | tee /run/printed
    grep ' 127.0.0.1$' /run/printed
    ctpulse top --by source/24 --where unreplied | tee /run/printed
    grep ' 127.0.0.0/24$' /run/printed
    ctpulse doctor | tee /run/printed
    grep '^Works: .*probes' /run/printed
}

# Runs a command until it prints the words, while connections begin.
prints() {
    words=$1
    shift
    "$@" > /run/printed 2>&1 &
    command=$!
    printed() {
        connections
        grep -- "$words" /run/printed
    }
    until_true printed || { cat /run/printed; return 1; }
    kill -TERM "$command"
    wait "$command"
}

# What logrotate does with `nocreate` and a reload in `postrotate`.
a_reload_reopens_a_moved_recording() {
    before=$(main_pid)
    mv "$recording" "$recording.moved"
    systemctl reload ctpulse
    until_true test -s "$recording"
    [ "$(main_pid)" = "$before" ]
    rows() { ctpulse report "$1" | grep '^conntrack'; }
    until_true rows "$recording"
    rows "$recording.moved"
    rm "$recording.moved"
}

# As docs/install.md describes it: an output that the program does not rotate itself, in a directory of
# the service.
logrotate_rotates_an_output_by_the_packaged_example() {
    command_is '--interval 1s --format influx --output /var/log/ctpulse/ct.influx' LogsDirectory=ctpulse
    restart
    until_true test -s /var/log/ctpulse/ct.influx
    cp /usr/share/doc/ctpulse/packaging/logrotate/ctpulse /etc/logrotate.d/ctpulse
    before=$(main_pid)
    since=@$(date +%s)
    logrotate --force --verbose /etc/logrotate.d/ctpulse
    [ -s /var/log/ctpulse/ct.influx.1 ]
    until_true test -s /var/log/ctpulse/ct.influx
    [ "$(main_pid)" = "$before" ]
    rotated=$(wc -l < /var/log/ctpulse/ct.influx.1)
    # A second time: the first file is put aside, and no row goes into it any more.
    logrotate --force /etc/logrotate.d/ctpulse
    until_true test -s /var/log/ctpulse/ct.influx
    [ -s /var/log/ctpulse/ct.influx.1 ]
    [ "$(wc -l < /var/log/ctpulse/ct.influx.2)" = "$rotated" ]
    for file in ct.influx ct.influx.1 ct.influx.2; do
        ctpulse report "/var/log/ctpulse/$file" | grep '^conntrack'
    done
    no_complaint
    rm /etc/logrotate.d/ctpulse
    restore
    rm -r /var/log/ctpulse /var/log/private/ctpulse
}

# By node_exporter, which is another user; the unit's UMask is 0077.
a_textfile_of_the_service_is_readable() {
    mkdir -p /var/lib/textfile
    chmod 1777 /var/lib/textfile
    command_is '--interval 1s --format prometheus --output /var/lib/textfile/ct.prom' ReadWritePaths=/var/lib/textfile
    restart
    until_true test -s /var/lib/textfile/ct.prom
    [ "$(stat -c %a /var/lib/textfile/ct.prom)" = 644 ]
    restore
}

# The files of the network are not there: the statistics come from ctnetlink, and the log names the cause.
a_procfs_of_processes_alone_is_named() {
    mkdir -p "$drop_ins"
    printf '[Service]\nProcSubset=pid\n' > "$drop_ins/subset.conf"
    restart
    named() {
        messages | grep 'subset=pid'
    }
    until_true named
    before=$(stat -c %s "$recording")
    grew() { [ "$(stat -c %s "$recording")" -gt "$before" ]; }
    until_true grew
    restore
}

the_documented_drop_in_adds_the_walk_over_the_table() {
    command_is "$as_text"
    cat > "$drop_ins/override.conf" << 'END'
[Service]
CapabilityBoundingSet=CAP_SYSLOG
AmbientCapabilities=CAP_SYSLOG
ProtectKernelLogs=no
END
    configure 'composition = "1s"'
    restart
    # Entries of UDP last half a minute.
    counted() {
        connections
        grep -q '^conntrack_entries,.*protocol=udp.*[ ,]entries=[1-9]' "$rows"
    }
    until_true counted
    until_true grep -q '[ ,]table_full_evictable=' "$rows"
    no_complaint
    systemd-analyze security ctpulse | tail -1 | grep ': 2\.1 '
    restore
    rm "$rows"
}

the_packaged_drop_in_serves_metrics() {
    packaged_drop_in listen.conf
    restart
    scrape() {
        exec 3<> /dev/tcp/127.0.0.1/9466
        printf 'GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n' "$1" >&3
        cat <&3 > /run/answer
    }
    healthy() { (scrape /healthz) && head -1 /run/answer | grep ' 200 '; }
    until_true healthy
    scrape /metrics
    grep '^conntrack_insert_total{cpu="all"' /run/answer
    no_complaint
    restore
}

# By name and by a process, in which three flows are.
the_packaged_drop_in_permits_other_namespaces() {
    ip netns add router1
    ip -n router1 link set lo up
    ip netns exec router1 nft add table inet t
    ip netns exec router1 nft add chain inet t out '{ type filter hook output priority 0; }'
    ip netns exec router1 nft add rule inet t out ct state new counter
    ip netns exec router1 sleep 1000 &
    process=$!
    packaged_drop_in namespaces.conf
    command_is "$as_text"
    configure "netns = [\"self\", \"router1\", \"pid:$process\"]"
    restart
    for tag in self router1 "pid:$process"; do
        until_true grep -q "^conntrack,.*netns=$tag" "$rows"
    done
    ip netns exec router1 bash -c 'for port in 1 2 3; do echo > /dev/udp/127.0.0.1/$port; done'
    counted() {
        tail -n 6 "$rows" > /run/rows
        grep "^conntrack,.*netns=$1.*[ ,]insert=3i" /run/rows
    }
    until_true counted router1
    until_true counted "pid:$process"
    messages
    not grep -iE 'cannot|refused' /run/messages
    restore
    rm "$rows"
    kill "$process"
    ip netns del router1
}

it_is_started_again_after_a_crash() {
    before=$(main_pid)
    # 0 would be the whole process group of this script.
    [ "$before" -gt 0 ]
    kill -KILL "$before"
    came_back() { pid=$(main_pid) && [ "$pid" -gt 0 ] && [ "$pid" != "$before" ]; }
    until_true came_back
    ctpulse report "$recording" | grep '^conntrack'
}

an_upgrade_keeps_the_configuration_and_goes_on() {
    sed -i 's/^  interval = "1s"/  interval = "2s"/' /etc/ctpulse/ctpulse.conf
    grep -q 'interval = "2s"' /etc/ctpulse/ctpulse.conf
    size=$(stat -c %s "$recording")
    before=$(main_pid)
    dpkg --force-confold -i new.deb
    grep -q 'interval = "2s"' /etc/ctpulse/ctpulse.conf
    # The file of the new package is beside it, because the two packages differ in it.
    grep -q 'of the old package' /etc/ctpulse/ctpulse.conf
    [ -f /etc/ctpulse/ctpulse.conf.dpkg-dist ]
    not grep -q 'of the old package' /etc/ctpulse/ctpulse.conf.dpkg-dist
    [ "$(dpkg-query -W -f '${Version}' ctpulse)" != 0.0.1-1 ]
    [ "$(systemctl is-enabled ctpulse)" = enabled ]
    [ "$(main_pid)" != "$before" ]
    grew() { [ "$(stat -c %s "$recording")" -gt "$size" ]; }
    until_true grew
    systemctl is-active ctpulse
}

a_new_root_starts_it_again() {
    # A boot starts all units of the target.
    systemctl stop ctpulse
    systemctl start multi-user.target --no-block
    until_true systemctl --quiet is-active ctpulse
}

removal_stops_the_service_and_keeps_the_configuration() {
    dpkg -r ctpulse
    [ "$(systemctl is-active ctpulse)" != active ]
    [ ! -e /usr/bin/ctpulse ]
    grep -q 'interval = "2s"' /etc/ctpulse/ctpulse.conf
    [ -s "$recording" ]
}

purge_leaves_nothing() {
    dpkg -P ctpulse
    not getent passwd ctpulse
    left=$(find / -xdev -iname '*ctpulse*' -not -path '/root/*' -not -path '*/ctpulse-guest.service')
    echo "left: $left"
    [ -z "$left" ]
}
