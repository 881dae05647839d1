//! The rows of the screen, by namespace. Pure: rows in, numbers out.
//!
//! Nothing here grows with time. A namespace is known by the tags of its rows; their text comes
//! from outside and is escaped where it is drawn.

use super::feed::Batch;
use super::namespace::Namespace;
use super::series::SERIES;
use crate::metric::Metric;
use crate::recording::known::is_all_cpus;
use crate::rows::labelled::labelled_measurement;
use crate::rows::self_metrics;
use crate::schema::labelled::INVALID_PACKETS;

/// Namespaces (of all hosts of a recording) that are followed; rows of more are counted.
const MOST_NAMESPACES: usize = 64;

/// All namespaces, and the one that is shown.
#[derive(Debug, Clone, Default)]
pub struct Screen {
    /// In the order in which their first rows came.
    pub namespaces: Vec<Namespace>,
    /// Index of the one that is shown.
    pub selected: usize,
    /// Rows of namespaces that are too many to be followed.
    pub rows_unplaced: u64,
}

impl Screen {
    /// The namespace that is shown, once it has a row.
    #[must_use]
    pub fn namespace(&self) -> Option<&Namespace> {
        self.namespaces.get(self.selected)
    }

    /// Goes to the next namespace, or with `back` to the one before.
    pub fn select(&mut self, back: bool) {
        let count = self.namespaces.len().max(1);
        self.selected = (self.selected + if back { count - 1 } else { 1 }) % count;
    }

    /// Takes the rows of one emission: those of one input, or of one moment of a recording.
    pub fn take(&mut self, batch: &Batch) {
        let Batch { rows, origins, repeated } = batch;
        // A recording does not name the sources of its counters.
        let is_live = origins.iter().any(Option::is_some);
        // The rows of the table before those that need its count, and those that have no place of
        // their own when their namespace is known.
        let order = |(_, row): &(usize, &Metric)| match row.tag("cpu") {
            _ if row.name == self_metrics::MEASUREMENT => 2,
            _ if labelled_measurement(row).is_some() => 2,
            None => 0,
            Some(_) => 1,
        };
        let mut ordered: Vec<(usize, &Metric)> = rows.iter().enumerate().collect();
        ordered.sort_by_key(order);
        let mut touched = Vec::new();
        for (number, row) in ordered {
            let repeated = repeated.iter().find(|repeated| repeated.row == number);
            if row.name == self_metrics::MEASUREMENT {
                let near = self.namespaces.iter_mut().filter(|namespace| namespace.is_near(row));
                near.for_each(|namespace| namespace.take_internal(row));
                continue;
            }
            if let Some(measurement) = labelled_measurement(row) {
                if measurement == &INVALID_PACKETS {
                    let is_source = |of: &&mut Namespace| of.is_source_of(row, measurement);
                    let source = self.namespaces.iter_mut().find(is_source);
                    source.into_iter().for_each(|namespace| namespace.reasons.take(row));
                }
                continue;
            }
            let Some(at) = self.place(row) else {
                self.rows_unplaced += 1;
                continue;
            };
            if !touched.contains(&at) {
                touched.push(at);
            }
            let namespace = &mut self.namespaces[at];
            namespace.at_ns = row.timestamp_ns;
            match row.tag("cpu") {
                Some(cpu) if is_all_cpus(cpu) => {
                    namespace.take_statistics(row, is_live, repeated);
                    for (current, origin) in namespace.current.iter_mut().zip(origins) {
                        current.origin = *origin;
                    }
                }
                Some(cpu) => namespace.take_cpu(cpu, row, is_live, repeated),
                None => {
                    namespace.take_table(row);
                    // The tag may have been left out.
                    if SERIES.iter().any(|series| row.field(series.field.name).is_some()) {
                        namespace.take_statistics(row, is_live, repeated);
                    }
                }
            }
        }
        touched.into_iter().for_each(|at| self.namespaces[at].end_gather());
    }

    /// Takes out what rows showed for the first time, in words.
    pub fn new_messages(&mut self) -> Vec<String> {
        let all = self.namespaces.iter_mut();
        all.flat_map(|namespace| std::mem::take(&mut namespace.messages)).collect()
    }

    /// The index of the namespace that a row is of.
    fn place(&mut self, row: &Metric) -> Option<usize> {
        let known = self.namespaces.iter().position(|namespace| namespace.is_of(row));
        known.or_else(|| {
            (self.namespaces.len() < MOST_NAMESPACES).then(|| {
                self.namespaces.push(Namespace::new(row));
                self.namespaces.len() - 1
            })
        })
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
