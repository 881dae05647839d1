//! Peaks in the rows of single CPUs, where no row has those of all: the peak of all CPUs is at least as
//! high as the highest of one.

use super::super::fields::Meaning;
use super::super::rates::FEW;
use super::super::summary::Peak;
use super::SourceAccumulator;

/// The highest peak of a single CPU, by counter.
#[derive(Debug, Default)]
pub(super) struct CpuPeaks(Vec<Option<Peak>>);

impl CpuPeaks {
    /// Takes a row.
    fn take(&mut self, time_ns: i64, values: &(impl Iterator<Item = (Meaning, f64)> + Clone)) {
        for (meaning, rate) in values.clone() {
            let Meaning::Peak(at) = meaning else { continue };
            if rate == 0.0 {
                continue;
            }
            if self.0.len() <= at {
                self.0.resize(at + 1, None);
            }
            if self.0[at].is_none_or(|highest| rate > highest.rate) {
                let of_sample =
                    |(meaning, events)| (meaning == Meaning::SampleMax(at)).then_some(events);
                let few_events = values.clone().find_map(of_sample).filter(|events| *events < FEW);
                self.0[at] = Some(Peak { rate, at_ns: time_ns, few_events, is_least: true });
            }
        }
    }
}

impl SourceAccumulator {
    /// Takes the peaks of a row of a CPU, if no row has those of all.
    pub(in crate::report) fn peaks_of_a_cpu(
        &mut self,
        time_ns: i64,
        values: &(impl Iterator<Item = (Meaning, f64)> + Clone),
    ) {
        if self.statistics.emissions() == 0 {
            self.cpu_peaks.take(time_ns, values);
        }
    }

    /// Counts the peaks of single CPUs where there are no others.
    pub(super) fn take_cpu_peaks(&mut self) {
        if self.has_peaks {
            return;
        }
        for (counter, peak) in self.counters.iter_mut().zip(&self.cpu_peaks.0) {
            if let Some(peak) = *peak {
                counter.rates.take_least(peak);
            }
        }
    }
}
