//! The last minutes in fixed memory: one slot for each row that came, oldest forgotten first.
//!
//! A slot covers the time since the row before it. Columns of a picture are spans of time, not
//! rows, so that a changed interval, a lost row and a gap each show as what they are.

use std::collections::VecDeque;

use super::doubt::Doubt;
use super::series::ALL;

/// Rows that are kept: four minutes at ten a second, twenty at two.
pub const CAPACITY: usize = 2400;

/// One counter over one span of time, in events per second; NaN is not known.
#[derive(Debug, Clone, Copy)]
pub struct RateSample {
    /// Mean rate.
    pub mean: f32,
    /// Largest rate of one sample interval; the mean where no sampling was faster than the rows.
    pub peak: f32,
    /// Most events in one sample where these were only a few (see [`FEW`]), else 0.
    pub few: u8,
    /// Slots before its own that it covers, too: the counter had no value in them.
    pub back: u16,
    /// The reason why nothing is known, where rows contradict each other.
    pub doubt: Option<Doubt>,
}

/// So many events in one sample make a rate. A single packet in a sample of 10 ms is no 100 packets
/// a second.
pub const FEW: u64 = 10;

impl RateSample {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { mean: f32::NAN, peak: f32::NAN, few: 0, back: 0, doubt: None };

    /// Nothing is known, and the rows show why.
    #[must_use]
    pub fn doubtful(doubt: Doubt) -> Self {
        Self { doubt: Some(doubt), ..Self::UNKNOWN }
    }

    /// Returns the peak that is drawn: a few events in one sample are not above the mean.
    fn shown_peak(&self) -> f32 {
        if self.few > 0 { self.mean } else { self.peak }
    }
}

/// The table's number of entries over one span of time; NaN is not known.
#[derive(Debug, Clone, Copy)]
pub struct EntriesLevel {
    /// At the end.
    pub last: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl EntriesLevel {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { last: f64::NAN, min: f64::NAN, max: f64::NAN };

    /// A number of entries that is known at the end only.
    #[must_use]
    pub fn still(entries: f64) -> Self {
        Self { last: entries, min: entries, max: entries }
    }
}

/// The values of one row.
#[derive(Debug, Clone)]
pub struct Slot {
    /// When it was read, in nanoseconds since 1970.
    pub end_ns: i64,
    /// When the one before it was; the same as the end on a first row.
    pub start_ns: i64,
    /// The table.
    pub level: EntriesLevel,
    /// The counters, in the order of [`super::series::SERIES`].
    pub samples: [RateSample; ALL],
}

/// A stretch of time cut into equal columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// End of the last column, in nanoseconds since 1970; a multiple of the span.
    pub end_ns: i64,
    /// Length of a column in nanoseconds, at least 1.
    pub span_ns: i64,
    /// Number of columns.
    pub columns: usize,
}

impl Axis {
    /// Columns of `span_ns` of which the last one contains `now_ns`. They begin at multiples of
    /// the span, so that what is drawn moves by whole columns and never changes its shape.
    #[must_use]
    pub fn until(now_ns: i64, span_ns: i64, columns: usize) -> Self {
        let span_ns = span_ns.max(1);
        // A row that ends on a boundary belongs before it.
        let end_ns = (now_ns - 1).div_euclid(span_ns).saturating_add(1).saturating_mul(span_ns);
        Self { end_ns, span_ns, columns }
    }

    /// Start of the first column.
    #[must_use]
    pub fn start_ns(&self) -> i64 {
        let length = i64::try_from(self.columns).unwrap_or(i64::MAX).saturating_mul(self.span_ns);
        self.end_ns.saturating_sub(length)
    }

    /// The length of all columns together in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (self.end_ns - self.start_ns()) as f64 / 1e9
    }

    /// The columns that the time between two moments touches.
    fn touched(&self, start_ns: i64, end_ns: i64) -> std::ops::Range<usize> {
        let first = (start_ns - self.start_ns()).div_euclid(self.span_ns).max(0);
        let last = (end_ns - 1 - self.start_ns()).div_euclid(self.span_ns);
        let last = last.clamp(-1, self.columns as i64 - 1);
        first.min(last + 1) as usize..(last + 1) as usize
    }

    fn overlap(&self, column: usize, start_ns: i64, end_ns: i64) -> i64 {
        let start = self.start_ns() + column as i64 * self.span_ns;
        end_ns.min(start + self.span_ns) - start_ns.max(start)
    }
}

/// One column of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PlotColumn {
    /// Mean over the known part of its time; `None` where nothing is known.
    pub mean: Option<f64>,
    /// Largest value in it.
    pub peak: Option<f64>,
}

/// One counter over all of the time that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Summary {
    /// Mean over the known part of the time; `None` where nothing is known.
    pub mean: Option<f64>,
    /// The largest rate.
    pub peak: Option<f64>,
    /// The most events in one sample, where no sample had more than a few.
    pub few: Option<u8>,
    /// The latest reason why a part of the time is not known.
    pub doubt: Option<Doubt>,
}

/// Slots, oldest first.
#[derive(Debug, Clone)]
pub struct History {
    slots: VecDeque<Slot>,
}

impl Default for History {
    fn default() -> Self {
        Self { slots: VecDeque::with_capacity(CAPACITY) }
    }
}

impl History {
    /// Adds what a row read at `end_ns` showed. A clock that went back begins a new history: the
    /// old one's times mean nothing beside the new ones. A second row of one time adds nothing.
    pub fn push(&mut self, end_ns: i64, level: EntriesLevel, samples: [RateSample; ALL]) {
        match self.slots.back() {
            Some(last) if last.end_ns == end_ns => return,
            Some(last) if last.end_ns > end_ns => self.slots.clear(),
            _ => {}
        }
        if self.slots.len() == CAPACITY {
            self.slots.pop_front();
        }
        let start_ns = self.slots.back().map_or(end_ns, |last| last.end_ns);
        self.slots.push_back(Slot { end_ns, start_ns, level, samples });
    }

    /// Forgets the rates of the slots that end after `start_ns`: later rows contradict them.
    pub fn forget_rates_since(&mut self, start_ns: i64) {
        let slots = self.slots.iter_mut().rev().take_while(|slot| slot.end_ns > start_ns);
        slots.for_each(|slot| slot.samples.fill(RateSample::doubtful(Doubt::UpAndDown)));
    }

    /// The last row.
    #[must_use]
    pub fn last(&self) -> Option<&Slot> {
        self.slots.back()
    }

    /// Slots that end after `start_ns`, latest first.
    pub fn since(&self, start_ns: i64) -> impl Iterator<Item = &Slot> {
        self.slots.iter().rev().take_while(move |slot| slot.end_ns > start_ns)
    }

    /// The number of slots that end after `start_ns`, for [`RateSample::back`].
    #[must_use]
    pub fn number_since(&self, start_ns: i64) -> u16 {
        self.since(start_ns).count() as u16
    }

    /// Whether nothing is known of a counter in the slots that end after `start_ns`.
    #[must_use]
    pub fn is_unknown_since(&self, series: usize, start_ns: i64) -> bool {
        self.since(start_ns).all(|slot| slot.samples[series].mean.is_nan())
    }

    /// The samples of a counter in slots that end after `start_ns`, latest first, with the time that
    /// each of them covers.
    fn samples(&self, series: usize, start_ns: i64) -> impl Iterator<Item = (i64, &Slot)> {
        let numbered = self.slots.iter().enumerate().rev();
        let shown = numbered.take_while(move |(_, slot)| slot.end_ns > start_ns);
        shown.map(move |(at, slot)| {
            let first = at.saturating_sub(slot.samples[series].back.into());
            (self.slots[first].start_ns, slot)
        })
    }

    /// The columns of the counter `series`.
    #[must_use]
    pub fn columns(&self, series: usize, axis: &Axis) -> Vec<PlotColumn> {
        let samples = self.samples(series, axis.start_ns()).map(|(start_ns, slot)| {
            let sample = &slot.samples[series];
            (start_ns, slot.end_ns, f64::from(sample.mean), f64::from(sample.shown_peak()))
        });
        picture(axis, samples)
    }

    /// The columns of the table's number of entries: its end and its most.
    #[must_use]
    pub fn levels(&self, axis: &Axis) -> Vec<PlotColumn> {
        let levels = self.since(axis.start_ns());
        picture(
            axis,
            levels.map(|slot| (slot.start_ns, slot.end_ns, slot.level.last, slot.level.max)),
        )
    }

    /// The mean and the peak of `series` since `start_ns`; `None` where nothing is known.
    #[must_use]
    pub fn summary(&self, series: usize, start_ns: i64) -> Summary {
        let (mut events, mut time, mut peak) = (0.0, 0.0, None::<f64>);
        let (mut few, mut has_more) = (0, false);
        let (mut doubt, mut known_from_ns) = (None, i64::MAX);
        for (from_ns, slot) in self.samples(series, start_ns) {
            let sample = &slot.samples[series];
            if sample.mean.is_nan() {
                // A later value may cover the time.
                if slot.start_ns < known_from_ns {
                    doubt = doubt.or(sample.doubt);
                }
                continue;
            }
            known_from_ns = known_from_ns.min(from_ns);
            let length = (slot.end_ns - from_ns) as f64;
            events += f64::from(sample.mean) * length;
            time += length;
            peak = Some(peak.unwrap_or(0.0).max(f64::from(sample.shown_peak())));
            few = few.max(sample.few);
            has_more |= sample.few == 0 && sample.peak > 0.0;
        }
        let mean = (time > 0.0).then(|| events / time);
        Summary { mean, peak, few: Some(few).filter(|few| *few > 0 && !has_more), doubt }
    }

    /// The least and the most entries since `start_ns`.
    #[must_use]
    pub fn extremes(&self, start_ns: i64) -> Option<(f64, f64)> {
        let known = self.since(start_ns).map(|slot| slot.level).filter(|l| !l.last.is_nan());
        known.map(|l| (l.min, l.max)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// How fast the table grows, in entries per second, over about the last `span_ns`; `None`
    /// before two rows are known.
    #[must_use]
    pub fn growth(&self, span_ns: i64) -> Option<f64> {
        let last = self.last().filter(|slot| !slot.level.last.is_nan())?;
        let earlier = self.since(last.end_ns.saturating_sub(span_ns)).skip(1);
        let first = earlier.take_while(|slot| !slot.level.last.is_nan()).last();
        // With rows further apart than the span, the one before.
        let first = first.or_else(|| self.slots.iter().rev().nth(1))?;
        let seconds = (last.end_ns - first.end_ns) as f64 / 1e9;
        Some((last.level.last - first.level.last) / seconds).filter(|growth| growth.is_finite())
    }
}

/// Draws values into columns. Each has the time from its start to its end, a mean, and a peak.
fn picture(axis: &Axis, values: impl Iterator<Item = (i64, i64, f64, f64)>) -> Vec<PlotColumn> {
    let mut columns = vec![PlotColumn::default(); axis.columns];
    let mut known = vec![0i64; axis.columns];
    for (start_ns, end_ns, mean, peak) in values.filter(|(.., mean, _)| !mean.is_nan()) {
        for at in axis.touched(start_ns.min(end_ns - 1), end_ns) {
            let weight = axis.overlap(at, start_ns, end_ns).max(1);
            let sum = columns[at].mean.unwrap_or(0.0) * known[at] as f64;
            known[at] += weight;
            columns[at].mean = Some((sum + mean * weight as f64) / known[at] as f64);
            columns[at].peak = Some(columns[at].peak.unwrap_or(peak).max(peak));
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn push(history: &mut History, end_ns: i64, mean: f32, peak: f32) {
        let level = EntriesLevel { last: f64::from(mean), min: 0.0, max: f64::from(peak) };
        history.push(end_ns, level, [RateSample { mean, peak, few: 0, back: 0, doubt: None }; ALL]);
    }

    fn column(mean: f64, peak: f64) -> PlotColumn {
        PlotColumn { mean: Some(mean), peak: Some(peak) }
    }

    #[test]
    fn a_column_has_the_mean_of_its_time_and_the_peak_of_its_rows() {
        let mut history = History::default();
        push(&mut history, 10 * SECOND, f32::NAN, f32::NAN);
        push(&mut history, 10 * SECOND + SECOND / 2, 2.0, 9.0);
        push(&mut history, 11 * SECOND, 4.0, 5.0);
        push(&mut history, 12 * SECOND, 8.0, 8.0);
        let axis = Axis::until(12 * SECOND, SECOND, 3);
        assert_eq!((axis.start_ns(), axis.end_ns), (9 * SECOND, 12 * SECOND));
        let found = history.columns(0, &axis);
        assert_eq!(found, [PlotColumn::default(), column(3.0, 9.0), column(8.0, 8.0)]);
        let summary = Summary { mean: Some(5.5), peak: Some(9.0), few: None, doubt: None };
        assert_eq!(history.summary(0, axis.start_ns()), summary);
        assert_eq!(history.growth(SECOND), Some(4.0));
    }

    /// 28 packets in 14 s were drawn as 100 packets a second.
    #[test]
    fn a_few_events_in_a_sample_are_a_count_and_no_peak() {
        let mut history = History::default();
        let mut push = |second, few| {
            let sample = RateSample { mean: 2.0, peak: 100.0, few, back: 0, doubt: None };
            history.push(second * SECOND, EntriesLevel::UNKNOWN, [sample; ALL]);
            history.clone()
        };
        for second in 1..14 {
            push(second, 1);
        }
        let history = push(14, 3);
        let axis = Axis::until(14 * SECOND, SECOND, 14);
        let peaks: Vec<_> = history.columns(0, &axis).iter().map(|column| column.peak).collect();
        assert_eq!(peaks, [Some(2.0); 14]);
        let summary = Summary { mean: Some(2.0), peak: Some(2.0), few: Some(3), doubt: None };
        assert_eq!(history.summary(0, 0), summary);
        // Ten in one sample are a peak, and the others none beside it.
        let summary = Summary { mean: Some(2.0), peak: Some(100.0), few: None, doubt: None };
        assert_eq!(push(15, 0).summary(0, 0), summary);
    }

    #[test]
    fn a_long_row_fills_all_its_columns_and_a_gap_none() {
        let mut history = History::default();
        push(&mut history, SECOND, 1.0, 1.0);
        push(&mut history, 4 * SECOND, 6.0, 7.0);
        push(&mut history, 6 * SECOND, f32::NAN, f32::NAN);
        let found = history.columns(0, &Axis::until(6 * SECOND, SECOND, 6));
        let long = column(6.0, 7.0);
        let none = PlotColumn::default();
        assert_eq!(found, [column(1.0, 1.0), long, long, long, none, none]);
    }

    /// A rate over 15 s had the weight of the last second of them.
    #[test]
    fn a_rate_has_the_weight_of_the_time_that_it_covers() {
        let mut history = History::default();
        push(&mut history, SECOND, 0.0, 0.0);
        push(&mut history, 2 * SECOND, 0.0, 0.0);
        push(&mut history, 3 * SECOND, f32::NAN, f32::NAN);
        push(&mut history, 4 * SECOND, f32::NAN, f32::NAN);
        let back = history.number_since(2 * SECOND);
        let sample = RateSample { mean: 4.0, peak: 4.0, few: 0, back, doubt: None };
        history.push(5 * SECOND, EntriesLevel::UNKNOWN, [sample; ALL]);
        push(&mut history, 6 * SECOND, 0.0, 0.0);
        let summary = Summary { mean: Some(12.0 / 5.0), peak: Some(4.0), few: None, doubt: None };
        assert_eq!(history.summary(0, 0), summary);
        let found = history.columns(0, &Axis::until(6 * SECOND, SECOND, 6));
        let (none, some) = (column(0.0, 0.0), column(4.0, 4.0));
        assert_eq!(found, [none, none, some, some, some, none]);
    }

    #[test]
    fn a_doubt_is_of_the_time_that_no_later_value_covers() {
        let mut history = History::default();
        push(&mut history, SECOND, 1.0, 1.0);
        let doubtful = RateSample::doubtful(Doubt::Negative);
        history.push(2 * SECOND, EntriesLevel::UNKNOWN, [doubtful; ALL]);
        assert_eq!(history.summary(0, 0).doubt, Some(Doubt::Negative));
        let sample = RateSample { back: 1, mean: 2.0, peak: 2.0, ..RateSample::UNKNOWN };
        history.push(3 * SECOND, EntriesLevel::UNKNOWN, [sample; ALL]);
        assert_eq!((history.summary(0, 0).doubt, history.summary(0, 0).mean), (None, Some(2.0)));
        history.forget_rates_since(2 * SECOND);
        assert_eq!(history.summary(0, 0).doubt, Some(Doubt::UpAndDown));
    }

    #[test]
    fn columns_move_by_whole_spans() {
        let at = |now| Axis::until(now, SECOND, 5).end_ns;
        assert_eq!(at(7 * SECOND), 7 * SECOND);
        assert_eq!(at(7 * SECOND + 1), 8 * SECOND);
        assert_eq!(at(8 * SECOND), 8 * SECOND);
    }

    #[test]
    fn memory_is_fixed_and_a_clock_set_back_clears_the_history() {
        let mut history = History::default();
        for row in 0..10_000 {
            push(&mut history, row, 1.0, 1.0);
        }
        assert_eq!((history.slots.len(), history.slots.capacity()), (CAPACITY, CAPACITY));
        push(&mut history, 5, 3.0, 3.0);
        assert_eq!(history.slots.len(), 1);
        assert_eq!(history.growth(SECOND), None);
    }
}
