//! Rates in the words that the panels use.

use crate::live::namespace::Reading;
use crate::text::human;

/// A rate in at most `width` characters; `-` where it is not known.
pub(super) fn rate(value: Option<f64>, width: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| human::number(value, width))
}

/// A few events in one sample, in at most six characters: `1/10ms`, `3/.25s`.
pub(super) fn few(events: u8, sample_seconds: Option<f64>) -> String {
    let length = match sample_seconds {
        None => return format!("{events} ev"),
        Some(s) if s < 0.0995 => format!("{:.0}ms", s * 1000.0),
        Some(s) if s < 0.995 => format!("{s:.2}").trim_matches('0').to_owned() + "s",
        Some(s) => format!("{s:.0}s"),
    };
    format!("{events}/{length}")
}

/// The same of a counter's present reading.
pub(super) fn reading(value: Reading, width: usize) -> String {
    match value {
        Reading::Rate(value) => human::number(value, width),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_events_have_the_length_of_their_sample() {
        let lengths = [None, Some(0.001), Some(0.01), Some(0.1), Some(0.25), Some(1.0), Some(10.0)];
        let texts = lengths.map(|length| few(9, length));
        assert_eq!(texts, ["9 ev", "9/1ms", "9/10ms", "9/.1s", "9/.25s", "9/1s", "9/10s"]);
    }
}
