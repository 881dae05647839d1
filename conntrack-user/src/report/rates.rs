//! The rates of one counter: averages over windows, and the peaks of rows.

use super::Options;
use super::agreement::Agreement;
use super::burst::{Candidate, Worst};
use super::spread::Spread;
use super::summary::{Burst, Counter, Peak};

/// A burst is more than this many times the median of all rows' peaks.
const STANDS_OUT: f64 = 2.0;
/// And more than this share of the counter's worst.
const COMPARABLE: f64 = 0.1;
/// Fewer events in one sample are no rate: 1 packet in 10 ms reads as 100 a second.
pub(super) const FEW: f64 = 10.0;

/// The part of a row in a counter's rates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addition {
    pub(super) at_ns: i64,
    /// Events since the row before, if they are known, and the time since then.
    pub(super) events: Option<f64>,
    pub(super) seconds: f64,
    /// Rows are missing in that time.
    pub(super) is_gap: bool,
    /// The row's own rate.
    pub(super) rate: Option<f64>,
    /// The row's own peak.
    pub(super) peak: Option<f64>,
    /// The events in the sample of the peak, if they are known.
    pub(super) sample_events: Option<f64>,
    /// The nominal time between two samples, if it is known.
    pub(super) sample_seconds: Option<f64>,
    /// A sample of the row came late, so that its events are an average over a longer time.
    pub(super) is_late: bool,
    /// Values, rates and peaks are of the same time and of ctpulse.
    pub(super) is_comparable: bool,
    pub(super) fill_percent: Option<f64>,
}

/// A counter's rates.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// Events in the open window, if any are known, and its time.
    in_window: Option<f64>,
    window_seconds: f64,
    windows: Spread,
    /// Rows that are too near to each other for a rate.
    short: Option<ShortRows>,
    /// Of each row.
    peaks: Spread,
    peak: Option<Peak>,
    worst: Worst,
    /// The highest mean of a row.
    fastest: f64,
    agreement: Agreement,
}

/// Rows that are too near to each other for a rate, but a part of the next one.
#[derive(Debug, Clone, Copy)]
struct ShortRows {
    events: f64,
    seconds: f64,
    at_ns: i64,
}

impl Rates {
    /// Takes a row; the height of its peak, if that is known. `usual` is the usual time between two
    /// rows, in seconds.
    pub(super) fn take(
        &mut self,
        options: &Options,
        usual: Option<f64>,
        row: &Addition,
    ) -> Option<f64> {
        self.fill_window(options, row);
        let mean = row.events.and_then(|events| self.mean(options, usual, row, events));
        self.fastest = self.fastest.max(mean.unwrap_or(0.0));
        // Rows that are read backwards have the events behind them, and the rate in front of them.
        if row.is_comparable {
            self.agreement.take(row);
        }
        let is_possible =
            |peak: &f64| !row.is_comparable || self.agreement.is_possible(*peak, usual, row);
        let own = row.peak.filter(is_possible);
        let height = own.into_iter().chain(mean.or(row.rate)).reduce(f64::max)?;
        self.peaks.record(height);
        let few = row.sample_events.filter(|events| *events < FEW);
        if self.peak.is_none_or(|peak| height > peak.rate) {
            self.peak = Some(Peak {
                rate: height,
                at_ns: row.at_ns,
                few_events: few,
                is_least: row.is_late,
            });
        }
        let apart = (usual.unwrap_or(0.0) * 1.5).max(options.window.as_secs_f64());
        let candidate = Candidate {
            at_ns: row.at_ns,
            within_seconds: row.seconds,
            peak: height,
            mean: mean.or(row.rate).unwrap_or(height),
            few_events: few,
            is_least: row.is_late,
            fill_percent: row.fill_percent,
        };
        self.worst.offer(candidate, options.bursts, (apart * 1e9) as i64);
        Some(height)
    }

    /// The mean of a row, if it is long enough. Events of rows that happen to be near to each other
    /// are no rate of their own.
    fn mean(
        &mut self,
        options: &Options,
        usual: Option<f64>,
        row: &Addition,
        events: f64,
    ) -> Option<f64> {
        let is_long = |seconds: f64| {
            let is_usual = seconds > 0.0 && usual.is_none_or(|usual| seconds > usual / 2.0);
            is_usual || seconds >= options.window.as_secs_f64()
        };
        let own = is_long(row.seconds).then(|| events / row.seconds);
        if own.is_some() && self.short.is_none() {
            return own;
        }
        let before = self.short.take().map_or((0.0, 0.0), |short| (short.events, short.seconds));
        let (events, seconds) = (before.0 + events, before.1 + row.seconds);
        if is_long(seconds) {
            return own.into_iter().chain([events / seconds]).reduce(f64::max);
        }
        self.short = Some(ShortRows { events, seconds, at_ns: row.at_ns });
        None
    }

    /// Ends the open window, and takes rows at the end that are too near to each other as one of
    /// usual length.
    pub(super) fn end(&mut self, options: &Options, usual: Option<f64>) {
        self.close_window(options);
        if let (Some(short), Some(usual)) = (self.short.take(), usual) {
            let rate = short.events / usual.max(short.seconds);
            if self.peak.is_none_or(|peak| rate > peak.rate) {
                self.peak =
                    Some(Peak { rate, at_ns: short.at_ns, few_events: None, is_least: false });
            }
        }
    }

    fn fill_window(&mut self, options: &Options, row: &Addition) {
        if row.is_gap {
            // An average over a time of which nothing is known is no rate of a window.
            self.close_window(options);
            return;
        }
        let Some(events) = row.events.filter(|_| row.seconds > 0.0) else { return };
        *self.in_window.get_or_insert(0.0) += events;
        self.window_seconds += row.seconds;
        // As many intervals as come nearest to the window.
        if self.window_seconds + row.seconds / 2.0 > options.window.as_secs_f64() {
            self.close_window(options);
        }
    }

    /// Ends the open window. One that a gap or the end cut to less than half is no average over a
    /// window and is left out.
    pub(super) fn close_window(&mut self, options: &Options) {
        let seconds = std::mem::take(&mut self.window_seconds);
        if let Some(events) = self.in_window.take()
            && seconds > 0.0
            && seconds >= options.window.as_secs_f64() / 2.0
        {
            self.windows.record(events / seconds);
        }
    }

    /// Whether any row had events or a rate.
    pub(super) fn has_moved(&self) -> bool {
        self.peak.is_some_and(|peak| peak.rate > 0.0)
    }

    /// The highest mean of a row, in events per second.
    pub(super) fn fastest(&self) -> f64 {
        self.fastest
    }

    /// Whether the counter, its rates and its peaks agree.
    pub(super) fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Takes the peak of a single CPU: that of all of them is at least as high.
    pub(super) fn take_least(&mut self, least: Peak) {
        if self.peak.is_none_or(|peak| least.rate > peak.rate) {
            self.peak = Some(Peak { is_least: true, ..least });
        }
    }

    /// Reports a counter of this name with so many events in all, if that is known.
    pub(super) fn report(&self, name: &str, total: Option<f64>) -> Counter {
        Counter {
            name: name.to_owned(),
            total,
            doubtful: None,
            per_second: self.windows.summary(),
            peak: self.peak.map(|peak| peak.rate),
            peak_at_ns: self.peak.map(|peak| peak.at_ns),
            peak_few_events: self.peak.and_then(|peak| peak.few_events),
            peak_is_least: self.peak.is_some_and(|peak| peak.is_least),
        }
    }

    /// The bursts of a counter of this name.
    pub(super) fn bursts(&self, name: &str) -> impl Iterator<Item = Burst> {
        let usual = self.peaks.summary().map_or(0.0, |peaks| peaks.median);
        let worst = self.worst.worst().first().map_or(0.0, |worst| worst.peak);
        let least = (STANDS_OUT * usual).max(worst * COMPARABLE);
        let stands_out = move |candidate: &&Candidate| candidate.peak > least;
        self.worst.worst().iter().filter(stands_out).map(move |worst| Burst {
            counter: name.to_owned(),
            at_ns: worst.at_ns,
            within_seconds: worst.within_seconds,
            peak: worst.peak,
            mean: worst.mean,
            few_events: worst.few_events,
            is_least: worst.is_least,
            fill_percent: worst.fill_percent,
        })
    }
}
