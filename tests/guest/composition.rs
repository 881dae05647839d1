//! The rows `conntrack_entries` against `conntrack -L`.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::support::{Namespace, Running, ctpulse, output, text};
use crate::{Modules, NOBODY, SOON, in_guest, track, track_no_more, track_no_more_in, wait_for};

/// The bounds of the remaining time in seconds, by their fields.
const WITHIN: [(&str, u64); 7] = [
    ("expire_within_10s", 10),
    ("expire_within_30s", 30),
    ("expire_within_2m", 120),
    ("expire_within_10m", 600),
    ("expire_within_1h", 3600),
    ("expire_within_1d", 86_400),
    ("expire_within_5d", 432_000),
];

/// The numbers of the fields of one protocol and state.
type Fields = BTreeMap<String, u64>;

/// By namespace, protocol and state.
type Rows = BTreeMap<(String, String, String), Fields>;

/// Adds an entry that no packet belongs to.
fn insert(namespace: &Namespace, port: u16, arguments: &str) {
    let port = port.to_string();
    let tuple = ["-s", "192.0.2.1", "-d", "198.51.100.1", "--sport", &port, "--dport", "9"];
    // The protocol comes before its ports.
    let arguments: Vec<&str> = arguments.split(' ').collect();
    namespace.exec("conntrack", &[&["-I"], &arguments[..], &tuple].concat());
}

/// Entries of several states, with timeouts that stay between two bounds for some minutes.
fn fill(namespace: &Namespace) {
    for (at, arguments) in [
        "-p udp -t 400",
        "-p udp -t 400 -u SEEN_REPLY",
        "-p udp -t 3000 -u SEEN_REPLY,ASSURED",
        "-p tcp --state ESTABLISHED -t 300000 -u SEEN_REPLY,ASSURED",
        "-p tcp --state ESTABLISHED -t 500000 -u SEEN_REPLY",
        "-p tcp --state ESTABLISHED -t 50000 -u SEEN_REPLY",
        "-p tcp --state SYN_SENT -t 400",
        "-p tcp --state TIME_WAIT -t 3000 -u SEEN_REPLY,ASSURED",
        "-p tcp --state CLOSE -t 3000 -u SEEN_REPLY",
    ]
    .into_iter()
    .enumerate()
    {
        // So many of each kind.
        for copy in 0..=at as u16 % 3 {
            insert(namespace, 1000 + 10 * at as u16 + copy, arguments);
        }
    }
}

/// What `conntrack -L` says of the namespace.
fn listed(namespace: &Namespace, rows: &mut Rows) {
    let mut list = Command::new("ip");
    list.args(["netns", "exec", &namespace.name, "conntrack", "-L"]);
    for line in text(&output(&mut list).stdout).lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let protocol = words[0];
        let state = if protocol == "tcp" { words[3] } else { "-" };
        let key = (namespace.name.clone(), protocol.to_owned(), state.to_owned());
        let fields = rows.entry(key).or_insert_with(nothing);
        let left: u64 = words[2].parse().unwrap();
        let mut count = |field: &str, holds: bool| {
            *fields.get_mut(field).unwrap() += u64::from(holds);
        };
        count("entries", true);
        count("unreplied", line.contains("[UNREPLIED]"));
        count("assured", line.contains("[ASSURED]"));
        WITHIN.iter().for_each(|(field, bound)| count(field, left <= *bound));
    }
}

fn nothing() -> Fields {
    let properties = ["entries", "unreplied", "assured", "offloaded", "expired"];
    let mut fields = Fields::from(properties.map(|field| (field.to_owned(), 0)));
    fields.extend(WITHIN.map(|(field, _)| (field.to_owned(), 0)));
    fields
}

/// What the rows say with no entries but those listed, where these states had entries before.
fn expected(namespaces: &[&Namespace], before: &Rows) -> Rows {
    let mut rows: Rows = before.keys().map(|key| (key.clone(), nothing())).collect();
    for namespace in namespaces {
        for (protocol, state) in [("tcp", "ESTABLISHED"), ("udp", "-")] {
            let key = (namespace.name.clone(), protocol.to_owned(), state.to_owned());
            rows.insert(key, nothing());
        }
        listed(namespace, &mut rows);
    }
    rows
}

/// Takes a row of this measurement. Returns false for another row.
fn take(rows: &mut Rows, line: &str) -> bool {
    let row: Value = serde_json::from_str(line).unwrap();
    if row["name"] != "conntrack_entries" {
        return false;
    }
    let tag = |name: &str| row["tags"][name].as_str().unwrap_or_default().to_owned();
    let fields = row["fields"].as_object().unwrap();
    assert_eq!(fields["read_share"], 1.0, "{line}");
    let numbers = fields.iter().filter(|(name, _)| *name != "read_share");
    let numbers = numbers.map(|(name, number)| (name.clone(), number.as_u64().unwrap())).collect();
    rows.insert((tag("netns"), tag("protocol"), tag("state")), numbers);
    true
}

fn streaming(namespaces: &[&Namespace], more: &[&str]) -> Command {
    let mut command = ctpulse();
    command.args(["--ebpf", "off", "--composition", "200ms", "--interval", "200ms"]);
    command.args(["--format", "json"]).args(more);
    namespaces.iter().for_each(|namespace| _ = command.args(["--netns", &namespace.name]));
    command
}

fn until(running: &Running, rows: &mut Rows, expected: &Rows) {
    let mut seen = None;
    wait_for("the rows", || {
        while !take(rows, &running.line(SOON).expect("a row")) {}
        if seen.as_ref() != Some(rows) {
            seen = Some(rows.clone());
        }
        rows == expected
    });
}

/// A run, with what it logs.
struct Logged {
    running: Running,
    log: NamedTempFile,
}

impl Logged {
    fn start(mut command: Command) -> Self {
        let log = NamedTempFile::new().unwrap();
        command.stderr(log.reopen().unwrap());
        Self { running: Running::start(&mut command), log }
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// Waits for so many lines of the log that have this text.
    fn until_printed(&self, what: &str, times: usize) {
        wait_for(what, || self.printed().matches(what).count() >= times);
    }
}

/// One walk counts the entries of both.
#[test]
fn rows_have_the_entries_that_conntrack_lists_of_each_namespace() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let (namespace, other) = (Namespace::new(), Namespace::new());
    let both = [&namespace, &other];
    fill(&namespace);
    insert(&other, 1, "-p udp -t 3000");
    let list = expected(&both, &Rows::new());
    println!("{list:#?}");
    assert_eq!(list.values().map(|fields| fields["entries"]).sum::<u64>(), 19);
    let logged = Logged::start(streaming(&both, &[]));
    let running = &logged.running;
    // The first rows are of the first walk.
    let mut rows = Rows::new();
    while rows.len() < list.len() {
        take(&mut rows, &running.line(SOON).expect("a row"));
    }
    assert_eq!(rows, list);

    insert(&namespace, 2, "-p tcp --state LAST_ACK -t 3000 -u SEEN_REPLY");
    namespace.exec("conntrack", &["-D", "-p", "tcp", "--state", "TIME_WAIT"]);
    let list = expected(&both, &list);
    until(running, &mut rows, &list);
    other.exec("conntrack", &["-F"]);
    let list = expected(&both, &list);
    until(running, &mut rows, &list);
    let printed = logged.printed();
    assert!(!printed.contains("warning"), "{printed}");
}

/// A dump deletes such entries, and shows none.
#[test]
fn entries_whose_time_is_over_are_expired_until_they_are_collected() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let namespace = Namespace::new();
    let running = Running::start(&mut streaming(&[&namespace], &[]));
    let (mut port, mut rows) = (0, Rows::new());
    let key = (String::new(), "udp".to_owned(), "-".to_owned());
    wait_for("an expired entry", || {
        port += 1;
        insert(&namespace, port, "-p udp -t 1");
        while !take(&mut rows, &running.line(SOON).expect("a row")) {}
        rows.get(&key).is_some_and(|fields| {
            assert!(fields["expired"] <= fields["expire_within_10s"], "{fields:?}");
            assert_eq!(fields["expire_within_10s"], fields["entries"], "{fields:?}");
            fields["expired"] > 0
        })
    });
}

#[test]
fn one_reading_has_the_composition() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let namespace = Namespace::new();
    fill(&namespace);
    let mut command = ctpulse();
    command.args(["--once", "--composition", "10s", "--netns", &namespace.name]);
    let prometheus = text(&output(command.args(["--format", "prometheus"])).stdout);
    let sample = "conntrack_entries_by_state{host=";
    let lines = prometheus.lines().filter(|line| line.starts_with(sample));
    let total: u64 =
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(total, 18, "{prometheus}");
    assert!(prometheus.contains("# TYPE conntrack_entries_by_state gauge\n"), "{prometheus}");
}

/// A file of metrics has the numbers of the latest walk all the time.
#[test]
fn an_exposition_has_the_composition_between_two_walks() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let namespace = Namespace::new();
    fill(&namespace);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ctpulse.prom");
    let mut command = ctpulse();
    command.args(["--composition", "1h", "--interval", "100ms", "--ebpf", "off"]);
    command.args([
        "--netns",
        &namespace.name,
        "--format",
        "prometheus",
        "--count",
        "5",
        "--output",
    ]);
    output(command.arg(&file));
    let text = std::fs::read_to_string(&file).unwrap();
    let established = "protocol=\"tcp\",state=\"ESTABLISHED\"} 6\n";
    let found = text.lines().find(|line| line.starts_with("conntrack_entries_by_state"));
    assert!(found.is_some() && text.contains(established), "{text}");
}

#[test]
fn a_module_that_is_loaded_later_or_again_is_read() {
    in_guest();
    if !crate::shows_variables() {
        return;
    }
    let mut modules = Modules::new();
    let namespace = Namespace::new();
    track_no_more_in(&namespace);
    modules.unload();
    let logged = Logged::start(streaming(&[], &["--debug"]));
    let (none, read) =
        ("no rows conntrack_entries: nf_conntrack", "conntrack_entries: the table is read");
    logged.until_printed(none, 1);
    for times in 2..=3 {
        modules.load();
        track();
        // Rows of the time before may still be on their way.
        logged.until_printed(read, times - 1);
        let mut rows = Rows::new();
        let began = Instant::now();
        while !take(&mut rows, &logged.running.line(SOON).expect("a row")) {
            assert!(began.elapsed() < SOON, "no row: {}", logged.printed());
        }
        track_no_more();
        modules.unload();
        logged.until_printed(none, times);
    }
    println!("{}", logged.printed());
    modules.load();
}

#[test]
fn without_capabilities_there_is_one_warning_and_no_row() {
    in_guest();
    let mut command = ctpulse();
    command.args(["--composition", "200ms", "--interval", "200ms", "--count", "3"]);
    let outcome = output(command.uid(NOBODY).gid(NOBODY));
    let (rows, errors) = (text(&outcome.stdout), text(&outcome.stderr));
    assert!(outcome.status.success() && rows.lines().count() >= 3, "{rows}{errors}");
    assert!(!rows.contains("conntrack_entries"), "{rows}");
    assert_eq!(errors.matches("no rows conntrack_entries: ").count(), 1, "{errors}");
}
