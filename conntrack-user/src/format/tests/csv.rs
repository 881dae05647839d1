//! CSV: one header, stable columns, and what the `csv` crate reads back.

use super::super::{Csv, Number};
use super::*;

#[test]
fn columns_are_fixed_by_the_first_emission_even_where_it_has_no_values() {
    let mut csv = Csv::new();
    let rates = ["drop_rate"].map(|key| (key, Unknown));
    let all = |fields: &[(&str, Value)]| {
        with(metric(&[("cpu", "all"), ("host", "fw1")], &[("new", NotMaintained)]), fields)
    };
    let first = with(all(&[("drop", Integer(2))]), &rates);
    assert_eq!(
        encode(&mut csv, &[first, table_row()]),
        "timestamp,measurement,cpu,host,drop,drop_rate,ip_conntrack_count,ip_conntrack_max,new\n\
         1615223542000000000,conntrack,all,fw1,2,,,,\n\
         1615223542000000000,conntrack,,fw1,,,201330,262144,\n"
    );
    assert_eq!(csv.take_notice(), None);

    let mut later = all(&[("drop", Integer(27)), ("drop_rate", Float(2.5)), ("clash", Integer(1))]);
    later.add_tag(&"netns".into(), "blue");
    assert_eq!(
        encode(&mut csv, &[later.clone(), later.clone()]),
        "1615223542000000000,conntrack,all,fw1,27,2.5,,,\n".repeat(2)
    );
    assert_eq!(
        csv.take_notice().unwrap(),
        "the header of the CSV file lacks \"netns\", \"clash\": left out"
    );
    encode(&mut csv, &[later]);
    assert_eq!(csv.take_notice(), None);
}

#[test]
fn rows_without_a_value_only_name_columns() {
    let mut csv = Csv::new();
    assert_eq!(encode(&mut csv, &[]), "");
    assert_eq!(encode(&mut csv, &[metric(&[("host", "fw1")], &[])]), "");
    let unknown = metric(&[], &[("drop_rate", Unknown), ("new", NotMaintained)]);
    assert_eq!(
        encode(&mut csv, std::slice::from_ref(&unknown)),
        "timestamp,measurement,drop_rate,new\n"
    );
    assert_eq!(encode(&mut csv, &[unknown]), "");
}

#[test]
fn a_file_goes_on_under_its_own_header() {
    let header = "timestamp,measurement,ip_conntrack_max,gone,host\n";
    let mut csv = Csv::under(header).unwrap();
    let line = "1615223542000000000,conntrack,262144,,fw1\n";
    assert_eq!(encode(&mut csv, &[table_row()]), line);
    assert_eq!(encode(&mut csv, &[with(table_row(), &[("more", Integer(1))])]), line);
    let notice = csv.take_notice().unwrap();
    assert!(notice.contains("more") && notice.contains("ip_conntrack_count"), "{notice}");
    let nothing = ["", "time,measurement,a", "timestamp", "timestamp,measurement\n"];
    for header in nothing.into_iter().chain(["conntrack,cpu=all a=1i 1"]) {
        assert!(Csv::under(header).is_none(), "{header}");
    }
}

#[test]
fn nasty_text_is_quoted() {
    assert_eq!(
        encode(&mut Csv::new(), &[nasty_row()]),
        concat!(
            "timestamp,measurement,a b,\"c,d=e\",empty,line,path,town,z\\,",
            "big,\"half full=x,y\",huge,inf,nan,tiny\n",
            "1615223542000000000,conntrack,two words,\"k=v,\"\"w\"\"\",,",
            "\"one\ntwo\ttabs\r\n\",C:\\temp\\,Zürich 東京,end,",
            "18446744073709551615,0.5,1000000000000000000000,,,-0.0000001\n"
        )
    );
}

proptest! {
    #[test]
    fn the_csv_crate_reads_the_same_values(first in any_batch(), second in any_batch()) {
        let mut csv = Csv::new();
        let text = encode(&mut csv, &first) + &encode(&mut csv, &second);
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let mut rows = reader.records().map(Result::unwrap);
        let keyed = |batch: &[Metric]| batch.iter().any(|metric| !metric.fields.is_empty());
        let opening = if keyed(&first) { &first } else { &second };
        let tag_columns = opening
            .iter()
            .flat_map(|metric| &metric.tags)
            .map(|(key, _)| key)
            .collect::<std::collections::BTreeSet<_>>()
            .len();
        let unopened = usize::from(!keyed(&first)) * first.len();
        for metric in first.iter().chain(&second).skip(unopened) {
            let fields = header.iter().skip(2 + tag_columns);
            let known = |key: &str| metric.field(key).and_then(Number::known);
            if !fields.clone().any(|key| known(key).is_some()) {
                continue;
            }
            let row = rows.next().unwrap();
            prop_assert_eq!(&row[0], metric.timestamp_ns.to_string());
            prop_assert_eq!(&row[1], &metric.name);
            for (key, cell) in header.iter().zip(&row).skip(2).take(tag_columns) {
                prop_assert_eq!(cell, metric.tag(key).unwrap_or_default());
            }
            for (key, cell) in fields.zip(row.iter().skip(2 + tag_columns)) {
                match known(key) {
                    Some(Number::Integer(v)) => prop_assert_eq!(cell.parse::<u64>().unwrap(), v),
                    Some(Number::Float(v)) => prop_assert_eq!(cell.parse::<f64>().unwrap(), v),
                    None => prop_assert_eq!(cell, ""),
                }
            }
        }
        prop_assert!(rows.next().is_none());
    }
}
