//! JSON: golden lines, and what `serde_json` reads back.

use super::super::{Json, Number};
use super::*;

#[test]
fn telegrafs_shape() {
    let rows = [all_row(), table_row()];
    assert_eq!(
        encode(&mut Json, &rows),
        concat!(
            r#"{"fields":{"chaintoolong":0,"chaintoolong_rate":0,"clash_resolve":1204,"#,
            r#""clash_resolve_rate":3.3,"drop":48211,"drop_rate":12.5,"drop_rate_max":1240,"#,
            r#""early_drop":96,"early_drop_rate":0.1,"entries":201330,"entries_max":262144,"#,
            r#""entries_min":198007,"insert_failed":48212,"insert_failed_rate":12.6,"#,
            r#""invalid":5000000000,"invalid_rate":48123},"name":"conntrack","#,
            r#""tags":{"cpu":"all","host":"fw1"},"timestamp":1615223542000000000}"#,
            "\n",
            r#"{"fields":{"ip_conntrack_count":201330,"ip_conntrack_max":262144},"#,
            r#""name":"conntrack","tags":{"host":"fw1"},"timestamp":1615223542000000000}"#,
            "\n"
        )
    );
}

#[test]
fn nasty_text() {
    assert_eq!(
        encode(&mut Json, &[nasty_row()]),
        concat!(
            r#"{"fields":{"big":18446744073709551615,"half full=x,y":0.5,"huge":1e+21,"#,
            r#""tiny":-1e-7},"name":"conntrack","tags":{"a b":"two words","#,
            r#""c,d=e":"k=v,\"w\"","empty":"","line":"one\ntwo\ttabs\r\n","path":"C:\\temp\\","#,
            r#""town":"Zürich 東京","z\\":"end"},"timestamp":1615223542000000000}"#,
            "\n"
        )
    );
}

proptest! {
    #[test]
    fn serde_json_reads_the_same_values(batch in any_batch()) {
        let text = encode(&mut Json, &batch);
        let mut lines = text.lines();
        for metric in &batch {
            let known: Vec<_> = metric
                .fields
                .iter()
                .filter_map(|(k, v)| Some((k, Number::known(*v)?)))
                .collect();
            if known.is_empty() {
                continue;
            }
            let row: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
            prop_assert_eq!(row["name"].as_str(), Some(&*metric.name));
            prop_assert_eq!(row["timestamp"].as_i64(), Some(metric.timestamp_ns));
            prop_assert_eq!(row["tags"].as_object().unwrap().len(), metric.tags.len());
            for (key, value) in &metric.tags {
                prop_assert_eq!(row["tags"][&**key].as_str(), Some(&**value));
            }
            prop_assert_eq!(row["fields"].as_object().unwrap().len(), known.len());
            for (key, number) in known {
                let read = &row["fields"][&**key];
                match number {
                    Number::Integer(v) => prop_assert_eq!(read.as_u64(), Some(v)),
                    Number::Float(v) => {
                        let read = read.as_f64().unwrap();
                        // serde_json's default float parser is exact to one unit in the last place.
                        prop_assert!((read - v).abs() <= v.abs() * 1e-15, "{} {}", read, v);
                    }
                }
            }
        }
        prop_assert_eq!(lines.next(), None);
    }
}
