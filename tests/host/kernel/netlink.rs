//! The statistics through ctnetlink on this host's kernel: the same rows as through procfs, and
//! what there is without the one, the other, or both.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::PoisonError;

use ctpulse::schema::raw::StatTable;
use ctpulse::settings::{Netns, Roots, Source};
use ctpulse::source::netlink::entries::{Entries, Silence};
use ctpulse::source::reader::Reader;
use ctpulse::source::roots::Place;

use crate::kernel::LIMIT;
use crate::support::{Namespace, ctpulse, integer, may_make_namespaces, output, text};

/// The agent as the only program of a shell that did `first` before, inside the namespace and with
/// mounts of its own. In the script `$$` is the agent's process.
fn after(namespace: &Namespace, first: &str, arguments: &[&str]) -> Command {
    let agent = ctpulse();
    let script = format!("{first} exec \"$@\"");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &namespace.name, "sh", "-ec", &script, "sh"]);
    command.arg(agent.get_program()).args(arguments).args(["--format", "influx"]);
    command
}

/// Takes `/proc/net/stat` away from the agent, as a kernel without `CONFIG_NF_CONNTRACK_PROCFS`.
const HIDE: &str = "mount -t tmpfs none /proc/$$/net;";

/// Makes the agent an ordinary user without capabilities.
const NOBODY: &str = "set -- setpriv --reuid 65534 --regid 65534 --clear-groups \
                      --bounding-set=-all --inh-caps=-all \"$@\";";

fn printed(output: &Output) -> Vec<String> {
    text(&output.stderr).lines().map(str::to_owned).collect()
}

/// Each row's fields by their tags; without the time.
fn rows(output: &Output) -> BTreeMap<String, BTreeMap<String, String>> {
    let text = text(&output.stdout);
    let row = |line: &str| {
        let mut parts = line.split(' ');
        let tags = parts.next().unwrap().to_owned();
        let fields = parts.next().unwrap().split(',');
        let fields = fields.map(|pair| pair.split_once('=').unwrap());
        (tags, fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    };
    text.lines().map(row).collect()
}

/// Traffic that moves as many of the kernel's own counters as a namespace can by itself.
fn traffic(namespace: &Namespace) -> Vec<std::net::UdpSocket> {
    let (refused, sockets) = namespace.udp_flows(37);
    assert_eq!(refused, 0);
    for port in ["1", "2", "3"] {
        let tuple = ["-I", "-p", "udp", "-s", "10.0.0.1", "-d", "10.0.0.2", "-t", "60"];
        namespace.exec("conntrack", &[&tuple[..], &["--sport", port, "--dport", "53"]].concat());
    }
    // Segments of no connection that could be.
    namespace.inside(|| {
        let raw = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::RAW,
            Some(rustix::net::ipproto::TCP),
        )
        .unwrap();
        let to = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
        for _ in 0..5 {
            let flags = rustix::net::SendFlags::empty();
            // A TCP segment with neither SYN nor ACK nor RST.
            let mut segment = [0; 20];
            segment[12] = 0x50;
            rustix::net::sendto(&raw, &segment, flags, &to).unwrap();
        }
    });
    sockets
}

#[test]
fn both_sources_give_the_same_rows() {
    if !may_make_namespaces("both_sources_give_the_same_rows") {
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let namespace = Namespace::new();
    let _sockets = traffic(&namespace);
    let read = |source: &str| {
        let arguments = ["--once", "--format", "influx", "--collect", "all,percpu"];
        let mut command = ctpulse();
        command.args(arguments).args(["--netns", &namespace.name, "--source", source]);
        rows(&output(&mut command))
    };
    let (procfs, netlink) = (read("procfs"), read("netlink"));
    assert!(procfs.len() >= 3, "{procfs:?}");
    assert_eq!(procfs, netlink);
    let all = procfs.iter().find(|(tags, _)| tags.contains("cpu=all")).unwrap().1;
    assert_eq!((&all["entries"][..], &all["insert"][..]), ("40i", "3i"), "{all:?}");
    assert_ne!(all["invalid"], "0i", "{all:?}");
}

/// A socket belongs to the namespace that it was opened in.
#[test]
fn each_namespace_has_its_own_answers() {
    if !may_make_namespaces("each_namespace_has_its_own_answers") {
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let (a, b) = (Namespace::new(), Namespace::new());
    let _sockets = (a.udp_flows(5), b.udp_flows(9));
    let arguments = ["--once", "--format", "influx", "--source", "netlink"];
    let namespaces = ["--netns", &a.name, "--netns", &b.name];
    let text = text(&output(ctpulse().args(arguments).args(namespaces)).stdout);
    for (namespace, flows) in [(&a, 5), (&b, 9)] {
        let tag = format!(",netns={}", namespace.name);
        let line = text.lines().find(|l| l.contains("cpu=all") && l.contains(&tag)).unwrap();
        assert_eq!(integer(line, "entries"), Some(flows));
    }
}

#[test]
fn without_procfs_ctnetlink_is_asked() {
    if !may_make_namespaces("without_procfs_ctnetlink_is_asked") {
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let namespace = Namespace::new();
    let _sockets = traffic(&namespace);
    let arguments = ["--count", "3", "--interval", "100ms", "--ebpf", "off"];
    let found = output(&mut after(&namespace, HIDE, &arguments));
    assert_eq!(printed(&found).len(), 1, "{:?}", printed(&found));
    assert!(
        printed(&found)[0].contains("the statistics come from ctnetlink"),
        "{:?}",
        printed(&found)
    );
    let text = text(&found.stdout);
    let last = text.lines().rfind(|line| line.contains("cpu=all")).unwrap();
    assert_eq!((integer(last, "entries"), integer(last, "insert")), (Some(40), Some(3)), "{last}");
    assert!(last.contains(",drop_rate=0,"), "{last}");
}

#[test]
fn without_either_source_the_table_row_continues_with_one_warning() {
    if !may_make_namespaces("without_either_source_the_table_row_continues_with_one_warning") {
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let namespace = Namespace::new();
    let _sockets = namespace.udp_flows(7);
    let first = format!("{HIDE} {NOBODY}");
    let arguments = ["--count", "4", "--interval", "300ms", "--ebpf", "off"];
    let found = output(&mut after(&namespace, &first, &arguments));
    let printed = printed(&found);
    assert_eq!(printed.len(), 1, "{printed:?}");
    for part in ["warning: ", "only count and limit", "missing CAP_NET_ADMIN"] {
        assert!(printed[0].contains(part), "{printed:?}");
    }
    let debug = [&arguments[..], &["--debug"]].concat();
    let details = self::printed(&output(&mut after(&namespace, &first, &debug))).join("\n");
    for part in ["CONFIG_NF_CONNTRACK_PROCFS", "setcap cap_net_admin+ep"] {
        assert!(details.contains(part), "{details}");
    }
    let text = text(&found.stdout);
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(
        text.lines().all(|line| line.contains(" ip_conntrack_count=7,ip_conntrack_max=")),
        "{text}"
    );
}

/// Without the capability the rows of procfs suffice, and no message is logged. Where ctnetlink is
/// required, there is an error.
#[test]
fn without_the_capability_procfs_is_enough() {
    if !may_make_namespaces("without_the_capability_procfs_is_enough") {
        return;
    }
    let namespace = Namespace::new();
    let read = |source: &str| {
        let arguments =
            ["--count", "2", "--interval", "100ms", "--ebpf", "off", "--source", source];
        output(&mut after(&namespace, NOBODY, &arguments))
    };
    let auto = read("auto");
    assert_eq!(printed(&auto), [""; 0]);
    assert!(text(&auto.stdout).contains("cpu=all"));
    let netlink = read("netlink");
    assert_eq!(printed(&netlink).len(), 1, "{:?}", printed(&netlink));
    assert!(printed(&netlink)[0].contains("missing CAP_NET_ADMIN"), "{:?}", printed(&netlink));
    assert!(!text(&netlink.stdout).contains("cpu=all"));
}

/// Where no file has them, ctnetlink gives the number of entries and their limit, too.
#[test]
fn the_table_row_comes_from_ctnetlink_where_no_file_gives_it() {
    if !may_make_namespaces("the_table_row_comes_from_ctnetlink_where_no_file_gives_it") {
        return;
    }
    let _limit = LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    let namespace = Namespace::new();
    let _sockets = namespace.udp_flows(11);
    let config = tempfile::NamedTempFile::new().unwrap();
    let text = "[[inputs.conntrack]]\ncollect = ['all']\nsource = 'netlink'\ndirs = ['/nowhere']\n";
    std::fs::write(config.path(), text).unwrap();
    let mut command = ctpulse();
    command.args(["--once", "--format", "influx", "--netns", &namespace.name]);
    let found = output(command.arg("--config").arg(config.path()));
    let rows = rows(&found);
    let max = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    let table = rows.iter().find(|(tags, _)| !tags.contains("cpu=")).unwrap().1;
    assert_eq!(table["ip_conntrack_count"], "11");
    assert_eq!(table["ip_conntrack_max"], max.trim());
}

/// A module that went and came between two reads has other counters and dead probes.
#[test]
fn another_module_is_distinguished_from_its_predecessor() {
    if !may_make_namespaces("another_module_is_distinguished_from_its_predecessor") {
        return;
    }
    let namespace = Namespace::new();
    let sys = tempfile::tempdir().unwrap();
    let directory = sys.path().join("module/nf_conntrack");
    std::fs::create_dir_all(&directory).unwrap();
    let roots = Roots { sys_root: Some(sys.path().to_owned()), ..Roots::default() };
    let place = Place::resolve(&roots, &Netns::Name(namespace.name.clone()));
    let mut reader = Reader::new(place, Vec::new(), Source::Netlink);
    reader.open_missing(true, &mut |error| panic!("{error}")).unwrap();
    let mut table = StatTable::default();
    reader.read_stat(&mut table).unwrap();
    // The old one stays, so that the new one's inode is not the same.
    std::fs::rename(&directory, sys.path().join("old")).unwrap();
    std::fs::create_dir(&directory).unwrap();
    let error = reader.read_stat(&mut table).unwrap_err();
    assert!(error.to_string().contains("loaded again"), "{error}");
    assert!(!reader.has_statistics());
    reader.open_missing(true, &mut |error| panic!("{error}")).unwrap();
    reader.read_stat(&mut table).unwrap();
    // Without a module nothing is asked: that would load it.
    std::fs::remove_dir(&directory).unwrap();
    let error = reader.read_stat(&mut table).unwrap_err();
    assert!(error.to_string().contains("is not asked"), "{error}");
    assert_eq!(table.rows(), 0);
}

#[test]
fn a_census_of_some_entries_describes_them() {
    if !may_make_namespaces("a_census_of_some_entries_describes_them") {
        return;
    }
    let namespace = Namespace::new();
    let (_, sockets) = namespace.udp_flows(700);
    for port in 1..=300 {
        let status = if port <= 200 { "SEEN_REPLY" } else { "SEEN_REPLY,ASSURED" };
        let tuple = ["-I", "-p", "udp", "-s", "10.0.0.1", "-d", "10.0.0.2", "-t", "60"];
        let port = port.to_string();
        let ports = ["--sport", &port, "--dport", "53", "-u", status];
        namespace.exec("conntrack", &[&tuple[..], &ports].concat());
    }
    let place = Place::resolve(&Roots::default(), &Netns::Name(namespace.name.clone()));
    let reader = Reader::new(place, Vec::new(), Source::Netlink);
    // A connection that is kept for 5 days and was silent for one, one of this minute.
    for (port, left) in [("1", "345600"), ("2", "431990")] {
        let tuple = ["-I", "-p", "tcp", "-s", "10.0.0.1", "-d", "10.0.0.2", "--dport", "80"];
        let rest = ["--sport", port, "-t", left, "--state", "ESTABLISHED", "-u", "ASSURED"];
        namespace.exec("conntrack", &[&tuple[..], &rest].concat());
    }
    let silence = Some(Silence { timeout: 432_000, long: 7440 });
    let all = reader.look_at_entries(10_000, silence).unwrap().unwrap();
    assert_eq!(all, Entries { seen: 1002, unreplied: 702, evictable: 900, silent: 1 });
    // Some of them are a fair sample: sixfold deviations of a random one are allowed.
    let some = reader.look_at_entries(100, None).unwrap().unwrap();
    assert!((100..500).contains(&some.seen), "{some:?}");
    let (seen, unreplied) = (f64::from(some.seen), f64::from(some.unreplied));
    let deviation = (0.7 * 0.3 / seen).sqrt();
    assert!((unreplied / seen - 0.7).abs() < 6.0 * deviation, "{some:?}");

    let mut advise = ctpulse();
    advise.args(["doctor", "--advise", "--look", "1s", "--netns", &namespace.name]);
    let advised = text(&output(&mut advise).stdout);
    assert!(
        advised.contains("\n    70.1% of 1,002 entries that were read are unreplied"),
        "{advised}"
    );
    drop(sockets);
}

#[test]
fn the_doctor_names_the_source() {
    if !may_make_namespaces("the_doctor_names_the_source") {
        return;
    }
    let namespace = Namespace::new();
    let doctor = |first: &str| {
        let mut command = Command::new("ip");
        let script = format!("{first} exec \"$@\"");
        command.args(["netns", "exec", &namespace.name, "sh", "-ec", &script, "sh"]);
        let found = command.arg(ctpulse().get_program()).arg("doctor").output().unwrap();
        text(&found.stdout)
    };
    let procfs = doctor("");
    assert!(procfs.contains("/net/stat/nf_conntrack: "), "{procfs}");
    assert!(procfs.contains("not used, the statistics come from procfs"), "{procfs}");
    let netlink = doctor(HIDE);
    assert!(netlink.contains("statistics               ctnetlink: "), "{netlink}");
    assert!(netlink.contains("asked: procfs has no statistics"), "{netlink}");
    assert!(netlink.contains("drop                       kernel, ctnetlink"), "{netlink}");
    let neither = doctor(&format!("{HIDE} {NOBODY}"));
    assert!(neither.contains("missing CAP_NET_ADMIN"), "{neither}");
}
