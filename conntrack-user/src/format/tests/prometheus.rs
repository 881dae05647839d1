//! Prometheus: golden text, and a strict reader of the exposition format for arbitrary rows.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Number, Prometheus};
use super::*;

#[test]
fn families_are_sorted_and_whole() {
    let all = with(
        metric(&[("cpu", "all"), ("host", "fw1")], &[]),
        &[
            ("drop", Integer(48_211)),
            ("drop_rate", Float(12.5)),
            ("drop_rate_max", Float(1240.0)),
            ("entries", Integer(201_330)),
            ("new", NotMaintained),
            ("new_rate", Unknown),
            ("shiny", Integer(1)),
        ],
    );
    assert_eq!(
        encode(&mut Prometheus::default(), &[all, cpu_row("cpu0", 12.5), table_row()]),
        "# HELP conntrack_drop_rate Rate of drop over the emission interval, per second.\n\
         # TYPE conntrack_drop_rate gauge\n\
         conntrack_drop_rate{cpu=\"all\",host=\"fw1\"} 12.5\n\
         conntrack_drop_rate{cpu=\"cpu0\",host=\"fw1\"} 12.5\n\
         # HELP conntrack_drop_rate_max Highest rate of drop in any sample interval of the \
         emission, per second.\n\
         # TYPE conntrack_drop_rate_max gauge\n\
         conntrack_drop_rate_max{cpu=\"all\",host=\"fw1\"} 1240\n\
         # HELP conntrack_drop_total Packets dropped because the table was full, a clash had no \
         solution or a tracker said so.\n\
         # TYPE conntrack_drop_total counter\n\
         conntrack_drop_total{cpu=\"all\",host=\"fw1\"} 48211\n\
         conntrack_drop_total{cpu=\"cpu0\",host=\"fw1\"} 24000\n\
         # HELP conntrack_entries Allocated entries of the network namespace, the same on \
         every CPU.\n\
         # TYPE conntrack_entries gauge\n\
         conntrack_entries{cpu=\"all\",host=\"fw1\"} 201330\n\
         conntrack_entries{cpu=\"cpu0\",host=\"fw1\"} 201330\n\
         # HELP conntrack_shiny_total Kernel value shiny, which ctpulse has no description of.\n\
         # TYPE conntrack_shiny_total counter\n\
         conntrack_shiny_total{cpu=\"all\",host=\"fw1\"} 1\n\
         # HELP conntrack_table_entries Entries in the table.\n\
         # TYPE conntrack_table_entries gauge\n\
         conntrack_table_entries{host=\"fw1\"} 201330\n\
         # HELP conntrack_table_limit Most entries that the table may hold; 0 is no limit.\n\
         # TYPE conntrack_table_limit gauge\n\
         conntrack_table_limit{host=\"fw1\"} 262144\n"
    );
}

#[test]
fn nasty_names_and_values() {
    let mut row = nasty_row();
    row.name = "9 lives:é".to_owned();
    row.fields.truncate(2);
    let labels = concat!(
        r#"{a_b="two words",c_d_e="k=v,\"w\"",line="one\ntwo"#,
        "\ttabs\r",
        r#"\n",path="C:\\temp\\",town="Zürich 東京",z_="end"}"#
    );
    assert_eq!(
        encode(&mut Prometheus::default(), &[row]),
        format!(
            "# HELP _9_lives___big_total Kernel value big, which ctpulse has no description of.\n\
             # TYPE _9_lives___big_total counter\n\
             _9_lives___big_total{labels} 18446744073709551615\n\
             # HELP _9_lives___half_full_x_y Kernel value half full=x,y, which ctpulse has no \
             description of.\n\
             # TYPE _9_lives___half_full_x_y gauge\n\
             _9_lives___half_full_x_y{labels} 0.5\n"
        )
    );
}

#[test]
fn of_fields_with_one_name_the_first_stays() {
    let row = metric(
        &[("a-b", "1"), ("a_b", "2"), ("__name__", "x")],
        &[("x-y", Integer(1)), ("x_y", Integer(2)), ("x_y_total", Float(3.0))],
    );
    let text = encode(&mut Prometheus::default(), &[row.clone(), row]);
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples, [r#"conntrack_x_y_total{a_b="2",a_b_2="1",tag__name__="x"} 1"#]);
}

/// A family as the reader below finds it: its type and its samples.
#[derive(Debug, Default, PartialEq)]
struct Read {
    kind: String,
    samples: BTreeMap<BTreeMap<String, String>, f64>,
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads `{a="b",c="d"}` and gives what follows.
fn read_labels(mut rest: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    let Some(mut inside) = rest.strip_prefix('{') else { return (labels, rest) };
    loop {
        let (key, value) = inside.split_once("=\"").unwrap();
        assert!(is_name(key) && !key.starts_with("__"), "label {key:?}");
        let mut text = String::new();
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (_, '\\') => text.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("escape {c:?}"),
                }),
                (at, '"') => break at,
                (_, c) => text.push(c),
            }
        };
        assert!(!text.is_empty(), "an empty value is no label");
        assert_eq!(labels.insert(key.to_owned(), text), None, "label {key} twice");
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => inside = more,
            None => return (labels, rest.strip_prefix('}').unwrap()),
        }
    }
}

/// A strict reader: every family has one help, one type, then its samples, nothing else.
fn read(text: &str) -> BTreeMap<String, Read> {
    let mut families = BTreeMap::new();
    let mut names = Vec::new();
    let mut lines = text.split_terminator('\n').peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        assert!(is_name(name) && !help.is_empty(), "{line:?}");
        let kind = lines.next().unwrap().strip_prefix("# TYPE ").unwrap();
        let kind = kind.strip_prefix(name).unwrap().strip_prefix(' ').unwrap();
        assert!(["counter", "gauge"].contains(&kind), "{kind:?}");
        assert!(kind != "counter" || name.ends_with("_total"), "{name}");
        let mut family = Read { kind: kind.to_owned(), ..Read::default() };
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (labels, rest) = read_labels(line.strip_prefix(name).unwrap());
            let number: f64 = rest.strip_prefix(' ').unwrap().parse().unwrap();
            assert_eq!(family.samples.insert(labels, number), None, "series twice: {line}");
        }
        assert!(!family.samples.is_empty(), "{name} has no samples");
        names.push(name);
        assert!(families.insert(name.to_owned(), family).is_none(), "family {name} twice");
    }
    assert!(names.is_sorted());
    families
}

#[test]
fn the_reader_finds_every_known_value() {
    let rows = [all_row(), cpu_row("cpu0", 1.5), table_row(), nasty_row()];
    let families = read(&encode(&mut Prometheus::default(), &rows));
    let known = rows.iter().flat_map(|row| &row.fields);
    let known = known.filter(|(_, value)| Number::known(*value).is_some()).count();
    assert_eq!(families.values().map(|family| family.samples.len()).sum::<usize>(), known);
    let town = families["conntrack_half_full_x_y"].samples.keys().next().unwrap();
    assert_eq!(town["line"], "one\ntwo\ttabs\r\n");
    assert_eq!(town["path"], r"C:\temp\");
}

proptest! {
    #[test]
    fn arbitrary_rows_make_a_valid_exposition(batch in any_batch()) {
        let families = read(&encode(&mut Prometheus::default(), &batch));
        let known = batch.iter().flat_map(|row| &row.fields);
        let known: Vec<f64> = known
            .filter_map(|(_, value)| match Number::known(*value)? {
                Number::Integer(v) => Some(v as f64),
                Number::Float(v) => Some(v),
            })
            .collect();
        let written: Vec<_> = families.values().flat_map(|family| family.samples.values()).collect();
        prop_assert_eq!(written.is_empty(), known.is_empty());
        prop_assert!(written.iter().all(|value| known.contains(value)));
    }
}

/// Public reports: of two tags that Prometheus can write in one way only, one was lost.
#[test]
fn tags_that_would_be_one_label_are_kept_and_reported() {
    let mut row = table_row();
    let tags = [("rack.no", "1"), ("rack-no", "2"), ("rack_no_2", "3"), ("rack_no", "4")];
    row.tags = tags.map(|(key, value)| (key.into(), value.to_owned())).to_vec();
    let mut encoder = Prometheus::default();
    let families = read(&encode(&mut encoder, &[row]));
    let labels = families["conntrack_table_entries"].samples.keys().next().unwrap();
    let expected = [("rack_no", "4"), ("rack_no_2", "3"), ("rack_no_3", "2"), ("rack_no_4", "1")];
    let expected = expected.map(|(label, value)| (label.to_owned(), value.to_owned()));
    assert_eq!(*labels, BTreeMap::from(expected));
    assert_eq!(
        encoder.take_notice().unwrap(),
        "names that are one in Prometheus are kept apart; \"rack-no\" as rack_no_3, \
         \"rack.no\" as rack_no_4"
    );
    encode(&mut encoder, &[table_row()]);
    assert_eq!(encoder.take_notice(), None);
}

/// Two inputs may have different tags, or measurements, that Prometheus writes in one way only.
#[test]
fn names_of_two_inputs_that_would_be_one_are_kept_apart() {
    let row = |name: &str, tag: &str| {
        let mut row = table_row();
        row.name = name.to_owned();
        row.tags = vec![(tag.into(), "1".to_owned())];
        row
    };
    let mut encoder = Prometheus::default();
    let rows = [row("conntrack", "x-y"), row("conntrack", "x.y"), row("a-b", "t"), row("a.b", "t")];
    let text = encode(&mut encoder, &rows);
    let families = read(&text);
    let samples = rows.iter().map(|row| row.fields.len()).sum::<usize>();
    assert_eq!(families.values().map(|family| family.samples.len()).sum::<usize>(), samples);
    for series in ["conntrack_table_entries{x_y=", "conntrack_table_entries{x_y_2="] {
        assert!(text.contains(series), "{text}");
    }
    for series in ["a_b_table_entries{t=", "a_b_2_table_entries{t="] {
        assert!(text.contains(series), "{text}");
    }
    let notice = encoder.take_notice().unwrap();
    assert!(notice.ends_with("\"x.y\" as x_y_2, \"a.b\" as a_b_2"), "{notice}");
    // The same label on every row, independent of the other tags.
    let both = Metric {
        tags: rows[0].tags.iter().chain(&rows[1].tags).cloned().collect(),
        ..row("c", "t")
    };
    let text = encode(&mut encoder, &[both, rows[1].clone()]);
    assert!(text.contains("conntrack_table_entries{x_y_2=\"1\"}"), "{text}");
    assert_eq!(encoder.take_notice(), None);
}

#[test]
fn every_help_text_is_one_sentence_and_used() {
    let documented: BTreeSet<_> = [
        "entries searched found new invalid ignore delete delete_list insert insert_failed drop",
        "early_drop icmp_error expect_new expect_create expect_delete search_restart",
        "clash_resolve chaintoolong entries_min entries_max table_entries table_limit build_info",
        "table_buckets drop_table_full drop_clash drop_chaintoolong drop_dying",
        "drop_tracker drop_other table_full_evictable samples_missed rows_lost",
    ]
    .iter()
    .flat_map(|names| names.split(' '))
    .collect();
    for name in documented {
        let help = super::super::prometheus_help::help(name);
        assert!(help.ends_with('.') && !help.contains("no description"), "{name}: {help}");
    }
}

/// As `conntrack_invalid` has them: counters whose labels are the tags.
#[test]
fn a_measurement_with_labels_is_a_family_of_its_own() {
    let row = |protocol: &str, reason: &str, packets: u64| Metric {
        name: "conntrack_invalid".to_owned(),
        ..metric(
            &[("protocol", protocol), ("reason", reason)],
            &[("packets", Integer(packets)), ("packets_rate", Float(1.5))],
        )
    };
    let rows = [row("tcp", "odd \"%u\"", 7), row("all", "unexplained", 0)];
    assert_eq!(
        encode(&mut Prometheus::default(), &rows),
        "# HELP conntrack_invalid_packets_rate Rate of packets over the emission interval, per second.\n\
         # TYPE conntrack_invalid_packets_rate gauge\n\
         conntrack_invalid_packets_rate{protocol=\"tcp\",reason=\"odd \\\"%u\\\"\"} 1.5\n\
         conntrack_invalid_packets_rate{protocol=\"all\",reason=\"unexplained\"} 1.5\n\
         # HELP conntrack_invalid_packets_total INVALID packets of this protocol and reason since the \
         probes were attached.\n\
         # TYPE conntrack_invalid_packets_total counter\n\
         conntrack_invalid_packets_total{protocol=\"tcp\",reason=\"odd \\\"%u\\\"\"} 7\n\
         conntrack_invalid_packets_total{protocol=\"all\",reason=\"unexplained\"} 0\n"
    );
}

/// As `conntrack_entries` has them, also under another name: `conntrack_entries` itself is the gauge of
/// the rows `conntrack`, and integers are no counters here.
#[test]
fn the_composition_of_the_table_has_gauges_of_its_own() {
    let row = |name: &str, state: &str, entries: u64| Metric {
        name: name.to_owned(),
        ..metric(
            &[("protocol", "tcp"), ("state", state)],
            &[("entries", Integer(entries)), ("expired", Integer(1)), ("read_share", Float(1.0))],
        )
    };
    let all = metric(&[("cpu", "all")], &[("entries", Integer(9))]);
    let names = |text: &str| -> Vec<String> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.map(str::to_owned).collect()
    };
    let rows = [all.clone(), row("conntrack_entries", "ESTABLISHED", 7)];
    let text = encode(&mut Prometheus::default(), &rows);
    let labels = "{protocol=\"tcp\",state=\"ESTABLISHED\"}";
    assert_eq!(
        names(&text),
        [
            "conntrack_entries{cpu=\"all\"} 9".to_owned(),
            format!("conntrack_entries_by_state{labels} 7"),
            format!("conntrack_entries_expired{labels} 1"),
            format!("conntrack_entries_read_ratio{labels} 1"),
        ]
    );
    assert!(!text.contains(" counter") && !text.contains("no description"), "{text}");
    // A filter may leave out any field.
    let mut filtered = row("conntrack_entries", "ESTABLISHED", 7);
    filtered.fields.retain(|(name, _)| &**name == "expired");
    let text = encode(&mut Prometheus::default(), &[filtered]);
    assert_eq!(names(&text), [format!("conntrack_entries_expired{labels} 1")]);
    assert!(!text.contains(" counter"), "{text}");
    let text = encode(&mut Prometheus::default(), &[all, row("conntrack", "CLOSE", 7)]);
    assert!(text.contains("\nconntrack_by_state{protocol=\"tcp\",state=\"CLOSE\"} 7\n"), "{text}");
}
