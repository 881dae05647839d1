//! Whether the counters of a row go on from those before, and what the CPUs show where all of them leap.

use super::super::continuity::Lower;
use super::super::fields::CounterOrigin;
use super::super::leap::CpuLeap;
use super::super::moment::Moment;
use super::SourceAccumulator;

impl SourceAccumulator {
    /// Compares the values of a row with those before, and where all of them leap the CPUs.
    pub(super) fn take_continuity(
        &mut self,
        now: &Moment,
        time_ns: i64,
        lower: Lower,
        origins: &[CounterOrigin],
    ) {
        let is_of_ctpulse = self.is_of_ctpulse;
        let is_of_kernel = |origin: &CounterOrigin| {
            *origin != CounterOrigin::Unknown && !origin.is_of_probes(is_of_ctpulse)
        };
        let values = now.counters.iter().zip(origins);
        let values = values.map(|(reading, origin)| reading.value.filter(|_| is_of_kernel(origin)));
        self.continuity.take_entries(now.count.or(now.entries));
        if self.continuity.take(time_ns, values, lower) && self.cpus.count() > 0 {
            let are_of_kernel: Vec<_> = origins.iter().map(is_of_kernel).collect();
            self.continuity.take_cpus(CpuLeap::at(time_ns, &self.cpus, &are_of_kernel));
        }
    }
}
