//! Realistic rows, arbitrary rows, and the properties of every format.

mod csv;
mod influx;
mod json;
mod prometheus;
mod table;

use std::collections::BTreeMap;

use clap::ValueEnum as _;
use proptest::prelude::*;

use super::{Encoder, EncoderOptions, Format, encoder};
use crate::metric::Value::{Float, Integer, NotMaintained, Unknown};
use crate::metric::{Metric, Name, Value};
use crate::text::sanitize::{is_plain, shown, tests::harmful};

/// 2021-03-08 17:12:22 UTC, the time of the documented example.
const TIME: i64 = 1_615_223_542_000_000_000;

fn metric(tags: &[(&str, &str)], fields: &[(&str, Value)]) -> Metric {
    let tags: BTreeMap<_, _> =
        tags.iter().map(|(k, v)| (Name::from(*k), (*v).to_owned())).collect();
    let fields: BTreeMap<_, _> = fields.iter().map(|(k, v)| (Name::from(*k), *v)).collect();
    Metric {
        name: "conntrack".to_owned(),
        tags: tags.into_iter().collect(),
        fields: fields.into_iter().collect(),
        timestamp_ns: TIME,
    }
}

fn with(mut row: Metric, fields: &[(&str, Value)]) -> Metric {
    for (key, value) in fields {
        row.fields.retain(|(k, _)| **k != **key);
        row.fields.push((Name::from(*key), *value));
    }
    row.fields.sort_by(|a, b| a.0.cmp(&b.0));
    row
}

/// The table row.
fn table_row() -> Metric {
    metric(
        &[("host", "fw1")],
        &[("ip_conntrack_count", Float(201_330.0)), ("ip_conntrack_max", Float(262_144.0))],
    )
}

/// A `cpu=all` row of Linux 6.1 without another source, ten seconds after the first.
fn all_row() -> Metric {
    metric(
        &[("cpu", "all"), ("host", "fw1")],
        &[
            ("chaintoolong", Integer(0)),
            ("chaintoolong_rate", Float(0.0)),
            ("clash_resolve", Integer(1204)),
            ("clash_resolve_rate", Float(3.3)),
            ("drop", Integer(48_211)),
            ("drop_rate", Float(12.5)),
            ("drop_rate_max", Float(1240.0)),
            ("early_drop", Integer(96)),
            ("early_drop_rate", Float(0.1)),
            ("entries", Integer(201_330)),
            ("entries_max", Integer(262_144)),
            ("entries_min", Integer(198_007)),
            ("insert_failed", Integer(48_212)),
            ("insert_failed_rate", Float(12.6)),
            ("invalid", Integer(5_000_000_000)),
            ("invalid_rate", Float(48_123.0)),
            ("new", NotMaintained),
            ("new_rate", Unknown),
        ],
    )
}

/// The `cpu=all` row of the first emission: no rates yet.
fn first_row() -> Metric {
    let mut row = all_row();
    for (key, value) in &mut row.fields {
        if key.contains("_rate") {
            *value = Unknown;
        }
    }
    row
}

fn cpu_row(cpu: &str, drop_rate: f64) -> Metric {
    metric(
        &[("cpu", cpu), ("host", "fw1")],
        &[
            ("drop", Integer(24_000)),
            ("drop_rate", Float(drop_rate)),
            ("entries", Integer(201_330)),
            ("insert_failed_rate", Unknown),
        ],
    )
}

/// Everything that some format must escape.
fn nasty_row() -> Metric {
    metric(
        &[
            ("a b", "two words"),
            ("c,d=e", "k=v,\"w\""),
            ("empty", ""),
            ("line", "one\ntwo\ttabs\r\n"),
            ("path", r"C:\temp\"),
            ("town", "Zürich 東京"),
            ("z\\", "end"),
        ],
        &[
            ("big", Integer(u64::MAX)),
            ("half full=x,y", Float(0.5)),
            ("huge", Float(1e21)),
            ("inf", Float(f64::INFINITY)),
            ("nan", Float(f64::NAN)),
            ("tiny", Float(-1e-7)),
        ],
    )
}

fn encode(encoder: &mut dyn Encoder, batch: &[Metric]) -> String {
    let mut out = Vec::new();
    encoder.encode(batch, &mut out);
    String::from_utf8(out).unwrap()
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Integer),
        (0_u64..2000).prop_map(Integer),
        any::<f64>().prop_map(Float),
        (0.0..1e6).prop_map(Float),
        Just(Float(f64::NAN)),
        Just(Float(f64::NEG_INFINITY)),
        Just(NotMaintained),
        Just(Unknown),
    ]
}

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        r#"[a-c_,= \\"\n]{0,4}"#,
        prop::sample::select(vec![
            "cpu",
            "host",
            "netns",
            "entries",
            "drop",
            "drop_rate",
            "drop_rate_max",
            "new_rate",
            "new",
            "ip_conntrack_count",
            "ip_conntrack_max",
            "__name__",
            "timestamp",
            "9",
        ])
        .prop_map(str::to_owned),
    ]
}

/// Any row at all, as long as its tags and fields are sorted.
fn any_metric() -> impl Strategy<Value = Metric> {
    let tag_value = prop_oneof![any::<String>(), Just("all".to_owned()), r#"[a-c,= \\"\n\r]{0,4}"#];
    (
        prop_oneof![Just("conntrack".to_owned()), any_key()],
        prop::collection::btree_map(any_key(), tag_value, 0..5),
        prop::collection::btree_map(any_key(), any_value(), 0..6),
        any::<i64>(),
    )
        .prop_map(|(name, tags, fields, timestamp_ns)| Metric {
            name,
            tags: tags.into_iter().map(|(k, v)| (k.into(), v)).collect(),
            fields: fields.into_iter().map(|(k, v)| (k.into(), v)).collect(),
            timestamp_ns,
        })
}

fn any_batch() -> impl Strategy<Value = Vec<Metric>> {
    prop::collection::vec(any_metric(), 0..5)
}

proptest! {
    #[test]
    fn no_rows_make_a_format_panic_or_leave_a_line_open(
        first in any_batch(),
        second in any_batch(),
        colour: bool,
        subsecond: bool,
        totals: bool,
    ) {
        for format in Format::value_variants() {
            let options = EncoderOptions { colour, totals, subsecond };
            let mut encoder = encoder(*format, options);
            for batch in [&first, &second] {
                let text = encode(&mut *encoder, batch);
                prop_assert!(text.is_empty() || text.ends_with('\n'), "{format:?}: {text:?}");
            }
            if let Some(notice) = encoder.take_notice() {
                prop_assert!(!notice.contains('\n'), "{notice:?}");
                prop_assert_eq!(encoder.take_notice(), None);
            }
        }
    }
}

#[test]
fn encoders_append() {
    for format in Format::value_variants() {
        let mut out = b"before\n".to_vec();
        encoder(*format, EncoderOptions::default()).encode(&[table_row()], &mut out);
        assert!(out.starts_with(b"before\n") && out.len() > 7, "{format:?}");
    }
}

#[test]
fn rows_without_a_value_give_no_line() {
    let empty = metric(&[("host", "fw1")], &[]);
    let unknown = metric(&[("host", "fw1")], &[("other", Unknown), ("more", Float(f64::NAN))]);
    for format in [Format::Influx, Format::Json, Format::Prometheus] {
        let mut encoder = encoder(format, EncoderOptions::default());
        assert_eq!(encode(&mut *encoder, &[empty.clone(), unknown.clone()]), "", "{format:?}");
    }
}

#[test]
fn the_command_line_knows_the_formats_by_lower_case_names() {
    let names: Vec<_> =
        Format::value_variants().iter().filter_map(clap::ValueEnum::to_possible_value).collect();
    let names: Vec<_> = names.iter().map(clap::builder::PossibleValue::get_name).collect();
    assert_eq!(names, ["influx", "json", "prometheus", "csv", "table"]);
}

proptest! {
    /// Whatever the names and tags are, a row is as many lines as any other, and all of them plain.
    #[test]
    fn names_from_outside_are_plain_in_every_format(
        name in harmful(), key in harmful(), value in harmful(), field in harmful(),
    ) {
        for format in Format::value_variants() {
            let lines = |name: &str, key: &str, value: &str, field: &str| {
                let mut row = metric(&[(key, value)], &[(&*shown(field), Integer(1))]);
                row.name = name.to_owned();
                row.make_plain();
                let mut out = Vec::new();
                encoder(*format, EncoderOptions::default()).encode(&[row], &mut out);
                String::from_utf8(out).unwrap()
            };
            let text = lines(&name, &key, &value, &field);
            prop_assert!(text.chars().all(|c| is_plain(c) || c == '\n'), "{format:?} {text:?}");
            let usual = lines("n", "k", "v", "f").lines().count();
            prop_assert!(text.lines().count() <= usual, "{format:?} {text:?}");
        }
    }
}
