//! The evidence that rows give, of a recording or of a live look's memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::followed::Followed;
use crate::advice::{Evidence, FoundForFailures, Samples};
use crate::recording::{self, Catalog, LEFT_OUT, ReadCounts};
use crate::report::{
    Aggregator, Counter, LabelledReport, LabelledTotal, Options, SourceReport, not_in_rows,
};
use crate::schema::fields::{self, DROP};
use crate::schema::labelled::INVALID_PACKETS;
use crate::settings::Netns;
use crate::text::human::{date, duration, number, time_of_day};
use crate::text::sanitize::shown;

/// A share of the time without rows from which on the highest fill is unknown.
const MISSING: f64 = 0.1;

/// Fewer drops without a cause than this share of all of them change no conclusion about the causes.
const FEW_WITHOUT_CAUSE: f64 = 0.01;

/// The time that the highest rates are averages over: as much as a live look takes, about.
const WINDOW: Duration = Duration::from_secs(10);

/// Returns what a recording shows of each source in it.
pub(super) fn evidence(path: &Path) -> anyhow::Result<Vec<(String, Evidence)>> {
    if path != Path::new("-") {
        File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let sources = read(&recording::files_of(path))?;
    if sources.is_empty() {
        bail!("there is no row of conntrack in {}", path.display());
    }
    let many = sources.len() > 1;
    let left_out = recording::parts_left_out(path);
    let left_out: Vec<_> =
        left_out.iter().map(|path| format!("{}: {LEFT_OUT}", path.display())).collect();
    let named = sources.into_iter().map(|(source, mut evidence)| {
        let tags = source.tags.iter().map(|(key, value)| format!("{key}={}", shown(value)));
        let name = if many { tags.collect::<Vec<_>>().join(" ") } else { String::new() };
        evidence.netns = netns(&source);
        evidence.unknown.extend(left_out.iter().cloned());
        (name, evidence)
    });
    Ok(named.collect())
}

/// Reads all sources of some files.
pub(super) fn read(files: &[PathBuf]) -> anyhow::Result<Vec<(SourceReport, Evidence)>> {
    let (mut catalog, mut tally) = (Catalog::default(), ReadCounts::default());
    let options = Options { window: WINDOW, bursts: 0, drawn: false };
    let mut aggregator = Aggregator::new(options);
    let mut followed = Followed::default();
    recording::read(files, &mut catalog, &mut tally, &mut |catalog, row| {
        followed.push(catalog, &row);
        aggregator.push(catalog, row);
    });
    for why in tally.unreadable.iter().chain(&tally.first_bad_line) {
        log::warn!("{why}");
    }
    let sources = aggregator.finish(tally).sources;
    let evidence = sources.into_iter().map(|source| {
        let mut evidence = of_source(&source);
        evidence.is_any_above_zero = Some(followed.is_any_above_zero(&catalog, &source));
        (source, evidence)
    });
    Ok(evidence.collect())
}

/// Returns the highest rate of a counter.
fn busiest(counter: &Counter) -> Option<(String, f64)> {
    Some((counter.name.clone(), counter.per_second?.max))
}

/// Returns what the rows show of `found` for each failure.
fn found_for_failures(source: &SourceReport) -> FoundForFailures {
    let fit = source.found.fit();
    FoundForFailures {
        rows: source.found.failing_rows(),
        lowest: source.found.lowest(),
        brought: fit.map(|fit| (fit.low, fit.high)),
        background: fit.map_or(0.0, |fit| fit.per_second),
    }
}

/// The namespace that the rows name; commands on that host need it.
fn netns(source: &SourceReport) -> Netns {
    let tag = source.tags.iter().find(|(key, _)| key == "netns");
    tag.and_then(|(_, value)| value.parse().ok()).unwrap_or_default()
}

/// Returns the INVALID packets by reason, where rows have them.
fn reasons(source: &SourceReport) -> Option<BTreeMap<String, u64>> {
    let is_of = |report: &&LabelledReport| report.measurement == INVALID_PACKETS.name;
    let report = source.labelled.iter().find(is_of)?;
    let [_, label] = INVALID_PACKETS.labels;
    let mut reasons = BTreeMap::new();
    for LabelledTotal { labels, total, .. } in report.totals.iter().filter(|it| it.total > 0.0) {
        let reason = labels.iter().find(|(name, _)| name == label);
        *reasons.entry(reason?.1.clone()).or_default() += *total as u64;
    }
    (!reasons.is_empty()).then_some(reasons)
}

/// Returns what a source's rows show.
fn of_source(source: &SourceReport) -> Evidence {
    let moved =
        source.counters.iter().filter_map(|counter| Some((counter.name.clone(), counter.total?)));
    let unmoved = source.unmoved.iter().map(|name| (name.clone(), 0.0));
    let partial_causes = partial_causes(source);
    let is_whole = |(name, _): &(String, f64)| !partial_causes.contains(&name.as_str());
    let fill = source.fill.as_ref();
    // The limit is that of the fullest moment, which may have been another one than now.
    let fullest = fill.and_then(|fill| fill.fullest);
    for change in fill.iter().flat_map(|fill| &fill.limit_changes) {
        let (from, to) = (number(change.from, 11), number(change.to, 11));
        let at = format!("{} {}", date(change.at_ns), time_of_day(change.at_ns, false));
        log::warn!(
            "nf_conntrack_max changed from {from} to {to} at {at} UTC: the table is judged by what \
             it was when it was fullest"
        );
    }
    // Rows of the table alone say nothing of losses.
    let (from_ns, to_ns) = source.counted_ns.unwrap_or((source.from_ns, source.to_ns));
    Evidence {
        seconds: to_ns.saturating_sub(from_ns) as f64 / 1e9,
        peak: fullest.map(|fullest| fullest.entries).or(fill.map(|fill| fill.peak)),
        max: fullest.map(|fullest| fullest.max).or(fill.and_then(|fill| fill.max)),
        under_other_limits: fill
            .filter(|fill| fill.limit_changed > 0)
            .and_then(|fill| Some((fill.peak, fill.max?))),
        counted: moved.chain(unmoved).filter(is_whole).collect(),
        samples: source.losses.samples_missed.map(|missed| Samples { missed, due: None }),
        busiest: source.counters.iter().filter_map(busiest).collect(),
        invalid: source.invalid,
        invalid_beside_new: source.invalid_beside_new,
        reasons: reasons(source),
        missing: (source.gaps.missing, source.gaps.missing + source.emissions),
        found_for_failures: found_for_failures(source),
        unknown: unknown(source),
        doubts: source.doubts.clone(),
        ..Evidence::default()
    }
}

/// The causes of drops that were counted in a part of the time, if many drops are of the other part: they say
/// nothing of those.
fn partial_causes(source: &SourceReport) -> Vec<&str> {
    let dropped = source.counters.iter().find(|counter| counter.name == DROP.name);
    let dropped = dropped.and_then(|counter| counter.total).unwrap_or(0.0);
    let without = source.drops_without_cause.unwrap_or(0.0);
    if without <= FEW_WITHOUT_CAUSE * dropped {
        return Vec::new();
    }
    let names = source.partly_counted.iter().flat_map(|part| &part.names).map(String::as_str);
    names.filter(|name| fields::causes().any(|cause| cause.name == *name)).collect()
}

/// The unknowns of the rows, a sentence each.
fn unknown(source: &SourceReport) -> Vec<String> {
    let gaps = &source.gaps;
    let mut reasons = source.unknown.clone();
    // The advice names all counters that it needs and no row has.
    reasons.retain(|reason| *reason != not_in_rows(DROP.name));
    if let (Some(part), false) = (source.partly_counted.first(), partial_causes(source).is_empty())
    {
        reasons.push(format!(
            "the causes of drops were counted for {} of {}, and {} of the packets have none",
            duration(part.seconds),
            duration(part.of_seconds),
            number(source.drops_without_cause.unwrap_or(0.0), 11)
        ));
    }
    let missing = gaps.missing as f64 / (gaps.missing + source.emissions).max(1) as f64;
    if missing > MISSING {
        reasons.push(format!(
            "{} of {} emissions are missing, and the fill of the table in these times",
            gaps.missing,
            gaps.missing + source.emissions
        ));
    }
    // A restart of ctpulse lets the counters of its probes begin again, and no others.
    let resets = gaps.kernel_resets.max(gaps.resets.saturating_sub(gaps.restarts));
    if resets > 0 {
        let s = if resets == 1 { "" } else { "s" };
        reasons.push(format!(
            "counters started again {resets} time{s}, and their last events before it are not in the \
             rows"
        ));
    }
    reasons
}
