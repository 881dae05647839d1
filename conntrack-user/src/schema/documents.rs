//! The documents and packaged files that name fields, held against the catalog.

use std::collections::BTreeSet;
use std::path::Path;

use super::field::{Field, FieldKind, RowKind};
use super::fields::{EVENTS_PREFIX, FIELDS, PROGRAM_FIELDS, REPORTED_CAUSES, causes, find};
use super::labelled::{LABELLED, LabelledMeasurement};
use super::measure::Measure;
use crate::source::ebpf::probe_table::{AttachWhen, HOOKS};

/// Reads a file of the repository.
fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A row of a table in docs/schema.md.
struct DocumentedRow {
    /// The heading of the second column.
    second: String,
    cells: Vec<String>,
}

impl DocumentedRow {
    fn names(&self) -> Vec<&str> {
        self.cells[0].split('`').skip(1).step_by(2).collect()
    }
}

/// The rows of docs/schema.md's tables whose first column names fields.
fn documented_rows() -> Vec<DocumentedRow> {
    let schema = repository("docs/schema.md");
    let mut second = String::new();
    let mut rows = Vec::new();
    for line in schema.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        if cells[0].contains('`') {
            rows.push(DocumentedRow { second: second.clone(), cells });
        } else if !cells[0].starts_with("---") {
            second.clone_from(&cells[1]);
        }
    }
    rows
}

fn set<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    names.map(str::to_owned).collect()
}

#[test]
fn the_tables_of_the_schema_have_exactly_the_fields_of_the_catalog() {
    let rows = documented_rows();
    let documented = set(rows.iter().flat_map(DocumentedRow::names));
    let of_rows = FIELDS.iter().filter(|field| field.row != RowKind::Table);
    let of_programs = PROGRAM_FIELDS.map(|field| format!("<program>{}", field.suffix));
    let measures = Measure::BESIDE_TOTAL.map(|measure| format!("<counter>{}", measure.suffix()));
    let mut declared = set(of_rows.map(|field| field.name));
    declared.extend(of_programs.into_iter().chain(measures));
    declared.insert(format!("{EVENTS_PREFIX}*"));
    let of_labelled =
        LABELLED.iter().flat_map(|it| it.fields().map(|field| field.name).chain(it.rate));
    declared.extend(of_labelled.map(str::to_owned));
    // The two extremes of the table's row are additions; its other fields are sysctl files.
    let of_table = FIELDS.iter().filter(|field| field.row == RowKind::Table);
    let (additions, files): (Vec<&Field>, Vec<&Field>) =
        of_table.partition(|field| documented.contains(field.name));
    declared.extend(additions.iter().map(|field| field.name.to_owned()));
    assert_eq!(documented, declared);
    let schema = repository("docs/schema.md");
    for field in files {
        assert!(schema.contains(&format!("`{}`", field.name)), "{}", field.name);
    }
}

#[test]
fn the_tables_of_the_schema_have_the_kernels_and_columns_of_the_catalog() {
    let rows = documented_rows();
    let of_kernel = |row: &&DocumentedRow| row.second == "counts";
    for row in rows.iter().filter(of_kernel) {
        for field in row.names().into_iter().filter_map(find) {
            let kernels = &row.cells[2];
            match field.constant_from {
                Some((major, minor)) => {
                    assert_eq!(*kernels, format!("up to {major}.{}", minor - 1), "{}", field.name);
                }
                None => assert!(!kernels.starts_with("up to"), "{}", field.name),
            }
            let column = field
                .header
                .is_none_or(|column| row.cells[1].contains(&format!("(column `{column}`)")));
            assert!(column, "{}", field.name);
        }
    }
}

#[test]
fn the_schema_names_the_source_of_fields_outside_the_kernel() {
    let rows = documented_rows();
    let from = rows.iter().filter(|row| ["function", "source"].contains(&row.second.as_str()));
    let documented = set(from.flat_map(DocumentedRow::names));
    let is_other = |field: &&Field| {
        let is_derived = matches!(field.kind, FieldKind::DerivedDrop(_));
        field.event.is_some() || field.copy_of.is_some() || is_derived
    };
    assert_eq!(documented, set(FIELDS.iter().filter(is_other).map(|field| field.name)));
}

#[test]
fn the_schema_has_every_measurement_with_labels() {
    let schema = repository("docs/schema.md");
    for LabelledMeasurement { name, labels: [first, second], .. } in LABELLED {
        let row = format!("\n{name},{first}=");
        assert!(schema.contains(&row), "{name}");
        assert!(schema.contains(&format!("`{second}` is ")), "{second}");
    }
}

/// The words of the alert are those of `ctpulse drops`.
#[test]
fn the_alert_has_every_drop_cause_under_its_words() {
    let alerts = repository("packaging/prometheus/alerts.yml");
    for field in causes() {
        let word = field.name.strip_prefix("drop_").unwrap();
        let reported = REPORTED_CAUSES.iter().find(|reported| reported.word == word);
        let words = reported.map_or("other", |reported| reported.words);
        let metric = format!("(conntrack_{}_total{{", field.name);
        let label = format!("\"cause\", \"{words}\"");
        let has = |line: &str| line.contains(&metric) && line.contains(&label);
        assert!(alerts.lines().any(has), "{} as {words}", field.name);
    }
}

#[test]
fn the_dashboard_has_every_drop_cause_twice() {
    let dashboard = repository("packaging/grafana/conntrack.json");
    for field in causes() {
        for query in [
            format!("rate(conntrack_{}_total{{", field.name),
            format!("mean(\\\"{}\\\")", field.of(Measure::Rate)),
        ] {
            assert!(dashboard.contains(&query), "{query}");
        }
    }
}

#[test]
fn the_sample_configuration_names_what_is_counted_per_packet() {
    let sample = repository("conntrack-user/src/config/sample.toml");
    let line = sample.lines().find(|line| line.contains("Also count '")).unwrap();
    let named = set(line.split('\'').skip(1).step_by(2));
    let per_packet = HOOKS.iter().filter(|hook| hook.need == AttachWhen::PerPacket);
    let events: Vec<_> = per_packet.flat_map(|hook| hook.events).collect();
    let of_events = FIELDS.iter().filter(|f| f.event.is_some_and(|e| events.contains(&&e)));
    assert_eq!(named, set(of_events.map(|field| field.name)));
}
