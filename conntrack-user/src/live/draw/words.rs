//! Times, rates and dates in the words that the panels use.

use crate::live::namespace::Reading;
use crate::text::human;

/// A duration in at most six characters: `1.2 s`, `45 s`, `12 min`, `3.5 h`, `20 d`.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 9.95 => format!("{s:.1} s").replace(".0 s", " s"),
        s if s < 119.5 => format!("{s:.0} s"),
        s if s < 119.5 * 60.0 => format!("{:.0} min", s / 60.0),
        s if s < 47.95 * 3600.0 => format!("{:.0} h", s / 3600.0),
        s if s < 999.5 * 86400.0 => format!("{:.0} d", s / 86400.0),
        _ => "years".to_owned(),
    }
}

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
        Reading::Unknown | Reading::NotCounted | Reading::Absent => "-".to_owned(),
    }
}

/// The day in UTC, as `2026-11-25`.
pub(super) fn day(timestamp_ns: i64) -> String {
    // Days since 1970 to a date of the Gregorian calendar, counted from the 1st of March 0000.
    let days = timestamp_ns.div_euclid(86_400_000_000_000) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + carry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let expected = [
            (0.25, "250 ms"),
            (1.0, "1 s"),
            (2.5, "2.5 s"),
            (9.96, "10 s"),
            (84.0, "84 s"),
            (300.0, "5 min"),
            (10_000.0, "3 h"),
            (1e6, "12 d"),
            (1e12, "years"),
        ];
        for (seconds, text) in expected {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn a_few_events_have_the_length_of_their_sample() {
        let lengths = [None, Some(0.001), Some(0.01), Some(0.1), Some(0.25), Some(1.0), Some(10.0)];
        let texts = lengths.map(|length| few(9, length));
        assert_eq!(texts, ["9 ev", "9/1ms", "9/10ms", "9/.1s", "9/.25s", "9/1s", "9/10s"]);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let expected =
            [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_795_571_392, "2026-11-25")];
        for (seconds, text) in expected {
            assert_eq!(day(seconds * 1_000_000_000), text);
        }
    }
}
