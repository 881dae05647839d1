//! The exact totals of drops, independent of the number of printed reports.

use conntrack_ebpf::Cause;

use super::cause_words;
use crate::source::ebpf::drops::Unreported;

/// By cause, in the order of [`Cause::ALL`].
pub type ByCause = [u64; Cause::ALL.len()];

/// The counters by cause, and the number of reports of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Counted in the kernel: exact.
    pub counted: ByCause,
    /// Shown one by one.
    pub shown: ByCause,
    /// Shown without their connection, which could not be read.
    pub unknown: ByCause,
    /// Not shown since they were too many, or since there was no room.
    pub unreported: Unreported,
}

impl Totals {
    /// A line for each cause that there was, such as `1,234 table full (1,000 shown, 234 left
    /// out)`; nothing if there was none.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |cause: &Cause| {
            let at = *cause as usize;
            let (counted, shown) = (self.counted[at], self.shown[at]);
            let (left_out, lost) = (self.unreported.left_out[at], self.unreported.lost[at]);
            if counted + shown + left_out + lost == 0 {
                return None;
            }
            let mut parts = vec![format!("{shown} shown")];
            if self.unknown[at] > 0 {
                parts.push(format!("{} of them without their connection", self.unknown[at]));
            }
            for (number, what) in [(left_out, "left out by --limit"), (lost, "lost in a full ring")]
            {
                if number > 0 {
                    parts.push(format!("{number} {what}"));
                }
            }
            Some(format!("{counted} {} ({})", cause_words(*cause), parts.join(", ")))
        };
        Cause::ALL.iter().filter_map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreported_drops_are_in_the_totals() {
        let mut totals = Totals::default();
        assert!(totals.lines().is_empty());
        totals.counted[0] = 1234;
        totals.shown[0] = 1000;
        totals.unreported.left_out[0] = 230;
        totals.unreported.lost[0] = 4;
        totals.counted[3] = 2;
        totals.shown[3] = 2;
        totals.unknown[3] = 1;
        assert_eq!(
            totals.lines(),
            [
                "1234 table full (1000 shown, 230 left out by --limit, 4 lost in a full ring)",
                "2 lost a race (2 shown, 1 of them without their connection)",
            ]
        );
    }
}
