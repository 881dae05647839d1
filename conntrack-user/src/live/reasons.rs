//! INVALID packets by protocol and reason, of one namespace.

use super::cpu_rates::number;
use crate::metric::Metric;
use crate::schema::labelled::{INVALID_PACKETS, UNEXPLAINED};

/// Reasons that are followed: a namespace has at most so many, and a recording may have other rows.
const MOST: usize = 64;

/// The packets of one protocol and reason.
#[derive(Debug, Clone, PartialEq)]
pub struct ReasonCount {
    /// The protocol; `all` where packets of any have this reason.
    pub protocol: String,
    /// The reason.
    pub reason: String,
    /// Packets per second by the last rows, where they have it.
    pub now: Option<f64>,
    /// Packets since the first row.
    pub in_all: f64,
    /// The counter in the last row that had it.
    last: Option<f64>,
}

/// The INVALID packets of a namespace, by the rows so far.
#[derive(Debug, Clone, Default)]
pub struct Reasons {
    counts: Vec<ReasonCount>,
    first_ns: Option<i64>,
    last_ns: Option<i64>,
}

impl Reasons {
    /// The reasons of any packet since the first row, the most frequent first.
    #[must_use]
    pub fn most_frequent(&self) -> Vec<&ReasonCount> {
        let mut counts: Vec<_> = self.counts.iter().filter(|count| count.in_all > 0.0).collect();
        counts.sort_by(|a, b| b.in_all.total_cmp(&a.in_all));
        counts
    }

    /// Takes a row of [`INVALID_PACKETS`]. Those of one emission have every reason there is.
    pub(super) fn take(&mut self, row: &Metric) {
        let time_ns = row.timestamp_ns;
        let first_ns = *self.first_ns.get_or_insert(time_ns);
        if self.last_ns.replace(time_ns) != Some(time_ns) {
            self.counts.iter_mut().for_each(|count| count.now = None);
        }
        let field = |name| row.field(name).and_then(number);
        let rate = INVALID_PACKETS.rate.and_then(field);
        let packets = field(INVALID_PACKETS.number.name);
        let Some(count) = self.place(row) else { return };
        count.now = rate;
        let Some(packets) = packets else { return };
        count.in_all += match count.last.replace(packets) {
            Some(last) if packets >= last => packets - last,
            // The probes were attached again.
            Some(_) => packets,
            None if time_ns > first_ns && count.reason != UNEXPLAINED => packets,
            None => 0.0,
        };
    }

    /// The place of a row's protocol and reason, which is made where there is room.
    fn place(&mut self, row: &Metric) -> Option<&mut ReasonCount> {
        let [protocol, reason] = INVALID_PACKETS.labels.map(|label| row.tag(label));
        let (protocol, reason) = (protocol?, reason?);
        let is_it = |count: &ReasonCount| count.protocol == protocol && count.reason == reason;
        if let Some(at) = self.counts.iter().position(is_it) {
            return self.counts.get_mut(at);
        }
        if self.counts.len() == MOST {
            return None;
        }
        self.counts.push(ReasonCount {
            protocol: protocol.to_owned(),
            reason: reason.to_owned(),
            now: None,
            in_all: 0.0,
            last: None,
        });
        self.counts.last_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Value;

    fn row(second: i64, reason: &str, packets: u64, rate: Option<f64>) -> Metric {
        let mut fields = vec![("packets".into(), Value::Integer(packets))];
        fields.extend(rate.map(|rate| ("packets_rate".into(), Value::Float(rate))));
        let name = INVALID_PACKETS.name.to_owned();
        let mut row = Metric { name, tags: Vec::new(), fields, timestamp_ns: second };
        row.add_tag(&"protocol".into(), "tcp");
        row.add_tag(&"reason".into(), reason);
        row
    }

    fn shown(reasons: &Reasons) -> Vec<(&str, Option<f64>, f64)> {
        let counts = reasons.most_frequent();
        counts.iter().map(|count| (&*count.reason, count.now, count.in_all)).collect()
    }

    #[test]
    fn packets_are_counted_from_the_first_row() {
        let mut reasons = Reasons::default();
        reasons.take(&row(1, "checksum", 100, None));
        assert!(reasons.most_frequent().is_empty());
        reasons.take(&row(2, "checksum", 104, Some(4.0)));
        // A reason that comes later began with 0.
        reasons.take(&row(2, "tcp_state", 9, Some(9.0)));
        assert_eq!(shown(&reasons), [("tcp_state", Some(9.0), 9.0), ("checksum", Some(4.0), 4.0)]);
        // Rows may begin without the packets that have no reason.
        reasons.take(&row(2, "unexplained", 500, None));
        assert_eq!(reasons.most_frequent().len(), 2);
        // Attached again, and not every reason has come yet.
        reasons.take(&row(3, "checksum", 7, None));
        assert_eq!(shown(&reasons), [("checksum", None, 11.0), ("tcp_state", None, 9.0)]);
    }

    #[test]
    fn the_number_of_reasons_is_bounded() {
        let mut reasons = Reasons::default();
        for reason in 0..100 {
            reasons.take(&row(reason, &reason.to_string(), 1, None));
        }
        assert_eq!(reasons.counts.len(), MOST);
    }
}
