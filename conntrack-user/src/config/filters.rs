//! The name changes, tags and pass and drop lists of one `[[inputs.conntrack]]`, compiled.
//!
//! Deprecated lists are put before the ones that replace them, in Telegraf's order.

use std::collections::BTreeMap;

use toml::Spanned;

use super::tables::{ConntrackTable, Placed, Strings};
use super::text::ConfigText;
use crate::metric::Name;
use crate::metric::filter::Filter;
use crate::metric::glob::GlobList;

/// Compiles the options of `table`; deprecated ones get a warning.
pub(super) fn filter(
    table: &ConntrackTable,
    global_tags: &BTreeMap<String, String>,
    text: &ConfigText<'_>,
) -> Filter {
    if let Some(expression) = table.metricpass.as_ref().filter(|text| !text.get_ref().is_empty()) {
        let problem = "expressions are not supported; select with 'namepass', 'tagpass' or \
                       'fieldinclude' and their opposites";
        text.value_problem::<ConntrackTable>(&expression.span(), "metricpass", problem);
    }
    let include = [(&table.pass, "pass"), (&table.fieldpass, "fieldpass")];
    let include = join("fieldinclude", include, &table.fieldinclude, text);
    let exclude = [(&table.drop, "drop"), (&table.fielddrop, "fielddrop")];
    let exclude = join("fieldexclude", exclude, &table.fieldexclude, text);

    let compile = |key, list, separators| globs(key, list, separators, text);
    Filter {
        name_pass: compile("namepass", &table.namepass, &table.namepass_separator),
        name_drop: compile("namedrop", &table.namedrop, &table.namedrop_separator),
        tag_pass: tag_globs("tagpass", &table.tagpass, text),
        tag_drop: tag_globs("tagdrop", &table.tagdrop, text),
        field_include: compile("fieldinclude", &include, ""),
        field_exclude: compile("fieldexclude", &exclude, ""),
        tag_include: compile("taginclude", &table.taginclude, ""),
        tag_exclude: compile("tagexclude", &table.tagexclude, ""),
        name_override: set(&table.name_override),
        name_prefix: set(&table.name_prefix),
        name_suffix: set(&table.name_suffix),
        tags: names(&table.tags),
        global_tags: names(global_tags),
        keeps_tags: false,
        keeps_global_tags: false,
    }
}

/// The text of an option, `None` where it is empty, which is how Telegraf has it unset.
pub(super) fn set(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn names(tags: &BTreeMap<String, String>) -> BTreeMap<Name, String> {
    tags.iter().map(|(key, value)| (Name::from(key.as_str()), value.clone())).collect()
}

/// The deprecated lists and then `list`, which `key` names, with a warning for each of the former.
fn join(
    key: &str,
    deprecated: [(&Placed<Strings>, &str); 2],
    list: &Strings,
    text: &ConfigText<'_>,
) -> Strings {
    let mut joined = Strings::new();
    for (old, old_key) in deprecated {
        if let Some(old) = old {
            text.warn_at(&old.span(), format!("'{old_key}' is deprecated; write '{key}'"));
            joined.extend_from_slice(old.get_ref());
        }
    }
    joined.extend_from_slice(list);
    joined
}

/// Compiles a list; its broken patterns are reported and left out.
fn globs(
    key: &str,
    list: &[Spanned<String>],
    separators: &str,
    text: &ConfigText<'_>,
) -> Option<GlobList> {
    let mut patterns = Vec::new();
    for pattern in list {
        match GlobList::compile(std::slice::from_ref(pattern.get_ref()), separators) {
            Ok(_) => patterns.push(pattern.get_ref().clone()),
            Err(error) => text.value_problem::<ConntrackTable>(&pattern.span(), key, error),
        }
    }
    GlobList::compile(&patterns, separators).ok().flatten()
}

fn tag_globs(
    key: &str,
    tags: &BTreeMap<String, Spanned<Strings>>,
    text: &ConfigText<'_>,
) -> Vec<(String, GlobList)> {
    let mut compiled = Vec::new();
    for (tag, list) in tags {
        let key = format!("{key}.{tag}");
        // For Telegraf such an entry matches nothing; alone in a `tagpass` it loses all rows.
        if list.get_ref().is_empty() {
            let problem = "the list is empty; name the values, or remove the key";
            text.value_problem::<ConntrackTable>(&list.span(), &key, problem);
        }
        let globs = globs(&key, list.get_ref(), "", text);
        compiled.extend(globs.map(|globs| (tag.clone(), globs)));
    }
    compiled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{error, loaded};
    use crate::metric::{Metric, Value};

    fn compiled(keys: &str) -> Filter {
        let text = format!("[[inputs.conntrack]]\n{keys}");
        loaded(&text).settings.inputs[0].filter.clone()
    }

    fn input_error(keys: &str) -> String {
        error(&format!("[[inputs.conntrack]]\n{keys}"))
    }

    /// What is left of a row, as `name tags fields`.
    fn filtered(keys: &str) -> Option<String> {
        let metric = Metric {
            name: "conntrack".to_owned(),
            tags: vec![("cpu".into(), "cpu1".to_owned())],
            fields: ["drop", "entries", "found"].map(|f| (f.into(), Value::Integer(1))).into(),
            timestamp_ns: 0,
        };
        let metric = compiled(keys).apply(metric)?;
        let tags: Vec<String> = metric.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let fields: Vec<&str> = metric.fields.iter().map(|(k, _)| &**k).collect();
        Some(format!("{} {} {}", metric.name, tags.join(","), fields.join(",")))
    }

    #[test]
    fn each_list_is_used_as_its_filter() {
        let all = "conntrack cpu=cpu1 drop,entries,found";
        for (keys, left) in [
            ("", Some(all)),
            ("namepass = ['conn*']", Some(all)),
            ("namepass = ['x*']", None),
            ("namedrop = ['conntrack']", None),
            ("namedrop = ['c?n.*']\nnamedrop_separator = '.'", Some(all)),
            ("namepass = ['{conntrack,x}']\nnamepass_separator = '.'", Some(all)),
            ("[inputs.conntrack.tagpass]\ncpu = ['cpu*']", Some(all)),
            ("[inputs.conntrack.tagpass]\ncpu = ['all']", None),
            ("tagdrop = { cpu = ['cpu1', 'cpu2'] }", None),
            ("fieldinclude = ['d*']", Some("conntrack cpu=cpu1 drop")),
            ("fieldexclude = ['d*', 'found']", Some("conntrack cpu=cpu1 entries")),
            ("taginclude = ['host']", Some("conntrack  drop,entries,found")),
            ("tagexclude = ['cpu']", Some("conntrack  drop,entries,found")),
            (
                "name_override = 'n'\nname_prefix = 'p_'\nname_suffix = '_s'\nfieldinclude=['drop']",
                Some("p_n_s cpu=cpu1 drop"),
            ),
            (
                "fieldinclude=['drop']\n[inputs.conntrack.tags]\nrack = 'r1'",
                Some("conntrack cpu=cpu1,rack=r1 drop"),
            ),
        ] {
            assert_eq!(filtered(keys).as_deref(), left, "{keys}");
        }
    }

    #[test]
    fn deprecated_lists_are_used_with_a_warning() {
        let keys = "fieldpass = ['drop']\npass = ['found']\nfieldinclude = ['entries']\n\
                    drop = ['found']\nfielddrop = ['entries']";
        assert_eq!(filtered(keys).as_deref(), Some("conntrack cpu=cpu1 drop"));
        let warnings = loaded(&format!("[[inputs.conntrack]]\n{keys}")).warnings;
        assert_eq!(warnings.len(), 4);
        assert!(
            warnings.contains(
                &"t.conf:2:13: 'fieldpass' is deprecated; write 'fieldinclude'".to_owned()
            ),
            "{warnings:?}"
        );
    }

    #[test]
    fn a_broken_glob_is_found_at_its_place() {
        assert_eq!(
            input_error("fieldinclude = ['a*', 'b[']"),
            "t.conf:2:23: 'fieldinclude' in [[inputs.conntrack]]: 'b[' is not a valid glob: \
             a '[' without its ']'"
        );
        assert!(
            input_error("[inputs.conntrack.tagpass]\ncpu = ['b[']")
                .starts_with("t.conf:3:8: 'tagpass.cpu' in [[inputs.conntrack]]: 'b['")
        );
        assert!(input_error("tagpass = { cpu = [] }").contains("the list is empty"));
        assert!(
            input_error("namepass = 'conntrack'")
                .contains("'namepass' in [[inputs.conntrack]]: wrong type: found string")
        );
    }

    #[test]
    fn metricpass_is_refused_with_its_alternatives() {
        let error = input_error("metricpass = 'tags.cpu == \"all\"'");
        assert!(error.starts_with("t.conf:2:14: 'metricpass' in [[inputs.conntrack]]"), "{error}");
        assert!(error.contains("'tagpass'"), "{error}");
    }

    #[test]
    fn global_tags_are_the_last_to_be_added() {
        let text = "[global_tags]\nrack = 'global'\ndc = 'x'\n[[inputs.conntrack]]\n\
                    tags = { rack = 'own' }";
        let settings = loaded(text).settings;
        assert_eq!(settings.global_tags["dc"], "x");
        let filter = &settings.inputs[0].filter;
        assert_eq!(filter.tags["rack"], "own");
        assert_eq!(filter.global_tags["rack"], "global");
        assert_eq!(
            error("[global_tags]\nrack = 1\n[[inputs.conntrack]]"),
            "t.conf:2:8: 'rack' in [global_tags]: wrong type: found integer 1, expected a string; write \"1\""
        );
    }
}
