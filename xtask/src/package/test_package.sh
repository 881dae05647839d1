# The steps of `cargo xtask test-package`, in their order; steps.sh runs them.

export DEBIAN_FRONTEND=noninteractive
unit=ctpulse
recording=/var/lib/ctpulse/ctpulse.influx.zst
steps=(an_old_package_installs_and_starts_nothing
    the_service_starts_with_its_probes
    the_service_is_confined
    connections_are_in_the_recording
    a_reload_reopens_a_moved_recording
    logrotate_rotates_an_output_by_the_packaged_example
    a_textfile_of_the_service_is_readable
    a_procfs_of_processes_alone_is_named
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
    for port in $(seq 20000 20049); do
        echo > "/dev/udp/127.0.0.1/$port"
    done
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
    systemctl enable --now ctpulse
    until_true test -s "$recording"
    systemctl is-active ctpulse
    # It logs an operation that failed.
    journalctl --unit ctpulse --output cat --no-pager | tee /run/messages
    not grep -iE 'warn|error|cannot|refused' /run/messages
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
    mkdir -p /etc/systemd/system/ctpulse.service.d
    cat > /etc/systemd/system/ctpulse.service.d/logs.conf << 'END'
[Service]
LogsDirectory=ctpulse
ExecStart=
ExecStart=/usr/bin/ctpulse run --interval 1s --format influx --output /var/log/ctpulse/ct.influx
END
    systemctl daemon-reload
    systemctl restart ctpulse
    until_true test -s /var/log/ctpulse/ct.influx
    cp /usr/share/doc/ctpulse/packaging/logrotate/ctpulse /etc/logrotate.d/ctpulse
    before=$(main_pid)
    since=$(date +%s)
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
    journalctl --unit ctpulse --since "@$since" --output cat --no-pager | tee /run/messages
    not grep -iE 'warn|error|cannot|refused' /run/messages
    rm -r /etc/systemd/system/ctpulse.service.d /etc/logrotate.d/ctpulse
    systemctl daemon-reload
    systemctl restart ctpulse
    until_true systemctl --quiet is-active ctpulse
    rm -r /var/log/ctpulse /var/log/private/ctpulse
}

# By node_exporter, which is another user; the unit's UMask is 0077.
a_textfile_of_the_service_is_readable() {
    mkdir -p /var/lib/textfile /etc/systemd/system/ctpulse.service.d
    chmod 1777 /var/lib/textfile
    cat > /etc/systemd/system/ctpulse.service.d/textfile.conf << 'END'
[Service]
ReadWritePaths=/var/lib/textfile
ExecStart=
ExecStart=/usr/bin/ctpulse run --interval 1s --format prometheus --output /var/lib/textfile/ct.prom
END
    systemctl daemon-reload
    systemctl restart ctpulse
    until_true test -s /var/lib/textfile/ct.prom
    [ "$(stat -c %a /var/lib/textfile/ct.prom)" = 644 ]
    rm -r /etc/systemd/system/ctpulse.service.d
    systemctl daemon-reload
    systemctl restart ctpulse
    until_true systemctl --quiet is-active ctpulse
}

# The files of the network are not there: the statistics come from ctnetlink, and the log names the cause.
a_procfs_of_processes_alone_is_named() {
    mkdir -p /etc/systemd/system/ctpulse.service.d
    printf '[Service]\nProcSubset=pid\n' > /etc/systemd/system/ctpulse.service.d/subset.conf
    systemctl daemon-reload
    since=$(date '+%F %T')
    systemctl restart ctpulse
    named() {
        journalctl --unit ctpulse --since "$since" --output cat --no-pager | grep 'subset=pid'
    }
    until_true named
    before=$(stat -c %s "$recording")
    grew() { [ "$(stat -c %s "$recording")" -gt "$before" ]; }
    until_true grew
    rm -r /etc/systemd/system/ctpulse.service.d
    systemctl daemon-reload
    systemctl restart ctpulse
    until_true systemctl --quiet is-active ctpulse
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
