//! The totals of INVALID packets by reason, and the kernel's own counters.

use std::collections::BTreeMap;

use crate::source::ebpf::invalid::{InvalidCount, UnreportedInvalid};
use crate::source::ebpf::invalid_reason::{Judgement, judge};
use crate::text::connection::{is_icmp, protocol_name};
use crate::text::sanitize::shown;

/// The kernel's counters of INVALID packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelCounters {
    /// `invalid`.
    pub invalid: u64,
    /// `icmp_error`.
    pub icmp_error: u64,
}

impl KernelCounters {
    /// The sums of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            invalid: self.invalid + other.invalid,
            icmp_error: self.icmp_error + other.icmp_error,
        }
    }
}

/// Calls by their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Calls {
    /// Packets by reason and protocol.
    invalid: BTreeMap<(String, String), u64>,
    accepted: u64,
    second: u64,
    /// The packets with a reason that each of the kernel's counters has.
    explained: KernelCounters,
}

impl Calls {
    fn new(counts: &[InvalidCount]) -> Self {
        let mut calls = Self::default();
        for count in counts.iter().filter(|count| count.calls > 0) {
            match judge(&count.text) {
                Judgement::Accepted => calls.accepted += count.calls,
                Judgement::SecondMessage => calls.second += count.calls,
                Judgement::Invalid(reason) => {
                    let key = (reason.into_owned(), protocol_name(count.protocol));
                    *calls.invalid.entry(key).or_default() += count.calls;
                    // Every text of ICMP is of a packet that `nf_conntrack_icmpv4_error` refuses, or
                    // the same of ICMPv6.
                    let counter = match is_icmp(count.protocol) {
                        true => &mut calls.explained.icmp_error,
                        false => &mut calls.explained.invalid,
                    };
                    *counter += count.calls;
                }
            }
        }
        calls
    }
}

/// The totals of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// The programs' counters.
    pub counts: Vec<InvalidCount>,
    /// Packets that were shown.
    pub shown: u64,
    /// Calls without a report.
    pub unreported: UnreportedInvalid,
    /// The events of the kernel's counters during the run; `None` where they could not be read.
    pub kernel: Option<KernelCounters>,
}

impl Totals {
    /// Returns a line for each reason, such as `12 checksum (udp 7, tcp 5)`, and the comparison with the
    /// kernel's counters.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let calls = Calls::new(&self.counts);
        let mut lines = reasons(&calls.invalid);
        if calls.accepted + calls.second > 0 {
            lines.push(format!(
                "not printed: accepted packets {}, second messages about a packet {}",
                calls.accepted, calls.second
            ));
        }
        lines.extend(self.unreported());
        match self.kernel {
            Some(KernelCounters { invalid, icmp_error }) => {
                lines.push(compared("invalid", invalid, calls.explained.invalid));
                lines.push(compared("icmp_error", icmp_error, calls.explained.icmp_error));
            }
            None => lines.push(
                "the kernel's own counters could not be read, so it is not known whether there were more"
                    .to_owned(),
            ),
        }
        lines
    }

    /// Returns a line if some calls have no report or no counter.
    fn unreported(&self) -> Option<String> {
        let UnreportedInvalid { left_out, lost, uncounted } = self.unreported;
        let parts = [
            (left_out, "left out by --limit"),
            (lost, "lost in a full ring"),
            (uncounted, "in no counter, as there were too many"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, text)| format!("{number} {text}"))
            .collect();
        (!parts.is_empty()).then(|| format!("{} shown, {}", self.shown, parts.join(", ")))
    }
}

/// Returns a line for each reason, the most frequent first.
fn reasons(packets: &BTreeMap<(String, String), u64>) -> Vec<String> {
    let mut reasons: BTreeMap<&str, OfReason<'_>> = BTreeMap::new();
    for ((reason, protocol), count) in packets {
        let of_reason = reasons.entry(reason).or_default();
        of_reason.packets += count;
        of_reason.protocols.push((*count, protocol));
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    // The same order for the same numbers.
    reasons.sort_by(|a, b| b.1.packets.cmp(&a.1.packets).then(a.0.cmp(b.0)));
    reasons.into_iter().map(|(reason, of_reason)| of_reason.line(reason)).collect()
}

/// The packets of one reason.
#[derive(Default)]
struct OfReason<'a> {
    packets: u64,
    /// Those of each protocol, with its name.
    protocols: Vec<(u64, &'a str)>,
}

impl OfReason<'_> {
    fn line(mut self, reason: &str) -> String {
        self.protocols.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let protocols: Vec<String> =
            self.protocols.iter().map(|(count, protocol)| format!("{protocol} {count}")).collect();
        format!("{} {} ({})", self.packets, shown(reason), protocols.join(", "))
    }
}

/// Compares a counter of the kernel with the packets that have a reason.
fn compared(counter: &str, counted: u64, explained: u64) -> String {
    match counted.checked_sub(explained) {
        Some(rest) => format!("{counter} {counted}: {explained} with a reason, unexplained {rest}"),
        None => format!(
            "{counter} {counted}: {explained} with a reason, {} more than the kernel counted",
            explained - counted
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ebpf::invalid::Text;

    fn count(text: &str, protocol: u8, calls: u64) -> InvalidCount {
        InvalidCount { text: Text::Known(text.into()), inode: 5, protocol, calls }
    }

    fn totals() -> Totals {
        let first = InvalidCount { text: Text::None, ..count("", 6, 4) };
        Totals {
            counts: vec![
                count("bad checksum", 17, 3),
                count("bad checksum", 6, 2),
                count("invalid new", 6, 5),
                first,
                count("bad hw icmp checksum", 1, 1),
                count("challenge-ack ignored", 6, 7),
                count("lowered timeout to UNACK", 6, 1),
                count("invalid rst", 6, 0),
            ],
            shown: 15,
            unreported: UnreportedInvalid::default(),
            kernel: Some(KernelCounters { invalid: 17, icmp_error: 1 }),
        }
    }

    #[test]
    fn reasons_are_summed_and_compared_with_the_kernel() {
        assert_eq!(
            totals().lines(),
            [
                "9 no_connection (tcp 9)",
                "6 checksum (udp 3, tcp 2, icmp 1)",
                "not printed: accepted packets 7, second messages about a packet 1",
                "invalid 17: 14 with a reason, unexplained 3",
                "icmp_error 1: 1 with a reason, unexplained 0",
            ]
        );
    }

    #[test]
    fn a_rest_below_zero_is_printed() {
        let kernel = Some(KernelCounters { invalid: 13, icmp_error: 0 });
        let lines = Totals { kernel, ..totals() }.lines();
        assert_eq!(
            lines[3..],
            [
                "invalid 13: 14 with a reason, 1 more than the kernel counted",
                "icmp_error 0: 1 with a reason, 1 more than the kernel counted",
            ]
        );
        let lines = Totals { kernel: None, ..totals() }.lines();
        assert!(lines[3].contains("could not be read"), "{lines:?}");
    }

    #[test]
    fn packets_without_a_report_are_printed() {
        let unreported = UnreportedInvalid { left_out: 2, lost: 0, uncounted: 1 };
        let lines = Totals { unreported, ..totals() }.lines();
        assert_eq!(
            lines[3],
            "15 shown, 2 left out by --limit, 1 in no counter, as there were too many"
        );
    }
}
