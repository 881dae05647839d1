//! What the rows of single CPUs show of a row in which the sums of all CPUs leap: a burst of packets leaves
//! some CPUs as they were, another source has other values on each of them.

use super::cpus::Cpus;

/// Counters of a CPU that stay and have so many events in all: those of another source are the same by chance
/// where they are low.
const STAYING: f64 = 8.0;
/// A counter leaps to so many times its value at least.
const TIMES: f64 = 2.0;
/// So many CPUs must leap, and all that counted before.
const FEWEST: usize = 2;

/// What the CPUs did in a row in which their sums leap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum CpuLeap {
    /// Nothing is known of that.
    #[default]
    Unknown,
    /// One of them stayed as it was.
    SomeStayed,
    /// Each of several did.
    AllLeapt,
}

impl CpuLeap {
    /// Judges the rows of about this time, if those are the last ones of all CPUs. `is_of_kernel` is for the
    /// numbers of the counters.
    #[cold]
    pub(super) fn at(time_ns: i64, cpus: &Cpus, is_of_kernel: &[bool]) -> Self {
        let near_ns = cpus.clock.reach().near_ns;
        let (mut leaping, mut others) = (0, 0);
        for cpu in cpus.numbers() {
            let counters = (0..is_of_kernel.len()).filter(|at| is_of_kernel[*at]);
            let steps = counters.filter_map(|at| cpus.track(cpu, at)?.last_step(time_ns, near_ns));
            let mut row = CpuRow::default();
            steps.for_each(|step| row.take(step));
            if row.staying >= STAYING {
                return Self::SomeStayed;
            }
            leaping += usize::from(row.has_leapt());
            others += usize::from(row.is_other());
        }
        if leaping >= FEWEST && others == 0 { Self::AllLeapt } else { Self::Unknown }
    }
}

/// The counters of one CPU.
#[derive(Debug, Default)]
struct CpuRow {
    values: usize,
    /// The values of those that stayed.
    staying: f64,
    /// Those that were above 0, and of these the ones that leapt.
    above_zero: usize,
    leaping: usize,
}

impl CpuRow {
    fn take(&mut self, (from, to): (f64, f64)) {
        self.values += 1;
        if from == to {
            self.staying += to;
        }
        if from > 0.0 {
            self.above_zero += 1;
            self.leaping += usize::from(to >= TIMES * from);
        }
    }

    fn has_leapt(&self) -> bool {
        self.above_zero > 0 && self.leaping == self.above_zero
    }

    /// Whether it is not known, or did something else. A CPU that counted nothing may do so in each source.
    fn is_other(&self) -> bool {
        self.values == 0 || self.leaping < self.above_zero
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counters of each CPU in front of the row and in it.
    fn judged(rows: &[&[(f64, f64)]]) -> CpuLeap {
        let (mut cpus, mut room) = (Cpus::default(), 1000);
        let reach = cpus.clock.reach();
        for at in 0..2 {
            for (cpu, steps) in rows.iter().enumerate() {
                let of_row = |(from, to): &(f64, f64)| if at == 0 { *from } else { *to };
                let values = steps.iter().map(of_row).enumerate();
                let time_ns = at * 1_000_000_000;
                cpus.take((cpu, time_ns), values, |_| (reach, true), &mut room, |_, _| {});
            }
        }
        CpuLeap::at(1_000_000_000, &cpus, &[true, true, false])
    }

    #[test]
    fn a_cpu_that_stayed_shows_a_burst() {
        let leap: &[(f64, f64)] = &[(20.0, 620.0), (0.0, 0.0)];
        assert_eq!(judged(&[leap, &[(20.0, 20.0), (0.0, 0.0)]]), CpuLeap::SomeStayed);
        assert_eq!(judged(&[leap, &[(20.0, 25.0), (9.0, 9.0)]]), CpuLeap::SomeStayed);
        assert_eq!(judged(&[leap, leap]), CpuLeap::AllLeapt);
        assert_eq!(judged(&[leap, leap, &[(0.0, 0.0)]]), CpuLeap::AllLeapt);
        // By chance, by themselves, alone, and where a counter is no kernel's.
        assert_eq!(judged(&[leap, leap, &[(3.0, 3.0), (2.0, 2.0)]]), CpuLeap::Unknown);
        assert_eq!(judged(&[leap, &[(20.0, 25.0)]]), CpuLeap::Unknown);
        assert_eq!(judged(&[leap]), CpuLeap::Unknown);
        assert_eq!(
            judged(&[leap, leap, &[(1.0, 9.0), (1.0, 9.0), (50.0, 50.0)]]),
            CpuLeap::AllLeapt
        );
    }
}
