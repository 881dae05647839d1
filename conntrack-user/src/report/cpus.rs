//! What each CPU did, from the `cpu=cpuN` rows.

use super::summary;

/// The counters that are followed on each CPU, and whether they count losses.
const FOLLOWED: [(&str, bool); 3] = [("drop", true), ("chaintoolong", true), ("insert", false)];
/// The most CPUs that a kernel can have (`NR_CPUS`).
const MOST: usize = 8192;

/// The place of a counter among those that are followed.
pub(super) fn followed(counter: &str) -> Option<usize> {
    FOLLOWED.iter().position(|(name, _)| *name == counter)
}

/// The number in `cpu7`.
pub(super) fn number(tag: &str) -> Option<usize> {
    let number = tag.strip_prefix("cpu")?.parse().ok()?;
    (number < MOST).then_some(number)
}

/// What was counted on the CPUs of one source.
#[derive(Debug, Default)]
pub(super) struct Cpus(Vec<Option<Cpu>>);

#[derive(Debug, Clone, Default)]
struct Cpu {
    last: [Option<f64>; FOLLOWED.len()],
    lost: f64,
    inserted: f64,
}

impl Cpus {
    /// Takes a counter of the CPU `number`; what was lost and what was inserted since the row
    /// before.
    pub(super) fn take(&mut self, number: usize, place: usize, value: f64) -> (f64, f64) {
        if self.0.len() <= number {
            self.0.resize(number + 1, None);
        }
        let cpu = self.0[number].get_or_insert_default();
        let events = cpu.last[place].map_or(0.0, |last| super::moment::events(last, value).0);
        cpu.last[place] = Some(value);
        let (lost, inserted) = if FOLLOWED[place].1 { (events, 0.0) } else { (0.0, events) };
        cpu.lost += lost;
        cpu.inserted += inserted;
        (lost, inserted)
    }

    /// Each CPU that has rows.
    pub(super) fn summary(&self) -> Vec<summary::Cpu> {
        let cpus = self.0.iter().enumerate().filter_map(|(cpu, seen)| Some((cpu, seen.as_ref()?)));
        cpus.map(|(cpu, seen)| summary::Cpu { cpu, lost: seen.lost, inserted: seen.inserted })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_and_insertions_are_told_apart() {
        let mut cpus = Cpus::default();
        for value in [10.0, 15.0, 2.0] {
            cpus.take(3, 0, value);
            cpus.take(3, 2, value * 10.0);
        }
        let found = cpus.summary();
        assert_eq!(found, [summary::Cpu { cpu: 3, lost: 7.0, inserted: 70.0 }]);
        assert_eq!((number("cpu12"), number("all"), number("cpu99999")), (Some(12), None, None));
    }
}
