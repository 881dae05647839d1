//! The busiest of the CPUs.

use std::fmt::Write as _;

use super::super::summary::{Cpu, SourceReport};
use super::count;
use crate::schema::field::{CpuTrack, Field};
use crate::schema::fields::{DROP, FIELDS, INSERT};
use crate::text::human::{number, percent};

/// The share that rows of CPUs may lack of the events by the rows with their sum: they may begin or
/// end with another row.
const LACKING: f64 = 0.02;
/// Runs of CPUs that a line lists.
const MOST_RUNS: usize = 4;

/// The CPUs that the counters are the sum of.
pub(super) fn summed(cpus: &[Cpu]) -> String {
    let runs = cpus.chunk_by(|a, b| b.cpu == a.cpu + 1);
    let mut listed: Vec<_> = runs
        .map(|run| match run {
            [first, .., last] => format!("cpu{} to cpu{}", first.cpu, last.cpu),
            [first] => format!("cpu{}", first.cpu),
            [] => String::new(),
        })
        .collect();
    if listed.len() > MOST_RUNS {
        listed.truncate(MOST_RUNS);
        listed.push("others".to_owned());
    }
    format!("the sum of {}, as no row has that of all CPUs (cpu=all)", listed.join(", "))
}

/// The line about the CPUs.
pub(super) fn cpus(source: &SourceReport, out: &mut String) {
    if source.cpus.is_empty() {
        return;
    }
    let _ = write!(out, "\n{}:", count(source.cpus.len() as f64, "CPU"));
    let mut has_share = false;
    for (what, shown, of) in [
        ("packets lost", CpuTrack::Lost, (|cpu| cpu.lost) as fn(&Cpu) -> f64),
        ("entries inserted", CpuTrack::Inserted, |cpu| cpu.inserted),
    ] {
        let Some(share) = share(source, what, shown, of) else { continue };
        let comma = if has_share { ";" } else { "" };
        let _ = write!(out, "{comma} {share}");
        has_share = true;
    }
    if !has_share {
        out.push_str(if source.is_counted(DROP.name) {
            " nothing lost"
        } else {
            " losses not counted"
        });
    }
    if !source.is_counted(INSERT.name) {
        out.push_str(if has_share {
            "; insertions not counted"
        } else {
            ", insertions not counted"
        });
    } else if !has_share {
        out.push_str(", nothing inserted");
    }
    out.push('\n');
}

/// Returns the share of the busiest CPU in all events, and how many of these rows of CPUs have.
fn share(
    source: &SourceReport,
    what: &str,
    shown: CpuTrack,
    of: fn(&Cpu) -> f64,
) -> Option<String> {
    let sum: f64 = source.cpus.iter().map(of).sum();
    let busiest = source.cpus.iter().max_by(|a, b| of(a).total_cmp(&of(b)))?;
    let whole = whole(source, shown);
    let (lacks, all) = (sum < (1.0 - LACKING) * whole, sum.max(whole));
    if all == 0.0 {
        return None;
    }
    if sum == 0.0 {
        return lacks.then(|| format!("none of {} {what} is in their rows", number(all, 15)));
    }
    let share = percent(of(busiest) / all * 100.0);
    let seen = if lacks {
        let [sum, all] = [sum, all].map(|events| number(events, 15));
        format!(" ({sum} of {all} are in rows of CPUs)")
    } else {
        String::new()
    };
    Some(format!("{share} of the {what} on cpu{}{seen}", busiest.cpu))
}

/// Returns the events of all CPUs together.
fn whole(source: &SourceReport, shown: CpuTrack) -> f64 {
    let is_shown = |name: &str| {
        let is_of = |field: &Field| field.name == name && field.per_cpu == Some(shown);
        FIELDS.iter().any(is_of)
    };
    let counters = source.counters.iter().filter(|counter| is_shown(&counter.name));
    counters.filter_map(|counter| counter.total).sum()
}
