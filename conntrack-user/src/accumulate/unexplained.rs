//! INVALID packets by reason beside the kernel's own counters, and the rest between both.
//!
//! The two cannot be read at the same moment. Packets with a reason are therefore read before and
//! after the kernel's counters. A probe counts a packet before the kernel does, so the kernel's growth
//! less what was read after it is a lower bound of the rest. The rest never falls, so the highest of
//! these bounds is one, too.

use crate::schema::labelled::LabelledNumber;

/// INVALID packets by protocol and reason since the probes were attached, as one emission has them.
#[derive(Debug, Clone, Default)]
pub struct InvalidPackets {
    /// Whether they were read, before and after the kernel's counters.
    pub is_known: bool,
    /// The number of the attachment: with another one all counters begin again.
    pub attachment: u64,
    /// Packets with a reason, read before the kernel's counters.
    pub before: u64,
    /// The same, read after them.
    pub after: u64,
    /// These by protocol and reason.
    pub counts: Vec<LabelledNumber>,
}

/// Follows the packets without a reason.
#[derive(Debug, Clone, Default)]
pub struct Unexplained {
    first: Option<First>,
    /// Packets with a reason that were read last.
    last_after: u64,
    highest: u64,
}

/// The first reading after an attachment.
#[derive(Debug, Clone, Copy)]
struct First {
    attachment: u64,
    kernel: u64,
    before: u64,
    after: u64,
}

/// The rest at one emission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// Packets without a reason since the first reading after the attachment.
    pub packets: u64,
    /// How many packets more have a reason than the kernel has counted.
    pub exceeding: u64,
}

impl Unexplained {
    /// Takes a reading, with the sum of the kernel's counters of INVALID packets.
    pub fn take(&mut self, read: &InvalidPackets, kernel: u64) -> Rest {
        let InvalidPackets { attachment, before, after, .. } = *read;
        let is_first = |first: &First| first.attachment != attachment || first.kernel > kernel;
        if self.first.as_ref().is_none_or(is_first) {
            self.first = Some(First { attachment, kernel, before, after });
            (self.highest, self.last_after) = (0, after);
        }
        let first = self.first.unwrap_or(First { attachment, kernel, before, after });
        let grown = kernel - first.kernel;
        let explained = after.saturating_sub(first.before);
        self.highest = self.highest.max(grown.saturating_sub(explained));
        // What had a reason at the last emission was counted by the kernel before this one.
        let counted_by_now = self.last_after.saturating_sub(first.after);
        self.last_after = after;
        Rest { packets: self.highest, exceeding: counted_by_now.saturating_sub(grown) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(attachment: u64, before: u64, after: u64) -> InvalidPackets {
        InvalidPackets { is_known: true, attachment, before, after, counts: Vec::new() }
    }

    fn rest(packets: u64) -> Rest {
        Rest { packets, exceeding: 0 }
    }

    #[test]
    fn the_rest_is_the_kernels_growth_without_what_has_a_reason() {
        let mut unexplained = Unexplained::default();
        assert_eq!(unexplained.take(&read(0, 5, 5), 1000), rest(0));
        assert_eq!(unexplained.take(&read(0, 8, 8), 1010), rest(7));
        assert_eq!(unexplained.take(&read(0, 20, 20), 1022), rest(7));
        assert_eq!(unexplained.take(&read(0, 20, 20), 1025), rest(10));
    }

    /// Packets that are counted while both are read make the rest neither too high nor fall.
    #[test]
    fn packets_between_the_reads_are_no_rest() {
        let mut unexplained = Unexplained::default();
        // 3 of 100 before the kernel was read at first.
        assert_eq!(unexplained.take(&read(0, 97, 105), 100), rest(0));
        assert_eq!(unexplained.take(&read(0, 198, 210), 202), rest(0));
        assert_eq!(unexplained.take(&read(0, 300, 300), 305), rest(2));
        assert_eq!(unexplained.take(&read(0, 400, 450), 405), rest(2));
    }

    #[test]
    fn more_reasons_than_packets_are_reported_and_no_number_wraps() {
        let mut unexplained = Unexplained::default();
        assert_eq!(unexplained.take(&read(0, 0, 0), 10), rest(0));
        // Perhaps counted between the reads.
        assert_eq!(unexplained.take(&read(0, 8, 8), 15), rest(0));
        assert_eq!(unexplained.take(&read(0, 8, 8), 15), Rest { packets: 0, exceeding: 3 });
        assert_eq!(unexplained.take(&read(0, 8, 8), 20), rest(2));
    }

    #[test]
    fn an_attachment_begins_again() {
        let mut unexplained = Unexplained::default();
        unexplained.take(&read(0, 0, 0), 10);
        assert_eq!(unexplained.take(&read(0, 1, 1), 15), rest(4));
        assert_eq!(unexplained.take(&read(1, 2, 2), 20), rest(0));
        assert_eq!(unexplained.take(&read(1, 3, 3), 22), rest(1));
        // A kernel whose counters began again.
        assert_eq!(unexplained.take(&read(1, 3, 3), 2), rest(0));
    }
}
