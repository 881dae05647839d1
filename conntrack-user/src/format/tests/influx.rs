//! Line protocol: the documented example, the escapes, and what a parser reads back.

use influxdb_line_protocol::{FieldValue, parse_lines};

use super::super::Influx;
use super::*;

#[test]
fn the_documented_example_byte_for_byte() {
    let zeros = ["delete", "delete_list", "early_drop", "expect_create", "expect_delete"];
    let more_zeros = ["expect_new", "insert", "new", "searched"];
    let mut all = metric(
        &[("cpu", "all"), ("host", "localhost")],
        &[
            ("drop", Integer(2)),
            ("entries", Integer(5568)),
            ("found", Integer(7)),
            ("icmp_error", Integer(1962)),
            ("ignore", Integer(2_586_413_402)),
            ("insert_failed", Integer(2)),
            ("invalid", Integer(46853)),
            ("search_restart", Integer(453_336)),
        ],
    );
    all = with(all, &zeros.map(|key| (key, Integer(0))));
    all = with(all, &more_zeros.map(|key| (key, NotMaintained)));
    let table = metric(
        &[("host", "localhost")],
        &[("ip_conntrack_count", Float(464.0)), ("ip_conntrack_max", Float(262_144.0))],
    );
    let mut rows = [all, table];
    for row in &mut rows {
        row.timestamp_ns = 1_615_233_542_000_000_000;
    }
    assert_eq!(
        encode(&mut Influx, &rows),
        "conntrack,cpu=all,host=localhost delete=0i,delete_list=0i,drop=2i,early_drop=0i,\
         entries=5568i,expect_create=0i,expect_delete=0i,expect_new=0i,found=7i,icmp_error=1962i,\
         ignore=2586413402i,insert=0i,insert_failed=2i,invalid=46853i,new=0i,\
         search_restart=453336i,searched=0i 1615233542000000000\n\
         conntrack,host=localhost ip_conntrack_count=464,ip_conntrack_max=262144 \
         1615233542000000000\n"
    );
}

#[test]
fn the_first_documented_example() {
    let mut row = metric(
        &[("host", "myhost")],
        &[("ip_conntrack_count", Float(2.0)), ("ip_conntrack_max", Float(262_144.0))],
    );
    row.timestamp_ns = 1_461_620_427_667_995_735;
    assert_eq!(
        encode(&mut Influx, &[row]),
        "conntrack,host=myhost ip_conntrack_count=2,ip_conntrack_max=262144 1461620427667995735\n"
    );
}

#[test]
fn rates_are_floats_and_unknown_ones_are_left_out() {
    let row = with(first_row(), &[("drop_rate", Float(12.5)), ("early_drop_rate", Float(0.0))]);
    assert_eq!(
        encode(&mut Influx, &[row]),
        "conntrack,cpu=all,host=fw1 chaintoolong=0i,clash_resolve=1204i,drop=48211i,drop_rate=12.5,\
         early_drop=96i,early_drop_rate=0,entries=201330i,entries_max=262144i,entries_min=198007i,\
         insert_failed=48212i,invalid=5000000000i,new=0i 1615223542000000000\n"
    );
}

#[test]
fn escapes_as_telegraf() {
    assert_eq!(
        encode(&mut Influx, &[nasty_row()]),
        concat!(
            r#"conntrack,a\ b=two\ words,c\,d\=e=k\=v\,"w",line=one\ntwo\ttabs\r\n,"#,
            r"path=C:\temp,town=Zürich\ 東京,z=end ",
            r"big=9223372036854775807i,half\ full\=x\,y=0.5,huge=1000000000000000000000,",
            r"tiny=-0.0000001 1615223542000000000",
            "\n"
        )
    );
}

#[test]
fn a_measurement_keeps_its_equals_sign_and_loses_trailing_backslashes() {
    let mut row = table_row();
    row.name = r"con n=t,r\\".to_owned();
    row.fields.truncate(1);
    assert_eq!(
        encode(&mut Influx, &[row.clone()]),
        "con\\ n=t\\,r,host=fw1 ip_conntrack_count=201330 1615223542000000000\n"
    );
    row.name = r"\".to_owned();
    assert_eq!(encode(&mut Influx, &[row]), "");
}

/// Text that line protocol can carry. It has no escape for control characters, and reads a
/// backslash differently in front of different characters, so neither takes part.
fn carried() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_,= \"'äß東😀#{}:/-]{0,8}"
}

proptest! {
    #[test]
    fn a_parser_reads_the_same_values(
        name in "[a-zäß東,= \"'_-]{1,8}", // a measurement that begins with # is a comment
        tags in prop::collection::btree_map(carried(), carried(), 0..5),
        fields in prop::collection::btree_map(carried(), any_value(), 0..6),
        timestamp_ns: i64,
    ) {
        let metric = Metric {
            name,
            tags: tags.into_iter().map(|(k, v)| (k.into(), v)).collect(),
            fields: fields.into_iter().map(|(k, v)| (k.into(), v)).collect(),
            timestamp_ns,
        };
        let text = encode(&mut Influx, std::slice::from_ref(&metric));

        let tags: Vec<(String, String)> = metric
            .tags
            .iter()
            .filter(|(k, v)| !k.is_empty() && !v.is_empty())
            .map(|(k, v)| (k.to_string(), v.clone()))
            .collect();
        let fields: Vec<(String, FieldValue<'_>)> = metric
            .fields
            .iter()
            .filter(|(k, _)| !k.is_empty())
            .filter_map(|(k, v)| {
                let value = match v {
                    Integer(v) => FieldValue::I64(i64::try_from(*v).unwrap_or(i64::MAX)),
                    Float(v) if v.is_finite() => FieldValue::F64(*v),
                    NotMaintained => FieldValue::I64(0),
                    Float(_) | Unknown => return None,
                };
                Some((k.to_string(), value))
            })
            .collect();

        let mut lines = parse_lines(&text);
        if !fields.is_empty() {
            let line = lines.next().unwrap().unwrap();
            prop_assert_eq!(line.series.measurement.as_str(), &metric.name);
            let read: Vec<_> = line.series.tag_set.iter().flatten()
                .map(|(k, v)| (k.to_string(), v.to_string())).collect();
            prop_assert_eq!(read, tags);
            let read: Vec<_> =
                line.field_set.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
            prop_assert_eq!(read, fields);
            prop_assert_eq!(line.timestamp, Some(timestamp_ns));
        }
        prop_assert!(lines.next().is_none());
    }

    #[test]
    fn a_line_holds_no_bare_newline_whatever_the_names(batch in any_batch()) {
        let text = encode(&mut Influx, &batch);
        let written = batch.iter().filter(|metric| {
            let named = |key: &str| !key.trim_end_matches('\\').is_empty();
            let written = |v: &Value| match v {
                Float(v) => v.is_finite(),
                Integer(_) | NotMaintained => true,
                Unknown => false,
            };
            named(&metric.name) && metric.fields.iter().any(|(k, v)| named(k) && written(v))
        });
        prop_assert_eq!(text.lines().count(), written.count());
    }
}
