//! Rows of INVALID packets by protocol and reason, with the packets that have none.

use std::time::Duration;

use super::labelled::LabelledRows;
use crate::accumulate::Window;
use crate::accumulate::unexplained::Unexplained;
use crate::metric::Metric;
use crate::schema::labelled::{ALL_PROTOCOLS, INVALID_PACKETS, LabelledNumber, UNEXPLAINED};

/// Makes these rows.
#[derive(Debug)]
pub(super) struct InvalidRows {
    rows: LabelledRows,
    unexplained: Unexplained,
    /// The attachment of the last rows.
    attachment: Option<u64>,
    /// The time of emissions without rows since the last ones.
    waited: Duration,
    /// Whether it was reported that more packets have a reason than the kernel has counted.
    has_warned: bool,
}

impl InvalidRows {
    pub(super) fn new() -> Self {
        Self {
            rows: LabelledRows::new(&INVALID_PACKETS),
            unexplained: Unexplained::default(),
            attachment: None,
            waited: Duration::ZERO,
            has_warned: false,
        }
    }

    /// Returns the rows of one emission: of the packets without a reason alone, and without a value,
    /// where nothing is known. `kernel` is the sum of the kernel's counters of INVALID packets.
    pub(super) fn rows(
        &mut self,
        window: &Window,
        kernel: Option<u64>,
        notice: &mut dyn FnMut(String),
    ) -> Vec<Metric> {
        let read = &window.invalid;
        if !read.is_known {
            self.waited += window.elapsed.unwrap_or_default();
            // Not kept for rates.
            let mut nothing = LabelledRows::new(&INVALID_PACKETS);
            return nothing.rows(&[unexplained(None)], None, window.timestamp_ns);
        }
        if self.attachment.replace(read.attachment) != Some(read.attachment) {
            self.rows.begin_again();
            self.has_warned = false;
        }
        let rest = kernel.map(|kernel| self.unexplained.take(read, kernel));
        let exceeding = rest.map_or(0, |rest| rest.exceeding);
        if exceeding > 0 && !self.has_warned {
            self.has_warned = true;
            notice(format!(
                "{exceeding} INVALID packets more have a reason than the kernel has counted, so the \
                 number of those with reason={UNEXPLAINED} is too low by as many, or 0"
            ));
        }
        let mut numbers = read.counts.clone();
        numbers.push(unexplained(rest.map(|rest| rest.packets)));
        let waited = std::mem::take(&mut self.waited);
        let elapsed = window.elapsed.map(|elapsed| elapsed + waited);
        self.rows.rows(&numbers, elapsed, window.timestamp_ns)
    }
}

fn unexplained(number: Option<u64>) -> LabelledNumber {
    LabelledNumber { labels: [ALL_PROTOCOLS.into(), UNEXPLAINED.into()], number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accumulate::unexplained::InvalidPackets;
    use crate::metric::Value;

    fn window(attachment: u64, packets: u64, seconds: Option<u64>) -> Window {
        let labels = ["tcp".into(), "checksum".into()];
        let counts = vec![LabelledNumber { labels, number: Some(packets) }];
        let (before, after) = (packets, packets);
        Window {
            invalid: InvalidPackets { is_known: true, attachment, before, after, counts },
            elapsed: seconds.map(Duration::from_secs),
            timestamp_ns: 7,
            ..Window::default()
        }
    }

    fn rows(invalid: &mut InvalidRows, window: &Window, kernel: Option<u64>) -> Vec<Metric> {
        invalid.rows(window, kernel, &mut |notice| panic!("{notice}"))
    }

    /// The number and the rate of each row, by its reason.
    fn numbers(rows: &[Metric]) -> Vec<(&str, Value, Value)> {
        let field = |row: &Metric, name| row.field(name).unwrap();
        rows.iter()
            .map(|row| {
                (row.tag("reason").unwrap(), field(row, "packets"), field(row, "packets_rate"))
            })
            .collect()
    }

    #[test]
    fn a_row_has_protocol_reason_packets_and_rate() {
        let mut invalid = InvalidRows::new();
        let first = rows(&mut invalid, &window(0, 4, None), Some(100));
        let (unknown, number) = (Value::Unknown, Value::Integer);
        assert_eq!(
            numbers(&first),
            [("checksum", number(4), unknown), ("unexplained", number(0), unknown)]
        );
        assert_eq!((first[0].name.as_str(), first[0].timestamp_ns), ("conntrack_invalid", 7));
        assert_eq!(
            (first[0].tag("protocol"), first[1].tag("protocol")),
            (Some("tcp"), Some("all"))
        );
        let second = rows(&mut invalid, &window(0, 10, Some(2)), Some(108));
        let rate = Value::Float;
        assert_eq!(
            numbers(&second),
            [("checksum", number(10), rate(3.0)), ("unexplained", number(2), rate(1.0))]
        );
    }

    #[test]
    fn a_reason_that_is_met_later_has_a_rate_at_once() {
        let mut invalid = InvalidRows::new();
        let mut none = window(0, 0, None);
        none.invalid.counts.clear();
        rows(&mut invalid, &none, Some(100));
        let found = rows(&mut invalid, &window(0, 6, Some(2)), Some(106));
        assert_eq!(numbers(&found)[0], ("checksum", Value::Integer(6), Value::Float(3.0)));
    }

    /// The rate after an emission without a sample is over the whole time.
    #[test]
    fn without_probes_there_is_one_row_without_a_value() {
        let mut invalid = InvalidRows::new();
        let nothing = Window { elapsed: Some(Duration::from_secs(1)), ..Window::default() };
        let unknown = [("unexplained", Value::Unknown, Value::Unknown)];
        assert_eq!(numbers(&rows(&mut invalid, &nothing, Some(9))), unknown);
        rows(&mut invalid, &window(0, 4, None), Some(100));
        assert_eq!(numbers(&rows(&mut invalid, &nothing, None)), unknown);
        let next = rows(&mut invalid, &window(0, 10, Some(2)), Some(106));
        assert_eq!(numbers(&next)[0], ("checksum", Value::Integer(10), Value::Float(2.0)));
        // Attached again.
        let again = rows(&mut invalid, &window(1, 20, Some(2)), Some(110));
        assert_eq!(numbers(&again)[0], ("checksum", Value::Integer(20), Value::Unknown));
    }

    #[test]
    fn an_unknown_counter_of_the_kernel_makes_the_rest_unknown() {
        let found = rows(&mut InvalidRows::new(), &window(0, 4, None), None);
        assert_eq!(numbers(&found)[1], ("unexplained", Value::Unknown, Value::Unknown));
        assert_eq!(numbers(&found)[0].1, Value::Integer(4));
    }

    /// A rest that was not known made a rate of all packets since the attachment.
    #[test]
    fn the_rest_has_no_rate_after_it_was_unknown() {
        let mut invalid = InvalidRows::new();
        rows(&mut invalid, &window(0, 4, None), Some(100));
        rows(&mut invalid, &window(0, 4, Some(2)), Some(500));
        rows(&mut invalid, &window(0, 4, Some(2)), None);
        let found = rows(&mut invalid, &window(0, 6, Some(2)), Some(502));
        assert_eq!(numbers(&found)[1], ("unexplained", Value::Integer(400), Value::Unknown));
        assert_eq!(numbers(&found)[0].2, Value::Float(1.0));
    }

    #[test]
    fn more_reasons_than_packets_are_reported_once() {
        let mut invalid = InvalidRows::new();
        let mut notices = Vec::new();
        for packets in [0, 5, 5, 6, 6] {
            let window = window(0, packets, Some(1));
            let found = invalid.rows(&window, Some(100), &mut |notice| notices.push(notice));
            assert_eq!(numbers(&found)[1].1, Value::Integer(0));
        }
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].starts_with("5 INVALID packets more"), "{notices:?}");
    }
}
