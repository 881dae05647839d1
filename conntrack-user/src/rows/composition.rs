//! Rows of the entries by protocol and state.

use std::collections::BTreeSet;

use crate::composition::walks::Update;
use crate::composition::{Group, Groups, NO_STATE};
use crate::metric::{Metric, Name, Value};
use crate::schema::labelled::{
    ASSURED, BY_STATE, ENTRIES_BY_STATE, EXPIRE_WITHIN, EXPIRED, LABELS, LabelledField, OFFLOADED,
    READ_SHARE, UNREPLIED,
};

/// These have rows from the beginning, so that an empty table has some.
const ALWAYS: [[&str; LABELS]; 2] = [["tcp", "ESTABLISHED"], ["udp", NO_STATE]];

/// Makes these rows. A protocol and state has a row from its first entry on, later ones with 0.
#[derive(Debug)]
pub(super) struct CompositionRows {
    labels: [Name; LABELS],
    seen: BTreeSet<[&'static str; LABELS]>,
    /// Whether there were rows, also without a value.
    has_begun: bool,
}

impl CompositionRows {
    pub(super) fn new() -> Self {
        let labels = ENTRIES_BY_STATE.labels.map(Name::from);
        Self { labels, seen: ALWAYS.into(), has_begun: false }
    }

    /// Returns the rows of one emission. Where the first of them knows no numbers, it has rows without a
    /// value, which give CSV its columns.
    pub(super) fn rows(&mut self, update: Option<&Update>, timestamp_ns: i64) -> Vec<Metric> {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        match update {
            Some(Update::Counted(groups)) => self.of_groups(groups, timestamp_ns),
            _ if is_first => {
                let nothing = |labels| self.row(labels, fields(None), timestamp_ns);
                ALWAYS.into_iter().map(nothing).collect()
            }
            _ => Vec::new(),
        }
    }

    fn of_groups(&mut self, groups: &Groups, timestamp_ns: i64) -> Vec<Metric> {
        let there = groups.iter().filter(|(_, group)| group.composition.entries > 0);
        self.seen.extend(there.map(|(labels, _)| labels));
        let with_row = groups.iter().filter(|(labels, _)| self.seen.contains(labels));
        let rows = with_row
            .map(|(labels, group)| self.row(labels, fields(Some((groups, group))), timestamp_ns));
        rows.collect()
    }

    fn row(&self, labels: [&str; LABELS], fields: Vec<(Name, Value)>, timestamp_ns: i64) -> Metric {
        let name = ENTRIES_BY_STATE.name.to_owned();
        let mut row = Metric { name, tags: Vec::new(), fields, timestamp_ns };
        for (key, value) in self.labels.iter().zip(labels) {
            row.add_tag(key, value);
        }
        row
    }
}

/// The fields of a group, by name.
fn fields(of: Option<(&Groups, &Group)>) -> Vec<(Name, Value)> {
    let Some((groups, Group { composition, within })) = of else {
        let unknown = |field: &LabelledField| (Name::from(field.name), Value::Unknown);
        return sorted(ENTRIES_BY_STATE.fields().map(unknown).collect());
    };
    let numbers = [
        (BY_STATE, composition.entries),
        (UNREPLIED, composition.unreplied),
        (ASSURED, composition.assured),
        (OFFLOADED, composition.offloaded),
        (EXPIRED, composition.expired),
    ];
    let numbers = numbers.into_iter().chain(EXPIRE_WITHIN.into_iter().zip(*within));
    let numbers = numbers.map(|(field, number)| (Name::from(field.name), Value::Integer(number)));
    let share = (Name::from(READ_SHARE.name), Value::Float(groups.share_read));
    sorted(numbers.chain([share]).collect())
}

fn sorted(mut fields: Vec<(Name, Value)>) -> Vec<(Name, Value)> {
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::composition::tests::entry;

    fn counted(entries: &[(u8, u8, u32, i32)], jiffies_per_second: u32) -> Update {
        let mut groups = Groups::new(jiffies_per_second);
        for (protocol, tcp_state, status, remaining) in entries {
            groups.add(&entry(*protocol, *tcp_state, *status, *remaining));
        }
        Update::Counted(groups)
    }

    fn text(rows: &[Metric]) -> Vec<String> {
        let each = |row: &Metric| {
            let tags = row.tags.iter().map(|(key, value)| format!("{key}={value}"));
            let known = row.fields.iter().filter_map(|(name, value)| match value {
                Value::Integer(number) => Some(format!("{name}={number}")),
                Value::Float(number) => Some(format!("{name}={number:.1}")),
                Value::Unknown | Value::NotMaintained => None,
            });
            tags.chain(known).collect::<Vec<_>>().join(" ")
        };
        rows.iter().map(each).collect()
    }

    #[test]
    fn a_row_has_the_entries_of_a_protocol_and_state_with_their_properties() {
        let mut rows = CompositionRows::new();
        // IPS_SEEN_REPLY and IPS_ASSURED; IPS_OFFLOAD; without a reply, and over.
        let entries = [(6, 3, 6, 250 * 600), (6, 3, 6 | 1 << 14, 5), (17, 0, 0, -3)];
        let found = rows.rows(Some(&counted(&entries, 250)), 7);
        assert_eq!(found[0].name, "conntrack_entries");
        assert_eq!(found[0].timestamp_ns, 7);
        assert_eq!(
            text(&found),
            [
                "protocol=tcp state=ESTABLISHED assured=2 entries=2 expire_within_10m=1 \
                 expire_within_10s=0 expire_within_1d=1 expire_within_1h=1 expire_within_2m=0 \
                 expire_within_30s=0 expire_within_5d=1 expired=0 offloaded=1 read_share=1.0 \
                 unreplied=0",
                "protocol=udp state=- assured=0 entries=1 expire_within_10m=1 \
                 expire_within_10s=1 expire_within_1d=1 expire_within_1h=1 expire_within_2m=1 \
                 expire_within_30s=1 expire_within_5d=1 expired=1 offloaded=0 read_share=1.0 \
                 unreplied=1",
            ]
        );
        let fields = found[0].fields.iter().map(|(name, _)| &**name);
        assert!(fields.is_sorted());
    }

    /// A gauge of which the last row says 5 would stay at 5.
    #[test]
    fn a_state_without_entries_has_zeros_once_it_had_some() {
        let mut rows = CompositionRows::new();
        let entries = |found: &[Metric]| -> Vec<(String, Value)> {
            let of = |row: &Metric| {
                (row.tag("state").unwrap().to_owned(), row.field("entries").unwrap())
            };
            found.iter().map(of).collect()
        };
        let row = |state: &str, number| (state.to_owned(), Value::Integer(number));
        let empty = counted(&[], 250);
        let found = rows.rows(Some(&empty), 1);
        assert_eq!(entries(&found), [row("ESTABLISHED", 0), row("-", 0)]);
        rows.rows(Some(&counted(&[(6, 7, 0, 1)], 250)), 2);
        let found = rows.rows(Some(&empty), 3);
        assert_eq!(entries(&found), [row("ESTABLISHED", 0), row("TIME_WAIT", 0), row("-", 0)]);
    }

    #[test]
    fn there_are_rows_for_new_numbers_only() {
        let mut rows = CompositionRows::new();
        let update = counted(&[], 250);
        assert_eq!(rows.rows(Some(&update), 1).len(), 2);
        assert!(rows.rows(None, 2).is_empty());
        assert!(rows.rows(Some(&Update::Unknown), 3).is_empty());
    }

    #[test]
    fn the_first_rows_have_the_fields_also_without_numbers() {
        let mut rows = CompositionRows::new();
        let found = rows.rows(None, 1);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].fields.len(), ENTRIES_BY_STATE.fields().count());
        assert!(!found.iter().any(Metric::has_values));
        assert!(rows.rows(None, 2).is_empty());
    }
}
