//! Clocks that were set back within a recording.
//!
//! Rows are put in the order of their time, so those behind such a step would come between those
//! in front of it, and each counter would seem to go up and down. A step shows in the counters: in
//! the order of the file they go on as before, although the time goes back. Rows behind the step
//! are then taken as if the clock had gone on.

use std::collections::HashMap;

use super::known::is_counter;
use super::labelled;
use super::order::Order;
use super::strays::{
    Strays, Verdict, Waiting, are_apart, are_far, goes_on_from, is_far_at_end, is_in_order, is_one,
    rises,
};
use super::{Catalog, FieldId, HeldRow, ReadCounts, RecordedSeries, Row, SeriesId, time};

/// Rows of one series in order before a step is believed.
const RUN: u32 = 3;
/// A smaller step is two inputs' rows in the wrong order.
const LEAST_NS: i64 = 5_000_000;
/// The first row behind a step of more than so many intervals is in front of the last one before.
const LEAST_INTERVALS: i64 = 2;
/// Rows of a source that wait until their counters show a step or none.
const MOST_HELD: usize = 256;
/// Values in them.
const MOST_VALUES: usize = 1 << 14;
/// A counter goes on as before if it rises by this many times what it rose between two rows at
/// most, or by as few events.
const AS_BEFORE: f64 = 8.0;
/// Where a counter rises by more in the first row behind the step, so many others must be as they were or
/// go on as before: a burst may begin there, but values of another time agree in none.
const AGREEING: u32 = 2;
/// Those that go on as before agree if they are so many times what they rise: low ones do so by chance.
const HIGH: f64 = 64.0;
/// So many rows of a series are the first ones: until the second one the step is not decided.
const FIRST: usize = 2;
/// Restarts behind which a clock was wrong that are kept.
const MOST_MISDATED: usize = 64;
/// Values of a counter before the step that are compared.
const COMPARED: usize = 16;

/// The time of a series.
#[derive(Debug, Clone, Copy)]
struct SeriesClock {
    origin: usize,
    /// The time of the first row, if all others so far are later than the ones before them.
    first_ns: Option<i64>,
    last_ns: i64,
    interval_ns: i64,
    /// Rows in order.
    run: u32,
}

/// The rows of one machine or namespace.
#[derive(Debug, Default)]
struct Origin {
    /// The time that is added to its timestamps for all steps so far.
    behind_ns: i64,
    steps: u64,
    back_ns: i64,
    jump: Option<Jump>,
    /// Rows whose time is far from that of the row before.
    waiting: Option<Waiting>,
    /// Rows of an earlier time with lower counters.
    fallen: Option<Fallen>,
}

/// The last row in front of earlier ones with lower counters, and the last of these.
#[derive(Debug)]
struct Fallen {
    before: HeldRow,
    last: HeldRow,
}

/// A time that is before that of the row before, and the rows from then on.
#[derive(Debug)]
struct Jump {
    series: SeriesClock,
    to_ns: i64,
    held: Vec<HeldRow>,
    values: usize,
    /// A counter went on as before.
    goes_on: bool,
}

impl Fallen {
    /// Whether a row behind them in the file is later than the one in front of them, and has counters that go
    /// on from theirs and not from that: then they are rows of after a restart. Those of parts in another
    /// order go on from both, or behind a later restart from none.
    fn is_misdated_restart(&self, row: Row<'_>, counters: &[bool]) -> bool {
        row.time_ns > self.before.time_ns
            && !goes_on_from(self.before.row(), row, counters)
            && goes_on_from(self.last.row(), row, counters)
    }
}

impl Jump {
    /// Whether a row behind the jump has no counters, and others do that are still to come.
    fn waits_for_counters(&self, row: Row<'_>, counters: &[bool]) -> bool {
        let has_counters =
            |values: &[(FieldId, f64)]| values.iter().any(|(field, _)| is_one(counters, *field));
        let is_before = |held: &&HeldRow| held.time_ns < self.series.last_ns;
        !has_counters(row.values)
            && self.held.iter().filter(is_before).any(|held| has_counters(&held.values))
    }

    /// Whether no series has two rows before the time in front of the jump.
    fn has_one_gather(&self) -> bool {
        let first = self.held.first().map(|held| held.series);
        let is_before =
            |held: &&HeldRow| Some(held.series) == first && held.time_ns < self.series.last_ns;
        self.held.iter().filter(is_before).count() == 1
    }

    /// Whether the counters of a row rose from the last one in front of the jump and to the first one behind it.
    fn rises_on_both_sides(&self, order: &Order, counters: &[bool]) -> bool {
        self.held.iter().filter(|held| held.time_ns < self.series.last_ns).any(|held| {
            let behind = self
                .held
                .iter()
                .find(|other| other.series == held.series && other.time_ns > self.series.last_ns);
            has_risen(order, counters, held.row())
                && behind.is_some_and(|behind| rises(held.row(), behind.row(), counters))
        })
    }
}

/// Puts rows in the order of their time, as far as the window of [`Order`] reaches, and finds the
/// steps of each source's clock.
#[derive(Debug, Default)]
pub(crate) struct InOrder {
    order: Order,
    /// By series.
    series: Vec<Option<SeriesClock>>,
    origins: Vec<Origin>,
    by_origin: HashMap<RecordedSeries, usize>,
    /// Which fields are counters.
    counters: Vec<bool>,
    strays: Strays,
    /// Restarts behind which the clock was wrong.
    misdated: Vec<(SeriesId, i64)>,
}

impl InOrder {
    /// Takes the row that is next in the file, and hands those that need not wait any more to `each`.
    pub(crate) fn push(&mut self, catalog: &Catalog, row: Row<'_>, each: &mut impl FnMut(Row<'_>)) {
        let SeriesId(id) = row.series;
        if self.counters.len() < catalog.fields().len() {
            self.learn(catalog);
        }
        let Some(clock) = self.series.get_mut(id).and_then(Option::as_mut) else {
            self.begin(catalog, row, each);
            return;
        };
        let origin = &mut self.origins[clock.origin];
        let time_ns = time::later(row.time_ns, origin.behind_ns);
        if let Some(fallen) = &mut origin.fallen
            && fallen.before.series == row.series
        {
            let later = Row { time_ns, ..row };
            if fallen.is_misdated_restart(later, &self.counters)
                && self.misdated.len() < MOST_MISDATED
            {
                self.misdated.push((row.series, fallen.before.time_ns));
            }
            if time_ns > fallen.before.time_ns {
                origin.fallen = None;
            } else {
                fallen.last = HeldRow::of(later);
            }
        }
        if origin.waiting.is_some() {
            return self.push_beside_waiting(catalog, Row { time_ns, ..row }, each);
        }
        if origin.jump.is_none() {
            // A clock that was set back shows in the counters.
            let may_be_stray = time_ns > clock.last_ns || clock.run == 0;
            if may_be_stray
                && clock.may_be_left_at(time_ns)
                && !self.strays.are_many()
                && fits_behind(&self.order, &self.counters, row)
            {
                let row = Row { time_ns, ..row };
                let mut waiting = Waiting::new(row, clock.last_ns, clock.interval_ns, clock.run);
                let has_risen = has_risen(&self.order, &self.counters, row);
                waiting.take_rise(row.series, has_risen);
                origin.waiting = Some(waiting);
                return;
            }
            let is_step = clock.go_on(time_ns);
            if !is_step {
                self.order.push(Row { time_ns, ..row }, each);
                return;
            }
            let series = *clock;
            let (held, values) = (Vec::new(), 0);
            origin.jump = Some(Jump { series, to_ns: time_ns, held, values, goes_on: false });
        }
        self.hold(Row { time_ns, ..row }, each);
    }

    /// Learns which of the new fields are counters.
    #[cold]
    fn learn(&mut self, catalog: &Catalog) {
        for name in &catalog.fields()[self.counters.len()..] {
            self.counters.push(is_counter(name));
        }
    }

    /// Takes a row of a source of which others wait.
    #[cold]
    fn push_beside_waiting(
        &mut self,
        catalog: &Catalog,
        row: Row<'_>,
        each: &mut impl FnMut(Row<'_>),
    ) {
        let Some(clock) = self.series[row.series.0] else { return };
        let Some(waiting) = &mut self.origins[clock.origin].waiting else { return };
        match waiting.verdict(row, &self.counters) {
            Verdict::Open if waiting.is_near() => {
                if waiting.is_among(row.time_ns) {
                    let has_risen = has_risen(&self.order, &self.counters, row);
                    waiting.take_rise(row.series, has_risen);
                }
                waiting.hold(row);
            }
            Verdict::Open if are_far(row.time_ns, clock.last_ns, clock.interval_ns) => {
                waiting.hold(row);
            }
            Verdict::Open => self.go_on(row, each),
            verdict => {
                self.end_wait(clock.origin, verdict, each);
                let behind_ns = self.origins[clock.origin].behind_ns;
                self.push(catalog, Row { time_ns: row.time_ns - behind_ns, ..row }, each);
            }
        }
    }

    /// Hands out the rows that wait, or leaves those out whose times are wrong.
    fn end_wait(&mut self, origin: usize, verdict: Verdict, each: &mut impl FnMut(Row<'_>)) {
        let Some(waiting) = self.origins[origin].waiting.take() else { return };
        let before_ns = waiting.before_ns();
        if verdict == Verdict::Strays {
            let (others, strays) = waiting.divide();
            for held in &strays {
                self.strays.take(held.row(), before_ns, &self.counters);
            }
            others.iter().for_each(|held| self.go_on(held.row(), each));
            return;
        }
        let rows = waiting.into_rows();
        if verdict == Verdict::StrayBefore {
            for held in &rows {
                let last_ns = self.series[held.series.0].map_or(before_ns, |clock| clock.last_ns);
                if let Some(removed) = self.order.remove(held.series, last_ns) {
                    self.strays.take(removed.row(), held.time_ns, &self.counters);
                }
            }
        }
        rows.iter().for_each(|held| self.go_on(held.row(), each));
    }

    /// Takes a row whose time is that of its source now, wherever it is.
    fn go_on(&mut self, row: Row<'_>, each: &mut impl FnMut(Row<'_>)) {
        if let Some(clock) = &mut self.series[row.series.0]
            && clock.go_on(row.time_ns)
        {
            (clock.last_ns, clock.run, clock.first_ns) = (row.time_ns, 0, None);
        }
        self.order.push(row, each);
    }

    /// The first row of a series.
    fn begin(&mut self, catalog: &Catalog, row: Row<'_>, each: &mut impl FnMut(Row<'_>)) {
        let SeriesId(id) = row.series;
        // Rows with labels have the clock of their source's own.
        let labelled = labelled::source_of(catalog, row).map(|(_, source, _)| source);
        let mut name = labelled.unwrap_or_else(|| catalog.series(row.series).clone());
        name.tags.retain(|(key, _)| key != "cpu");
        let next = self.origins.len();
        let origin = *self.by_origin.entry(name).or_insert(next);
        if origin == next {
            self.origins.push(Origin::default());
        }
        if self.series.len() <= id {
            self.series.resize(id + 1, None);
        }
        let time_ns = time::later(row.time_ns, self.origins[origin].behind_ns);
        self.series[id] = Some(SeriesClock {
            origin,
            first_ns: Some(time_ns),
            last_ns: time_ns,
            interval_ns: 0,
            run: 0,
        });
        let row = Row { time_ns, ..row };
        if self.origins[origin].jump.is_some() {
            self.hold(row, each);
        } else {
            self.order.push(row, each);
        }
    }

    /// Keeps a row behind a jump until it is known what that was.
    fn hold(&mut self, row: Row<'_>, each: &mut impl FnMut(Row<'_>)) {
        let Some(clock) = self.series[row.series.0] else { return };
        let origin = clock.origin;
        let goes_on = self.goes_on(row);
        // Rows in any order have such a step by chance.
        let was_in_order =
            is_in_order(clock.run) || clock.first_ns.is_some_and(|first_ns| row.time_ns < first_ns);
        if goes_on == Some(false) && was_in_order {
            let before = self.order.last(row.series).map(HeldRow::of);
            self.origins[origin].fallen =
                before.map(|before| Fallen { before, last: HeldRow::of(row) });
        }
        let Some(jump) = &mut self.origins[origin].jump else { return };
        jump.goes_on |= goes_on == Some(true);
        // The clock did not go back where the next row goes on from before the jump: the times
        // between are wrong, as in damaged rows.
        let back_ns = jump.series.last_ns.saturating_sub(jump.to_ns);
        let is_damage = back_ns > LEAST_INTERVALS.saturating_mul(jump.series.interval_ns)
            && row.time_ns > jump.series.last_ns;
        let is_next = row.time_ns.saturating_sub(jump.to_ns) > jump.series.interval_ns / 2;
        let is_full = jump.held.len() >= MOST_HELD || jump.values >= MOST_VALUES;
        jump.held.push(HeldRow::of(row));
        jump.values += row.values.len();
        let is_step = jump.goes_on && goes_on != Some(false);
        if is_damage && !is_full && jump.waits_for_counters(row, &self.counters) {
            return;
        }
        if is_damage || goes_on == Some(false) || is_full || (is_next && is_step) {
            if is_damage && jump.has_one_gather() && !self.strays.are_many() {
                self.leave_out_damaged(origin);
            }
            self.decide(origin, is_step && !is_damage, each);
        }
    }

    /// Leaves out the rows of a jump whose times are far from those around them, or apart and, as counters rose
    /// on both sides, in no other place.
    fn leave_out_damaged(&mut self, origin: usize) {
        let (series, strays) = (&self.series, &mut self.strays);
        let (order, counters) = (&self.order, &self.counters);
        let Some(jump) = &mut self.origins[origin].jump else { return };
        let is_between = jump.rises_on_both_sides(order, counters);
        jump.held.retain(|held| {
            let Some(clock) = series[held.series.0] else { return true };
            let (time_ns, last_ns) = (held.time_ns, clock.last_ns);
            let is_sure = is_in_order(clock.run) || is_far_at_end(time_ns, last_ns);
            let is_stray = time_ns < last_ns
                && (are_far(time_ns, last_ns, clock.interval_ns)
                    || is_between && are_apart(time_ns, last_ns, clock.interval_ns))
                && is_sure
                && fits_behind(order, counters, held.row());
            if is_stray {
                strays.take(held.row(), last_ns, counters);
            }
            !is_stray
        });
    }

    /// Whether the counters of a row go on from where they were before the jump, if they moved.
    fn goes_on(&self, row: Row<'_>) -> Option<bool> {
        let (mut has_risen, mut is_burst, mut agreeing) = (None, false, 0);
        for (field, value) in row.values.iter().filter(|(field, _)| self.counters[field.0]) {
            let mut before = self.order.latest(row.series, *field).take(COMPARED);
            let Some((last_ns, last)) = before.next() else { continue };
            if last_ns < row.time_ns {
                continue;
            }
            let mut later = last;
            let mut most = 1.0f64;
            for (_, earlier) in before {
                most = most.max(later - earlier);
                later = earlier;
            }
            if *value < last {
                return Some(false);
            }
            if *value - last > AS_BEFORE * most {
                is_burst = true;
                continue;
            }
            let is_alike = *value == last && last > 0.0;
            agreeing += u32::from(is_alike || last >= HIGH * most);
            if *value > last {
                has_risen = Some(true);
            }
        }
        let is_first = || {
            let jump = self.origins[self.series[row.series.0].map_or(0, |clock| clock.origin)]
                .jump
                .as_ref();
            jump.is_none_or(|jump| {
                jump.held.iter().filter(|held| held.series == row.series).count() < FIRST
            })
        };
        if is_burst { Some(agreeing >= AGREEING && is_first()) } else { has_risen }
    }

    /// Ends the wait behind a jump.
    fn decide(&mut self, origin: usize, is_step: bool, each: &mut impl FnMut(Row<'_>)) {
        let Some(jump) = self.origins[origin].jump.take() else { return };
        let mut by_ns = 0;
        if is_step {
            let source = &mut self.origins[origin];
            let back_ns = jump.series.last_ns.saturating_sub(jump.to_ns);
            by_ns = back_ns.saturating_add(jump.series.interval_ns);
            source.behind_ns = source.behind_ns.saturating_add(by_ns);
            source.back_ns = source.back_ns.saturating_add(by_ns);
            source.steps += 1;
        }
        for mut held in jump.held {
            held.time_ns = time::later(held.time_ns, by_ns);
            self.go_on(held.row(), each);
        }
    }

    /// Hands out the rows that are left: no other comes. `tally` gets the number of steps.
    pub(crate) fn finish(&mut self, tally: &mut ReadCounts, each: &mut impl FnMut(Row<'_>)) {
        for origin in 0..self.origins.len() {
            if let Some(waiting) = &self.origins[origin].waiting {
                let are_strays = waiting.are_strays_at_end();
                let verdict = if are_strays { Verdict::Strays } else { Verdict::GoesOn };
                self.end_wait(origin, verdict, each);
            }
            let goes_on = self.origins[origin].jump.as_ref().is_some_and(|jump| jump.goes_on);
            self.decide(origin, goes_on, each);
        }
        // All sources of one machine have the same clock.
        if let Some(source) = self.origins.iter().max_by_key(|origin| origin.steps) {
            tally.clock_steps = source.steps;
            tally.clock_steps_seconds = source.back_ns as f64 / 1e9;
        }
        tally.misdated_restarts = std::mem::take(&mut self.misdated);
        (tally.stray_rows, tally.first_stray_ns) = (self.strays.rows, self.strays.first_ns);
        tally.stray_counters = std::mem::take(&mut self.strays.counters);
        self.order.finish(each);
    }
}

/// Whether one counter of a row is higher than in the last row of its series that waits in `order`, and none
/// is lower.
fn has_risen(order: &Order, counters: &[bool], row: Row<'_>) -> bool {
    order.last(row.series).is_some_and(|last| rises(last, row, counters))
}

/// Whether no counter of a row is lower than in the last row of its series that waits in `order`: then it is
/// the next one, at whatever time.
fn fits_behind(order: &Order, counters: &[bool], row: Row<'_>) -> bool {
    row.values.iter().filter(|(field, _)| is_one(counters, *field)).all(|(field, value)| {
        order.latest(row.series, *field).next().is_none_or(|(_, last)| *value >= last)
    })
}

impl SeriesClock {
    /// Whether a time is so far from the last one that it may be wrong.
    #[inline]
    fn may_be_left_at(&self, time_ns: i64) -> bool {
        are_apart(time_ns, self.last_ns, self.interval_ns)
            && (are_far(time_ns, self.last_ns, self.interval_ns)
                || time_ns > self.last_ns && is_in_order(self.run))
    }

    /// Takes the next time; whether it is so far back, behind rows in order, that the clock may
    /// have been set. Then the last time stays.
    fn go_on(&mut self, time_ns: i64) -> bool {
        if time_ns > self.last_ns {
            self.interval_ns = time_ns.saturating_sub(self.last_ns);
            (self.last_ns, self.run) = (time_ns, self.run.saturating_add(1));
            return false;
        }
        let back_ns = self.last_ns.saturating_sub(time_ns);
        if self.run >= RUN && back_ns > LEAST_NS.min(self.interval_ns / 4) {
            return true;
        }
        if back_ns > 0 {
            (self.last_ns, self.run, self.first_ns) = (time_ns, 0, None);
        }
        false
    }
}
