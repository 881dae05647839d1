//! Tests of `filter`: Telegraf's order, rule by rule and as properties.

use proptest::prelude::*;

use super::*;
use crate::metric::Value;

fn globs(patterns: &[&str]) -> Option<GlobList> {
    let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    GlobList::compile(&patterns, "").unwrap()
}

fn metric(tags: &[(&str, &str)], fields: &[&str]) -> Metric {
    let mut metric = Metric {
        name: "conntrack".into(),
        tags: Vec::new(),
        fields: fields.iter().map(|name| (Name::from(*name), Value::Integer(1))).collect(),
        timestamp_ns: 0,
    };
    metric.fields.sort_by(|a, b| a.0.cmp(&b.0));
    tags.iter().for_each(|(key, value)| metric.add_tag(&Name::from(*key), value));
    metric
}

fn row() -> Metric {
    metric(&[("cpu", "all")], &["drop", "entries", "found"])
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<Name, String> {
    pairs.iter().map(|(key, value)| (Name::from(*key), (*value).to_owned())).collect()
}

#[test]
fn names_are_selected_before_they_are_changed() {
    let mut filter = Filter {
        name_pass: globs(&["conntrack"]),
        name_override: Some("ct".into()),
        name_prefix: Some("fw_".into()),
        name_suffix: Some("_1".into()),
        ..Filter::default()
    };
    assert_eq!(filter.apply(row()).unwrap().name, "fw_ct_1");
    filter.name_pass = globs(&["fw_ct_1"]);
    assert!(filter.apply(row()).is_none());
}

#[test]
fn tags_are_selected_before_others_are_added() {
    let mut filter = Filter { tags: tags(&[("site", "a")]), ..Filter::default() };
    filter.tag_pass = vec![("site".into(), globs(&["a"]).unwrap())];
    assert!(filter.apply(row()).is_none(), "tagpass sees the plugin's own tags only");
    filter.tag_pass = vec![("cpu".into(), globs(&["cpu*"]).unwrap())];
    assert!(filter.apply(row()).is_none());
    filter.tag_pass.push(("cpu".into(), globs(&["all"]).unwrap()));
    assert!(filter.apply(row()).is_some(), "one entry of several is enough");
    filter.tag_drop = vec![("cpu".into(), globs(&["a*"]).unwrap())];
    assert!(filter.apply(row()).is_none(), "passed and dropped is dropped");
}

#[test]
fn a_row_without_the_tag_fails_tagpass_and_survives_tagdrop() {
    let table = || metric(&[], &["ip_conntrack_count"]);
    let all = vec![("cpu".to_owned(), globs(&["all"]).unwrap())];
    let pass = Filter { tag_pass: all.clone(), ..Filter::default() };
    assert!(pass.apply(table()).is_none());
    let drop = Filter { tag_drop: all, ..Filter::default() };
    assert!(drop.apply(table()).is_some());
}

#[test]
fn a_rows_own_tag_wins_then_the_inputs_then_the_global_one() {
    let filter = Filter {
        tags: tags(&[("cpu", "x"), ("site", "input")]),
        global_tags: tags(&[("cpu", "y"), ("site", "global"), ("host", "fw1")]),
        ..Filter::default()
    };
    let row = filter.apply(row()).unwrap();
    let found: Vec<_> = row.tags.iter().map(|(k, v)| (&**k, v.as_str())).collect();
    assert_eq!(found, [("cpu", "all"), ("host", "fw1"), ("site", "input")]);
}

#[test]
fn included_is_excluded_again_and_even_host_can_go() {
    let filter = Filter {
        field_include: globs(&["d*", "e*"]),
        field_exclude: globs(&["drop"]),
        tag_exclude: globs(&["host"]),
        global_tags: tags(&[("host", "fw1")]),
        ..Filter::default()
    };
    let row = filter.apply(row()).unwrap();
    assert_eq!(row.fields.len(), 1);
    assert!(row.field("entries").is_some());
    assert_eq!(row.tag("host"), None);
}

#[test]
fn a_row_without_fields_is_no_row() {
    let filter = Filter { field_exclude: globs(&["*"]), ..Filter::default() };
    assert!(filter.apply(row()).is_none());
}

proptest! {
    /// Whatever is passed and dropped: a filter never makes fields, never changes a value, keeps
    /// everything sorted, and an exclusion always wins.
    #[test]
    fn filters_only_take_away(
        include in prop::collection::vec("[a-f*?]{1,3}", 0..3),
        exclude in prop::collection::vec("[a-f*?]{1,3}", 0..3),
        fields in prop::collection::btree_set("[a-f]{1,3}", 0..8),
        added in prop::collection::btree_map("[a-f]{1,3}", "[a-z]{1,3}", 0..4),
    ) {
        let filter = Filter {
            field_include: GlobList::compile(&include, "").unwrap(),
            field_exclude: GlobList::compile(&exclude, "").unwrap(),
            tag_exclude: GlobList::compile(&exclude, "").unwrap(),
            tags: added.iter().map(|(k, v)| (Name::from(k.as_str()), v.clone())).collect(),
            ..Filter::default()
        };
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let before = metric(&[("cpu", "all")], &fields);
        let excluded = |key: &str| filter.field_exclude.as_ref().is_some_and(|g| g.matches(key));
        let included = |key: &str| filter.field_include.as_ref().is_none_or(|g| g.matches(key));
        let kept: Vec<_> = before.fields.iter().filter(|(k, _)| included(k) && !excluded(k)).collect();
        match filter.apply(before.clone()) {
            None => prop_assert!(kept.is_empty()),
            Some(after) => {
                prop_assert_eq!(after.fields.iter().collect::<Vec<_>>(), kept);
                prop_assert!(after.tags.windows(2).all(|pair| pair[0].0 < pair[1].0));
                prop_assert!(after.tags.iter().all(|(key, _)| !excluded(key)));
            }
        }
    }
}
