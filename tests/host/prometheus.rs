//! What people install beside it: alerts, a scrape configuration and a dashboard, as Prometheus
//! itself sees them, and what a real server makes of a scrape.
//!
//! Prometheus is Debian's, unpacked by `cargo xtask test`, or the system's.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Running, ctpulse, fixture, not_run_here, output, repository, roots, text};
use ctpulse::schema::field::{Field, FieldKind, RowKind};
use ctpulse::schema::fields::{FIELDS, PROGRAM_FIELDS};
use ctpulse::schema::labelled::LABELLED;
use ctpulse::schema::measure::Measure;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

/// Returns a program of Debian's package. Prints `NOT RUN HERE` where it is not installed.
fn program(name: &str, test: &str) -> Option<PathBuf> {
    let unpacked = repository().join(".cache/prometheus/usr/bin");
    let dirs = [unpacked, "/usr/bin".into(), "/usr/local/bin".into()];
    let found = dirs.iter().map(|dir| dir.join(name)).find(|path| path.exists());
    if found.is_none() {
        not_run_here(test, &format!("there is no `{name}`; `cargo xtask test` as root gets it"));
    }
    found
}

fn packaged(file: &str) -> String {
    fs::read_to_string(repository().join("packaging").join(file)).unwrap()
}

#[test]
fn alerts_fire_only_under_their_condition() {
    let Some(promtool) = program("promtool", "alerts_fire_only_under_their_condition") else {
        return;
    };
    for arguments in [["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]] {
        let mut command = Command::new(&promtool);
        output(command.args(arguments).current_dir(repository().join("packaging/prometheus")));
    }
    // Each alert is tried.
    let tried = packaged("prometheus/alerts_test.yml");
    for alert in packaged("prometheus/alerts.yml").lines() {
        if let Some((_, name)) = alert.split_once("- alert: ") {
            let is_tried = [format!("alertname: {name}"), format!("alertname=\"{name}\"")];
            assert!(is_tried.iter().any(|tries| tried.contains(tries)), "{name} is not tried");
        }
    }
}

#[test]
fn exposed_metrics_follow_the_conventions() {
    let Some(promtool) = program("promtool", "exposed_metrics_follow_the_conventions") else {
        return;
    };
    let exposition = repository().join("tests/golden/scrape.prometheus");
    let exposition = fs::File::open(exposition).unwrap();
    output(Command::new(promtool).args(["check", "metrics"]).stdin(exposition));
}

/// The names of all fields in rows, with the measures of each counter.
fn field_names() -> BTreeSet<String> {
    let of_catalog = FIELDS.iter().flat_map(|field| with_measures(field, field.name));
    let of_labelled = LABELLED.iter().flat_map(|it| it.fields().map(|of| of.name).chain(it.rate));
    of_catalog.chain(of_labelled).map(str::to_owned).collect()
}

/// The measurements with labels, and these labels.
fn labelled_names() -> Vec<&'static str> {
    LABELLED.iter().flat_map(|it| [it.name].into_iter().chain(it.labels)).collect()
}

/// The names of all metrics.
fn metric_names() -> BTreeSet<String> {
    let metric = |field: &'static Field| {
        let is_gauge = field.kind == FieldKind::Gauge;
        let total = if is_gauge { "" } else { "_total" };
        let own = format!("{}{total}", field.prometheus);
        let measures = with_measures(field, field.prometheus).into_iter().skip(1);
        let names = std::iter::once(own).chain(measures.map(str::to_owned));
        let row = if field.row == RowKind::Own { "internal_ctpulse" } else { "conntrack" };
        names.map(move |name| format!("{row}_{name}"))
    };
    let of_programs = PROGRAM_FIELDS.iter();
    let of_programs = of_programs.map(|of| format!("internal_ctpulse_{}_total", of.prometheus));
    let of_labelled = LABELLED.iter().flat_map(|it| {
        let total = if it.is_gauge() { "" } else { "_total" };
        it.fields().map(move |field| format!("{}_{}{total}", it.name, field.prometheus))
    });
    FIELDS.iter().flat_map(metric).chain(of_programs).chain(of_labelled).collect()
}

/// A field's name, and those of its measures where it has any.
fn with_measures(field: &Field, name: &'static str) -> Vec<&'static str> {
    let counts = matches!(field.kind, FieldKind::Counter | FieldKind::DerivedDrop(_));
    let measures = Measure::BESIDE_TOTAL.into_iter().filter(|_| counts);
    std::iter::once(name).chain(measures.map(|measure| field.of(measure))).collect()
}

/// The words that begin so.
fn words<'a>(text: &'a str, starts: &[&str]) -> Vec<&'a str> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_of_word(c));
    words.filter(|word| starts.iter().any(|start| word.starts_with(start))).collect()
}

#[test]
fn alerts_and_dashboard_use_only_existing_metrics() {
    let (fields, metrics) = (field_names(), metric_names());
    assert!(metrics.contains("conntrack_drop_rate_max"));
    assert!(!metrics.contains("conntrack_drop"), "a counter ends in _total");
    let starts = ["conntrack_", "internal_ctpulse_"];
    let mut seen = 0;
    for line in packaged("prometheus/alerts.yml").lines() {
        let is_text = ["summary:", "description:"].iter().any(|key| line.contains(key));
        for name in words(line, &starts).into_iter().filter(|_| !is_text) {
            assert!(metrics.contains(name), "alerts.yml asks for {name}");
            seen += 1;
        }
    }
    let dashboard: Value = serde_json::from_str(&packaged("grafana/conntrack.json")).unwrap();
    let (mut ids, mut legends) = (BTreeSet::new(), 0);
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
        for target in panel["targets"].as_array().into_iter().flatten() {
            if let Some(expression) = target["expr"].as_str() {
                for name in words(expression, &starts) {
                    assert!(metrics.contains(name), "the dashboard asks for {name}");
                    seen += 1;
                }
            }
            if let Some(legend) = target["legendFormat"].as_str() {
                assert!(legend.starts_with("{{instance}} {{netns}} "), "{legend}");
                legends += 1;
            }
            if let Some(query) = target["query"].as_str() {
                // Namespaces are not averaged, and have a label each.
                let (_, grouped) = query.split_once(" GROUP BY ").unwrap();
                assert!(grouped.contains(", \"host\", \"netns\" "), "{query}");
                let alias = target["alias"].as_str().unwrap();
                assert!(alias.starts_with("$tag_host $tag_netns "), "{alias}");
                legends += 1;
                let quoted = query.split('"').skip(1).step_by(2);
                let tags = [&["conntrack", "cpu", "host", "netns"][..], &labelled_names()].concat();
                for name in quoted.filter(|name| !tags.contains(name)) {
                    assert!(fields.contains(name), "the dashboard asks for {name}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 60, "{seen} names seen");
    assert_eq!(legends, 58, "as many of Prometheus as of InfluxDB");
}

/// The body of an answer to a request by HTTP/1.0.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

fn query(port: u16, path: &str) -> Option<Value> {
    serde_json::from_str(&get(port, path)?).ok()
}

/// A server of Prometheus with a directory of its own.
struct Server {
    _running: Running,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start(program: &Path, configuration: &str) -> Self {
        let dir = written(configuration);
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        Self { _running: Running::start(command.stderr(Stdio::null())), port, _dir: dir }
    }

    /// What is at `path`, as soon as it has what is asked for.
    fn wait_for<T>(&self, path: &str, what: impl Fn(&Value) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let answer = query(self.port, path);
            if let Some(found) = answer.as_ref().and_then(&what) {
                return found;
            }
            assert!(start.elapsed() < SOON, "{answer:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A directory with this configuration and our alerts.
fn written(configuration: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("prometheus.yml"), configuration).unwrap();
    fs::write(dir.path().join("alerts.yml"), packaged("prometheus/alerts.yml")).unwrap();
    dir
}

#[test]
fn a_real_server_takes_the_scrape() {
    let Some(server) = program("prometheus", "a_real_server_takes_the_scrape") else { return };
    let mut command = ctpulse();
    command.args(["run", "--listen", ":0", "--interval", "500ms"]).args(roots(&fixture("5.15")));
    let mut running = Running::start(command.stderr(Stdio::piped()));
    let mut printed = BufReader::new(running.child.stderr.take().unwrap()).lines();
    let address = printed
        .find_map(|line| {
            let line = line.unwrap();
            let (_, url) = line.split_once("listening on http://")?;
            Some(url.strip_suffix("/metrics").unwrap().to_owned())
        })
        .unwrap();
    let configuration = packaged("prometheus/prometheus.yml")
        .replace("127.0.0.1:9466", &address)
        .replace("scrape_interval: 15s", "scrape_interval: 1s");
    let server = Server::start(&server, &configuration);
    let drops = "/api/v1/query?query=conntrack_drop_total%7Bcpu%3D%22all%22%7D";
    let value = server.wait_for(drops, |answer| {
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    });
    assert_eq!(value, "725");
    let up = query(server.port, "/api/v1/query?query=up").unwrap();
    assert_eq!(up["data"]["result"][0]["value"][1], "1", "{up}");
    // It was offered OpenMetrics, and has taken types and helps from it.
    let metadata = query(server.port, "/api/v1/targets/metadata").unwrap();
    let of = |name: &str| {
        let all = metadata["data"].as_array().unwrap();
        all.iter().find(|one| one["metric"] == name).unwrap_or_else(|| panic!("{name}: {metadata}"))
    };
    let is = |name: &str, kind: &str| {
        assert_eq!(of(name)["type"], kind, "{name}");
        assert!(!of(name)["help"].as_str().unwrap().is_empty());
    };
    is("conntrack_drop", "counter");
    is("conntrack_drop_rate_max", "gauge");
    is("conntrack_table_entries", "gauge");
    is("ctpulse_build_info", "gauge");
    assert!(text(get(server.port, "/-/healthy").unwrap().as_bytes()).contains("Healthy"));
}

/// How the cluster's Prometheus finds pods: Debian's is built without it.
const DISCOVERY: &str = "    kubernetes_sd_configs:
      - role: pod
        namespaces:
          names: [ctpulse]
";

/// The configuration for a cluster with pods of these values of the label
/// `app.kubernetes.io/name`, names of the port, and nodes, as discovery would tell them.
fn with_pods(pods: &[[&str; 3]]) -> String {
    let configuration = packaged("prometheus/kubernetes.yml");
    let mut found = "    static_configs:\n".to_owned();
    for (number, [name, port, node]) in pods.iter().enumerate() {
        found += &format!(
            "      - targets: ['127.0.0.1:{}']\n        labels:\n          \
             __meta_kubernetes_pod_label_app_kubernetes_io_name: {name}\n          \
             __meta_kubernetes_pod_container_port_name: {port}\n          \
             __meta_kubernetes_pod_node_name: {node}\n",
            number + 1
        );
    }
    assert!(configuration.contains(DISCOVERY), "{configuration}");
    configuration.replace(DISCOVERY, &found)
}

#[test]
fn in_a_cluster_the_pods_of_the_manifest_are_scraped_as_their_nodes() {
    // What the configuration selects stands in the manifest.
    let manifest = packaged("kubernetes/base/daemonset.yaml");
    for part in [
        "\n  namespace: ctpulse\n",
        "\n      labels:\n        app.kubernetes.io/name: ctpulse\n",
        "\n          ports:\n            - name: metrics\n              containerPort: 9466\n",
    ] {
        assert!(manifest.contains(part), "{part}");
    }
    let test = "in_a_cluster_the_pods_of_the_manifest_are_scraped_as_their_nodes";
    let configuration = with_pods(&[
        ["ctpulse", "metrics", "node1"],
        ["ctpulse", "other", "node1"],
        ["ctpulse", "metrics", "node2"],
        ["another", "metrics", "node2"],
    ]);
    let Some(promtool) = program("promtool", test) else { return };
    let dir = written(&configuration);
    let mut command = Command::new(promtool);
    output(command.args(["check", "config", "prometheus.yml"]).current_dir(dir.path()));
    let Some(server) = program("prometheus", test) else { return };
    let server = Server::start(&server, &configuration);
    let (active, dropped) = server.wait_for("/api/v1/targets", |answer| {
        let active = answer["data"]["activeTargets"].as_array().filter(|all| !all.is_empty())?;
        let labels: BTreeSet<_> = active.iter().map(|one| one["labels"].to_string()).collect();
        Some((labels, answer["data"]["droppedTargets"].as_array()?.len()))
    });
    let as_node = |node: &str| format!(r#"{{"instance":"{node}","job":"ctpulse"}}"#);
    assert_eq!(active, BTreeSet::from([as_node("node1"), as_node("node2")]));
    assert_eq!(dropped, 2);
}
