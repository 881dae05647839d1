//! Peaks: of rows that have nothing else, and of rows that several inputs write or that are missing
//! regularly.

use std::io::Write as _;

use ctpulse::report::SourceReport;

use super::advice::advise_on;
use super::forms::report_of;

fn source(text: &str) -> SourceReport {
    let mut sources = report_of(text.as_bytes()).sources;
    assert_eq!(sources.len(), 1);
    sources.remove(0)
}

/// A selection of `*_max` leaves the peaks of ctpulse's rows: 20 drops were "0 drops, peak 200".
#[test]
fn events_of_rows_with_peaks_only_are_unknown() {
    for suffixes in [&["_rate_max", "_sample_max"][..], &["_rate_max"], &["_sample_max"]] {
        let mut text = String::new();
        for second in 0..60u64 {
            let mut fields = Vec::new();
            for name in ["drop", "early_drop", "insert_failed", "invalid"] {
                for suffix in suffixes {
                    let events = if name == "drop" && second == 30 { 20 } else { 0 };
                    let value = if *suffix == "_rate_max" { 10 * events } else { events };
                    fields.push(format!("{name}{suffix}={value}"));
                }
            }
            text += &format!("conntrack,cpu=all {} {}\n", fields.join(","), 1_700_000_000 + second);
            let table = "ip_conntrack_count=5,ip_conntrack_max=4000";
            text += &format!("conntrack {table} {}\n", 1_700_000_000 + second);
        }
        let found = source(&text);
        let totals: Vec<_> =
            found.counters.iter().map(|counter| (counter.name.as_str(), counter.total)).collect();
        let unknown = ["drop", "early_drop", "insert_failed", "invalid"];
        assert_eq!(totals, unknown.map(|name| (name, None)), "{suffixes:?}");
        let peak = suffixes.contains(&"_rate_max").then_some(200.0);
        assert_eq!(found.counters[0].peak, peak, "{suffixes:?}");
        assert_eq!(found.unmoved, [] as [&str; 0]);
        let said = found.unknown.join("\n");
        assert!(said.contains("drop and 3 counters more are in peaks only"), "{said}");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        assert_eq!(advise_on(file.path()).0, Some(3), "{suffixes:?}");
    }
}
