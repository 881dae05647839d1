//! Counters that are in the rows under other names, or without a value.

use std::io::Write as _;

use super::advice::advise_on;
use super::forms::report_of;
use crate::recordings::truth::{Form, Row, Truth};

/// `drop` under another name was missed by the advice alone.
#[test]
fn drops_that_are_in_no_row_are_reported() {
    const SENTENCE: &str = "no row has drop, so nothing is known of what it counts";
    let rows = Truth::of(2, 60, |_, _| [2, 0, 5, 2, 3, 0]).rows(0);
    let with = |change: fn(&mut Row)| {
        let mut rows = rows.clone();
        rows.iter_mut().for_each(change);
        rows
    };
    let renamed = with(|row| {
        for (name, _) in row.fields.iter_mut().filter(|(name, _)| *name == "drop") {
            *name = "drops";
        }
    });
    let without = with(|row| row.fields.retain(|(name, _)| *name != "drop"));
    let lines = [&renamed, &without].map(|rows| Form::Lines.write(rows));
    let nulls = String::from_utf8(Form::Json.write(&renamed)).unwrap();
    let nulls = nulls.lines().map(|line| {
        let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(fields) = row["fields"].as_object_mut()
            && fields.remove("drops").is_some()
        {
            fields.insert("drop".to_owned(), serde_json::Value::Null);
        }
        format!("{row}\n")
    });
    let nulls = nulls.collect::<String>().into_bytes();
    for bytes in lines.into_iter().chain([nulls]) {
        let found = report_of(&bytes).sources.remove(0);
        assert_eq!(found.unknown, [SENTENCE]);
        // The advice states it once.
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let mut command = crate::support::ctpulse();
        let advised = command.args(["doctor", "--advise", "--recording"]).arg(file.path()).output();
        let advised = String::from_utf8(advised.unwrap().stdout).unwrap();
        assert_eq!(advised.matches("no row has").count(), 1, "{advised}");
        assert!(matches!(advise_on(file.path()).0, Some(1 | 3)));
    }
    let found = report_of(&Form::Lines.write(&rows)).sources.remove(0);
    assert_eq!(found.unknown, [] as [&str; 0]);
}

/// A field `drop` of other programs was advised as packets that conntrack dropped.
#[test]
fn rows_of_other_programs_with_a_field_of_the_same_name_are_left_out() {
    let mut text =
        String::from_utf8(Form::Lines.write(&Truth::of(2, 60, |_, _| [0, 0, 5, 0, 0, 0]).rows(0)))
            .unwrap();
    for second in 0..60 {
        let time = format!("{}000000000", 1_795_590_600 + second);
        for row in [
            "cpu,cpu=cpu0,host=gw usage_idle=90,drop=",
            "softnet_stat,cpu=all,host=gw processed=7i,time_squeeze=0i,drop=",
            "conntrack_quota,host=gw used=4i,drop=",
        ] {
            text += &format!("{row}{second}i {time}\n");
        }
    }
    let found = report_of(text.as_bytes());
    let sources: Vec<_> = found.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!((sources, found.other_rows), (vec!["conntrack"], 180));
    // The counters of conntrack are known without its name, too.
    let renamed = text.replace("conntrack,", "lan_conntrack,").replace("softnet", "s");
    assert_eq!(report_of(renamed.as_bytes()).sources[0].name, "lan_conntrack");
}

/// A new agent wrote the source with another tag before the old one was stopped: 474 drops of 300.
#[test]
fn one_source_that_two_programs_write_under_other_tags_is_reported() {
    let truth = Truth::of(2, 400, |second, cpu| {
        let lost = if (100..150).contains(&second) { 3 } else { 0 };
        [lost, 0, 1 + (second + cpu) as u64 % 3, lost, u64::from(second % 5 == 0), 0]
    });
    let of = |rows: Vec<Row>, tag: (&'static str, &str)| {
        let tagged = move |mut row: Row| {
            row.tags.retain(|(key, _)| *key != tag.0);
            row.tags.push((tag.0, tag.1.to_owned()));
            row
        };
        rows.into_iter().map(tagged).collect::<Vec<_>>()
    };
    let old: Vec<_> = truth.rows(0).into_iter().filter(|row| row.second() < 200).collect();
    let new = |rows: Vec<Row>| rows.into_iter().filter(|row| row.second() >= 120).collect();
    let other = Truth::of(2, 400, |_, _| [1, 0, 3, 1, 1, 0]).rows(0);
    for (rows, is_said) in [
        (of(new(truth.rows(0)), ("dc", "fra")), true),
        // Those of another host, and of a namespace that has begun with 0.
        (of(new(truth.rows(0)), ("host", "gw2")), false),
        (of(new(other), ("dc", "fra")), false),
    ] {
        let mut rows: Vec<Row> = old.iter().cloned().chain(rows).collect();
        rows.sort_by_key(|row| row.time_ns);
        let found = report_of(&Form::Lines.write(&rows));
        assert_eq!(found.sources.len(), 2);
        for source in &found.sources {
            let said = source.unknown.join("\n");
            assert_eq!(said.contains("these events may be in both: drop 174"), is_said, "{said}");
            assert_eq!(said.contains("may be in both"), is_said, "{said}");
        }
    }
}
