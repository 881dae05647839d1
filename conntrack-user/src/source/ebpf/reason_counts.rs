//! INVALID packets of one namespace by protocol and reason: a bounded set of labels.

use std::collections::HashMap;

use super::invalid::Text;
use super::invalid_reason::{Judgement, judge};
use crate::schema::labelled::{ALL_PROTOCOLS, LabelledNumber, OTHER};
use crate::text::connection::protocol_name;

/// The most combinations of protocol and reason that are kept apart. Kernels from 5.10 to 7.3 have
/// fewer than 40 texts.
pub const MOST_REASONS: usize = 64;

/// The longest text that is a label, in characters. A kernel's text is shorter, unless it is cut off.
const LONGEST_LABEL: usize = 64;

/// A text of the kernel by its address, and the protocol of its packets.
pub type TextOfProtocol = (u64, u32);

/// Packets by protocol and reason.
///
/// Nothing is allocated for texts and protocols that were met before.
#[derive(Debug, Clone, Default)]
pub struct ReasonCounts {
    /// The place in `counts`; `None` for calls that are not for INVALID packets.
    places: HashMap<TextOfProtocol, Option<usize>>,
    counts: Vec<LabelledNumber>,
    explained: u64,
}

impl ReasonCounts {
    /// Begins a new reading.
    pub fn clear(&mut self) {
        self.explained = 0;
        self.counts.iter_mut().for_each(|count| count.number = Some(0));
    }

    /// Adds calls to this reading; `text` reads a text that was not met before.
    pub fn add(&mut self, key: TextOfProtocol, calls: u64, text: impl FnOnce() -> Text) {
        if calls == 0 {
            return;
        }
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => {
                let place = self.place(&text(), key.1);
                self.places.insert(key, place);
                place
            }
        };
        if let Some(count) = place.and_then(|place| self.counts.get_mut(place)) {
            count.number = count.number.map(|number| number + calls);
            self.explained += calls;
        }
    }

    /// The packets of each protocol and reason that has any.
    #[must_use]
    pub fn counts(&self) -> &[LabelledNumber] {
        &self.counts
    }

    /// All of them together.
    #[must_use]
    pub fn explained(&self) -> u64 {
        self.explained
    }

    /// Returns the place of a reason, which is made where there is room.
    fn place(&mut self, text: &Text, protocol: u32) -> Option<usize> {
        let Judgement::Invalid(reason) = judge(text) else { return None };
        let reason: String = reason.chars().take(LONGEST_LABEL).collect();
        let protocol = u8::try_from(protocol).map_or(protocol.to_string(), protocol_name);
        let known = self.find(&protocol, &reason);
        let has_room = self.counts.len() + 1 < MOST_REASONS;
        Some(known.unwrap_or_else(|| match has_room {
            true => self.push(&protocol, &reason),
            false => {
                self.find(ALL_PROTOCOLS, OTHER).unwrap_or_else(|| self.push(ALL_PROTOCOLS, OTHER))
            }
        }))
    }

    fn find(&self, protocol: &str, reason: &str) -> Option<usize> {
        self.counts.iter().position(|count| {
            let [of_protocol, of_reason] = &count.labels;
            **of_protocol == *protocol && **of_reason == *reason
        })
    }

    fn push(&mut self, protocol: &str, reason: &str) -> usize {
        let labels = [protocol.into(), reason.into()];
        self.counts.push(LabelledNumber { labels, number: Some(0) });
        self.counts.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str) -> Text {
        Text::Known(text.into())
    }

    fn counted(counts: &ReasonCounts) -> Vec<(String, u64)> {
        let name = |count: &LabelledNumber| count.labels.join(" ");
        counts.counts().iter().map(|count| (name(count), count.number.unwrap())).collect()
    }

    #[test]
    fn texts_of_one_reason_are_summed_and_accepted_packets_left_out() {
        let mut counts = ReasonCounts::default();
        for reading in 1..3 {
            counts.clear();
            counts.add((10, 6), 4, || known("short packet"));
            counts.add((11, 6), 3, || known("truncated packet"));
            counts.add((10, 17), 2, || known("short packet"));
            counts.add((12, 6), 5, || known("challenge-ack ignored"));
            counts.add((13, 6), 6, || known("lowered timeout to UNACK"));
            counts.add((14, 6), 0, || unreachable!());
            let expected = [("tcp truncated".to_owned(), 7), ("udp truncated".to_owned(), 2)];
            assert_eq!(counted(&counts), expected, "{reading}");
            assert_eq!(counts.explained(), 9);
        }
    }

    #[test]
    fn a_text_is_read_once() {
        let mut counts = ReasonCounts::default();
        counts.add((10, 6), 1, || known("odd %u"));
        counts.add((10, 6), 1, || unreachable!());
        assert_eq!(counted(&counts), [("tcp odd %u".to_owned(), 2)]);
    }

    #[test]
    fn a_long_text_is_cut_off() {
        let mut counts = ReasonCounts::default();
        for end in ["a", "b"] {
            let text = known(&("x".repeat(LONGEST_LABEL) + end));
            counts.add((u64::from(end.as_bytes()[0]), 6), 1, || text);
        }
        assert_eq!(counted(&counts), [(format!("tcp {}", "x".repeat(LONGEST_LABEL)), 2)]);
    }

    #[test]
    fn reasons_beyond_the_bound_are_counted_together() {
        let mut counts = ReasonCounts::default();
        for text in 0..100 {
            counts.add((text, 6), 1, || known(&format!("odd {text}")));
        }
        // A known reason still is itself.
        counts.add((3, 6), 1, || unreachable!());
        assert_eq!(counts.counts().len(), MOST_REASONS);
        let counted = counted(&counts);
        assert_eq!(counted[3], ("tcp odd 3".to_owned(), 2));
        assert_eq!(counted[MOST_REASONS - 1], ("all other".to_owned(), 100 - 63));
        assert_eq!(counts.explained(), 101);
    }
}
