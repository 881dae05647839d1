//! The table's entries in the rows of single CPUs: the kernel prints the number of the whole table in the row
//! of each CPU. They count where no row of the table has them.

use super::super::moment::Moment;
use super::SourceAccumulator;

/// The entries of the rows of CPUs.
#[derive(Debug, Default)]
pub(super) struct CpuEntries {
    /// Those of the last gather and its time: a row of the table may still have them.
    waiting: Option<(i64, f64)>,
    /// The time of those before.
    last_ns: Option<i64>,
}

impl SourceAccumulator {
    /// Whether the entries of a CPU's row of this time are needed: no other row has them so far.
    #[inline]
    pub(in crate::report) fn needs_entries_of_a_cpu(&self, time_ns: i64) -> bool {
        let is_other = |(at_ns, _)| at_ns != time_ns;
        self.has_no_table() && self.cpu_entries.waiting.is_none_or(is_other)
    }

    /// Whether no row of the table was there so far, so that the entries of CPUs may be the only sure ones.
    fn has_no_table(&self) -> bool {
        self.table.emissions() == 0 && !self.is_of_ctpulse
    }

    /// Takes the entries of a row of a CPU.
    pub(in crate::report) fn entries_of_a_cpu(&mut self, time_ns: i64, entries: f64) {
        let near_ns = self.cpus.clock.reach().near_ns.unsigned_abs();
        let is_of_gather = |(at_ns, _): (i64, f64)| time_ns.abs_diff(at_ns) <= near_ns;
        if !self.cpu_entries.waiting.is_some_and(is_of_gather) {
            self.count_entries_of_cpus();
            self.cpu_entries.waiting = Some((time_ns, entries));
        }
    }

    /// Counts the entries that wait as the table's, unless one of its own rows has them.
    pub(super) fn count_entries_of_cpus(&mut self) {
        let Some((time_ns, count)) = self.cpu_entries.waiting.take() else { return };
        if !self.has_no_table() || self.now.count.is_some() {
            return;
        }
        let before_ns = self.cpu_entries.last_ns.replace(time_ns).unwrap_or(time_ns);
        let apart_ns = time_ns.saturating_sub(before_ns);
        let is_next = (0..=self.cpus.clock.reach().far_ns).contains(&apart_ns);
        let seconds = if is_next { apart_ns as f64 / 1e9 } else { 0.0 };
        let now = Moment { time_ns, count: Some(count), ..Moment::default() };
        self.take_level(&now, seconds);
    }
}
