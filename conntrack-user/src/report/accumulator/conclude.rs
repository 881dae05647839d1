//! The conclusions from all rows of a source.

use std::collections::BTreeMap;

use super::super::causes::causes;
use super::super::coarse::Coarse;
use super::super::completeness::Completeness;
use super::super::doubts::{Doubts, Unknowns};
use super::super::fields::{Beside, Counters, has_bursts, is_without_rate, is_zero_uncounted};
use super::super::gaps::{LISTED, LONGER, Times};
use super::super::successors::{CounterEnds, Ends};
use super::super::summary::{Counter, Fill, Gaps, Losses, PartlyCounted, SourceReport};
use super::super::track::Track;
use super::super::unknown::{is_often, unknown};
use super::{SourceAccumulator, Tallied, columns, earliest, filled};
use crate::recording::known::is_known;
use crate::schema::field::Field;
use crate::schema::fields::{DROP, rank};

/// The context of the report of a source.
pub(in crate::report) struct Context<'a> {
    /// The counters.
    pub(in crate::report) counters: &'a Counters,
    /// Sentences about the whole recording.
    pub(in crate::report) unknown: &'a [String],
    /// The rows are the result of a query, which may fill in what is missing.
    pub(in crate::report) is_of_query: bool,
}

/// A counter is counted in a part of the time if that is less than this share of it.
const PARTLY: f64 = 0.9;
/// Times that differ by less are one: counters are found at different samples.
const SAME_PART: f64 = 0.02;

/// The times of the rows by which a source is reported.
struct Schedule {
    /// They are rows of single CPUs.
    by_cpus: bool,
    emissions: u64,
    times: Times,
    /// The interval of the table's rows, and the number of those that are missing.
    table_times: (Option<f64>, u64),
}

/// The counters of a source, by what they did.
#[derive(Default)]
struct SortedCounters<'a> {
    /// By number and name, with the total, if it is known.
    moved: Vec<(usize, &'a String, Option<f64>)>,
    unmoved: Vec<&'a String>,
    not_counted: Vec<&'a String>,
    /// The numbers of those of which the rows with the sum went back, and not those of the CPUs.
    replaced: Vec<usize>,
}

impl SourceAccumulator {
    /// Reports what the rows show of the source.
    pub(in crate::report) fn report(&mut self, context: &Context<'_>) -> SourceReport {
        if self.counters.len() < context.counters.names.len() {
            self.counters.resize_with(context.counters.names.len(), Tallied::default);
        }
        let schedule = self.schedule();
        let mut gaps = Gaps { restarts: self.restarts(&schedule), ..schedule.times.gaps.clone() };
        let mut fill = self.level.report();
        let may_be_sum = !self.level.is_sure() && !self.is_of_ctpulse && self.cpus.count() != 1;
        if let Some(fill) = fill.as_mut().filter(|fill| may_be_sum && fill.peak > 0.0) {
            (fill.fullest, fill.above_90_percent) = (None, None);
            (fill.max, fill.is_sum) = (None, true);
        }
        let losses = self.losses.each_ref().map(|track| {
            let is_known = track.values() > 0 && track.resets() <= self.gaps.restarts;
            is_known.then(|| track.total())
        });
        let mut evidence = self.evidence(&schedule, &gaps, &context.counters.names);
        // ctpulse's rates show by themselves that nothing happened.
        if context.is_of_query && self.stillness.is_even() && !self.has_rates {
            evidence.same_in_front = self.stillness.repeated();
            evidence.same_at_end = self.stillness.at_end();
        }
        evidence.fill = fill.as_ref();
        evidence.losses_unknown = self
            .losses
            .iter()
            .zip(losses)
            .any(|(track, loss)| track.values() > 0 && loss.is_none());
        let sorted = self.sort_counters(context, &schedule, &mut evidence, &mut gaps);
        gaps.backwards = evidence.backwards;
        gaps.kernel_resets = evidence.kernel_resets;
        (evidence.resets, evidence.gaps) = (gaps.resets, gaps.gaps);
        let mut unknowns = unknown(&evidence);
        unknowns.append(self.unknown_of_cpus());
        unknowns.append(self.table_doubts.unknown());
        unknowns.append(self.left_out.unknown(&context.counters.names));
        unknowns.sentences.extend(self.unknown_of_columns(context.counters));
        unknowns.append(self.unknown_of_other_counts(context.counters));
        unknowns.sentences.extend(self.resumed.unknown());
        unknowns.sentences.extend(self.resumed.unknown_reboot());
        unknowns.sentences.extend(self.precision.unknown(&context.counters.names));
        unknowns.sentences.extend(context.unknown.iter().cloned());
        let (from_ns, to_ns) = self.span.unwrap_or_default();
        let columns = self.columns(context.counters);
        let names = columns::names(&columns, context.counters);
        let (unmoved, not_counted) =
            columns::sort_still(&columns, sorted.unmoved, sorted.not_counted);
        let moved = sorted.moved.into_iter().map(|(at, _, total)| (at, &names[at], total));
        let mut moved: Vec<_> = moved.collect();
        moved.sort_by_key(|(_, name, _)| rank(name));
        let named = moved.iter().filter(|(at, ..)| !sorted.replaced.contains(at));
        let contradictions = self.contradictions(named.map(|(at, name, _)| (*at, *name)));
        contradictions.into_iter().for_each(|sentence| unknowns.doubt(sentence));
        let total_of = |field: &Field| match moved.iter().find(|(_, name, _)| *name == field.name) {
            Some((.., total)) => *total,
            None => unmoved.iter().any(|name| name == field.name).then_some(0.0),
        };
        let causes = causes(total_of);
        unknowns.sentences.extend(causes.contradiction());
        let events = moved.iter().filter_map(|(at, name, total)| {
            let doubted = self.doubted((*at, name, (*total)?), &evidence);
            (doubted > 0.0).then(|| ((*name).clone(), doubted))
        });
        let events: BTreeMap<String, f64> = events.collect();
        let counters = moved.iter().map(|(at, name, total)| Counter {
            doubtful: events.get(*name).copied(),
            ..self.counters[*at].rates.report(name, *total)
        });
        let Unknowns { sentences: unknown, doubts: reasons, of_fill } = unknowns;
        // Those that may be another table's show nothing.
        let full_between = evidence.full_between().filter(|between| {
            events.get(&between.counter).is_none_or(|doubted| *doubted < between.events)
        });
        // What was compared are the rows with the sum.
        let compared = self.compared.without(&sorted.replaced);
        SourceReport {
            name: self.origin.name.clone(),
            tags: self.origin.tags.clone(),
            from_ns,
            to_ns,
            counted_ns: evidence.statistics,
            rows: self.rows,
            emissions: schedule.emissions,
            interval_seconds: schedule.times.interval,
            sample_seconds: self.sample_seconds,
            counters: counters.collect(),
            bursts: moved
                .iter()
                .filter(|(_, name, _)| has_bursts(name))
                .flat_map(|(at, name, _)| self.counters[*at].rates.bursts(name))
                .collect(),
            drop_causes: causes.by_cause,
            drops_without_cause: causes.without,
            labelled: Vec::new(),
            fill: fill.map(|fill| fill.with_time_between(full_between)),
            gaps,
            losses: Losses { samples_missed: losses[0], rows_lost: losses[1] },
            are_sums_of_cpus: self.has_no_sum(),
            cpus: self.cpus.summary(&columns::of_cpus(&columns, context.counters)),
            found: compared.found,
            invalid: compared.invalid.worst(),
            invalid_beside_new: compared.invalid.beside_new(),
            partly_counted: self.partly_counted(context.counters, &names),
            unknown,
            doubts: Doubts {
                reasons,
                events,
                is_fill_doubtful: self.table_doubts.is_fill_doubtful(),
                of_fill,
            },
            drawing: self.drawing.clone().map(|drawing| drawing.named(&names)),
            columns,
            unmoved,
            not_counted,
        }
    }

    /// Ends the clocks, and decides which of them shows the interval and the gaps.
    fn schedule(&mut self) -> Schedule {
        let table = self.table.finish(None);
        let [statistics, cpus] =
            [&mut self.statistics, &mut self.cpus.clock].map(|clock| clock.finish(table.interval));
        let table_times = (table.interval, table.gaps.missing);
        let by_cpus = self.have_cpus_more_rows(
            [statistics.interval, cpus.interval].into_iter().flatten().reduce(f64::max),
        );
        let mut clocks =
            [(&self.statistics, statistics), (&self.cpus.clock, cpus), (&self.table, table)];
        if by_cpus {
            clocks.swap(0, 1);
        }
        let (other, others) = (clocks[1].0.span(), clocks[1].1.gaps.clone());
        let main = clocks.into_iter().find(|(clock, _)| clock.emissions() > 0);
        let (emissions, mut times) =
            main.map(|(clock, times)| (clock.emissions(), times)).unwrap_or_default();
        // Rows of some of the CPUs do not have what is missing.
        let other = other.filter(|_| self.cpus.partial() == 0);
        let filled = other.map_or(0, |span| filled::fill(&mut times, span, &others));
        times.gaps.longest.truncate(LISTED);
        Schedule { by_cpus, emissions: emissions + filled + times.sharing, times, table_times }
    }

    /// How often ctpulse was started again. Rows of another program between those with rates are no
    /// restarts.
    fn restarts(&self, schedule: &Schedule) -> u64 {
        let times = self.gaps.restarts;
        let are_others = is_often(times, schedule.emissions) && 2 * self.early_restarts > times;
        if are_others { 0 } else { times }
    }

    /// Returns how complete the rows are, but for the counters.
    fn evidence<'a>(
        &self,
        schedule: &Schedule,
        gaps: &Gaps,
        names: &'a [String],
    ) -> Completeness<'a> {
        let spans = [self.statistics.span(), self.cpus.clock.span()].into_iter().flatten();
        let (table_interval, table_missing) = schedule.table_times;
        // Of several rows with one time the table has as many as the statistics.
        let shared = schedule.times.coarse.filter(Coarse::is_shared);
        let table_interval_seconds = match shared {
            Some(coarse) if table_interval.is_some_and(|own| own < 1.5 * coarse.unit_seconds) => {
                Some(coarse.interval_seconds)
            }
            _ => table_interval,
        };
        let is_table_whole = self.level.span() == self.table.span();
        Completeness {
            span: self.span.unwrap_or_default(),
            statistics: spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))),
            statistics_rows: self.statistics.emissions().max(self.cpus.clock.emissions()),
            table: self.level.span(),
            table_rows: self.table.emissions(),
            late: self.table.late(),
            table_missing: if is_table_whole && self.table.late() == 0 {
                let apart =
                    self.table.missing_alone(&self.statistics.gaps(), table_interval_seconds);
                table_missing.saturating_sub(gaps.missing).max(apart)
            } else {
                0
            },
            is_fill_between_known: self.is_of_ctpulse || self.level.have_agreed(),
            interval_seconds: schedule.times.interval,
            table_interval_seconds,
            statistics_gaps: self.statistics.gaps_in_order(),
            missing_regularly: schedule.times.missing_regularly,
            other_interval: schedule.times.other,
            shorter_interval: schedule.times.shorter,
            at_once: schedule.times.at_once,
            coarse: schedule.times.coarse,
            gaps_not_compared: schedule.times.not_compared,
            alternating: self.gaps.restarts - gaps.restarts,
            repeated: self.repeated,
            partial_sums: if schedule.by_cpus { self.cpus.partial() } else { 0 },
            cpus: self.cpus.count(),
            left_out: self.cpus.left_out(),
            disagreeing: self.disagreeing,
            impossible: self.impossible,
            has_peaks: self.has_peaks,
            is_of_ctpulse: self.is_of_ctpulse,
            // ctpulse's rates show whether a leap is a burst.
            breaks: self
                .continuity
                .conclude(!self.has_rates, |at| names.get(at).map(|name| rank(name))),
            names,
            alone_resets: self.alone_resets,
            misdated_ns: self.misdated_ns,
            inferred_resets: self.inferred_resets.max(self.cpus.inferred_resets()),
            leading_blanks: if self.blanks.come_first() { self.blanks.number } else { 0 },
            missing: gaps.missing,
            emissions: schedule.emissions,
            ..Completeness::default()
        }
    }

    /// The counters of probes that were counted for a part of the time only.
    fn partly_counted(&self, counters: &Counters, names: &[String]) -> Vec<PartlyCounted> {
        let of_seconds = self.rated_seconds;
        let all = self.counters.iter().zip(&counters.origins).zip(names);
        let partly = all.filter(|((counter, origin), name)| {
            let seconds = counter.counted_seconds;
            origin.is_of_probes(self.is_of_ctpulse)
                && !is_without_rate(name)
                && counter.has_rate
                && seconds > 0.0
                && seconds < PARTLY * of_seconds
        });
        let mut partly: Vec<_> =
            partly.map(|((counter, _), name)| (counter.counted_seconds, name)).collect();
        partly.sort_by(|a, b| a.0.total_cmp(&b.0).then(rank(a.1).cmp(&rank(b.1))));
        let mut parts: Vec<PartlyCounted> = Vec::new();
        for (seconds, name) in partly {
            match parts.last_mut() {
                Some(part) if seconds <= (1.0 + SAME_PART) * part.seconds => {
                    part.names.push(name.clone());
                }
                _ => parts.push(PartlyCounted { names: vec![name.clone()], seconds, of_seconds }),
            }
        }
        parts
    }

    /// Sorts the counters into those that moved, those that did not and those that are not counted.
    /// `evidence` and `gaps` take what their rows show.
    fn sort_counters<'a>(
        &self,
        context: &Context<'a>,
        schedule: &Schedule,
        evidence: &mut Completeness<'_>,
        gaps: &mut Gaps,
    ) -> SortedCounters<'a> {
        let mut sorted = SortedCounters::default();
        // Sentences name the first counter that they are about.
        let mut names: Vec<_> = context.counters.names.iter().enumerate().collect();
        names.sort_by_key(|(_, name)| (rank(name), name.as_str()));
        for (at, name) in names {
            let counter = &self.counters[at];
            let tracks = self.tracks(at);
            if !counter.is_seen && tracks.is_empty() {
                continue;
            }
            evidence.has_drop |= *name == DROP.name;
            let resets = tracks.iter().map(|track| track.resets()).max().unwrap_or(0);
            // Counters of the schema come first. A column of a newer kernel begins again with them.
            if !is_known(name) && resets > self.gaps.restarts.max(evidence.kernel_resets) {
                evidence.stranger.get_or_insert_with(|| name.clone());
                evidence.no_counters.push(name.clone());
                continue;
            }
            gaps.resets = gaps.resets.max(resets);
            let first_reset_ns = tracks.iter().filter_map(|track| track.first_reset_ns()).min();
            gaps.first_reset_ns = earliest(gaps.first_reset_ns, first_reset_ns);
            tracks.iter().for_each(|track| evidence.take(name, track));
            if tracks.iter().all(|track| std::ptr::eq(*track, &raw const counter.track)) {
                evidence.take_gaps(name, &counter.track);
            }
            let mut total: f64 = tracks.iter().map(|track| track.total()).sum();
            if self.disagreeing > 0 {
                total -= tracks.iter().map(|track| track.risen_at_first()).sum::<f64>();
            }
            total -= counter.other_count;
            if self.blanks.come_first() {
                total -= tracks.iter().map(|track| track.rise_from_zero()).sum::<f64>();
            }
            let has_values = tracks.iter().any(|track| track.values() > 0);
            if !has_values && !counter.has_mean {
                evidence.peaks_only.push(name.clone());
                evidence.has_known |= is_known(name);
                sorted.moved.push((at, name, None));
                continue;
            }
            if !has_values {
                let interval = schedule.times.interval.unwrap_or(0.0);
                total = counter.rated + counter.rated_intervals * interval;
                evidence.rates_only.push(name.clone());
                evidence.has_known |= is_known(name);
            }
            let is_replaced = self.is_replaced(counter, &tracks);
            if is_replaced {
                evidence.replace(name, counter.track.resets() + counter.track.odd());
                sorted.replaced.push(at);
            }
            if total > 0.0 || (counter.rates.has_moved() && !is_replaced) {
                sorted.moved.push((at, name, Some(total)));
            } else if self.is_uncounted(name, counter, &tracks, evidence.fill) {
                sorted.not_counted.push(name);
            } else {
                sorted.unmoved.push(name);
            }
        }
        sorted
    }

    /// The tracks of the counter `at`: one, or one for each CPU where rows with the sum are
    /// missing or go back.
    pub(super) fn tracks(&self, at: usize) -> Vec<&Track> {
        let whole = self.counters.get(at).map(|counter| &counter.track);
        let whole = whole.filter(|track| track.values() > 0);
        let cpus: Vec<&Track> = self.cpus.tracks(at).collect();
        match whole {
            Some(whole) if cpus.is_empty() || !self.are_cpus_better(whole, &cpus) => {
                vec![whole]
            }
            _ => cpus,
        }
    }

    /// Whether the rows with the sum go back where those of the CPUs do not.
    fn is_replaced(&self, counter: &Tallied, tracks: &[&Track]) -> bool {
        let backs = |track: &Track| track.resets() + track.odd();
        let is_other = !tracks.iter().any(|track| std::ptr::eq(*track, &counter.track));
        is_other
            && backs(&counter.track) > tracks.iter().map(|track| backs(track)).max().unwrap_or(0)
    }

    /// Whether the rows of CPUs go on where there are none with their sum.
    fn have_cpus_more_rows(&self, interval: Option<f64>) -> bool {
        let longer_ns = (interval.unwrap_or(0.0) * LONGER * 1e9) as u64;
        match (self.statistics.span(), self.cpus.clock.span()) {
            (Some(whole), Some(cpus)) => {
                (cpus.0 < whole.0 && cpus.0.abs_diff(whole.0) > longer_ns)
                    || (cpus.1 > whole.1 && cpus.1.abs_diff(whole.1) > longer_ns)
            }
            (whole, _) => whole.is_none(),
        }
    }

    /// How the source begins and ends.
    pub(in crate::report) fn ends(&self, names: &[String]) -> Ends {
        let mut ends = Ends {
            origin: self.origin.clone(),
            span: None,
            interval_seconds: self.statistics.interval().unwrap_or(0.0),
            counters: Vec::new(),
        };
        for (at, name) in names.iter().enumerate().filter(|(_, name)| is_known(name)) {
            let tracks = self.tracks(at);
            for (from_ns, to_ns) in tracks.iter().filter_map(|track| track.span()) {
                let (first, last) = ends.span.get_or_insert((from_ns, to_ns));
                (*first, *last) = ((*first).min(from_ns), (*last).max(to_ns));
            }
            if !tracks.is_empty() {
                let stretches = match &tracks[..] {
                    [track] => track.ends().collect(),
                    _ => Vec::new(),
                };
                ends.counters.push(CounterEnds {
                    name: name.clone(),
                    first: tracks.iter().map(|track| track.first()).sum(),
                    last: tracks.iter().map(|track| track.last()).sum(),
                    total: tracks.iter().map(|track| track.total()).sum(),
                    stretches,
                });
            }
        }
        ends.counters.sort_by_key(|counter| rank(&counter.name));
        ends
    }

    /// Whether a counter that stayed 0 is not counted, as far as the rows show.
    fn is_uncounted(
        &self,
        name: &str,
        counter: &Tallied,
        tracks: &[&Track],
        fill: Option<&Fill>,
    ) -> bool {
        if tracks.iter().any(|track| track.largest() > 0.0) {
            return false;
        }
        let beside = Beside {
            rates: self.has_rates && self.is_of_ctpulse,
            own_rate: counter.has_rate,
            entries_moved: fill.is_some_and(|fill| fill.entries.max > fill.entries.min),
        };
        is_zero_uncounted(name, beside)
    }
}
