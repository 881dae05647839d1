//! Timestamps in the units and notations that recordings have them in.

/// 2000-01-01 and 2100-01-01, in seconds since 1970.
const YEARS: std::ops::Range<u64> = 946_684_800..4_102_444_800;

/// The same in nanoseconds.
const CENTURY_NS: std::ops::Range<i64> =
    YEARS.start as i64 * 1_000_000_000..YEARS.end as i64 * 1_000_000_000;

/// 2015-01-01 and 2040-01-01.
const TODAY_NS: std::ops::Range<i64> = 1_420_070_400_000_000_000..2_208_988_800_000_000_000;

const DAY_NS: u64 = 86_400_000_000_000;

/// The times that are read, in nanoseconds: those from 1900 to 2149. The difference of two of them has room
/// in 64 bits.
const READ_NS: std::ops::Range<i64> = -2_208_988_800_000_000_000..5_680_281_600_000_000_000;

/// Returns a time since 1970 with a fraction in the unit with which it is in this century.
pub(super) fn nanoseconds_of_fraction(time: f64) -> Option<i64> {
    let unit_ns = unit_ns(time.abs() as u64);
    let whole = (time.abs() < i64::MAX as f64).then_some(time.trunc() as i64)?;
    // The product of the two would lose the last digits.
    let time_ns =
        whole.checked_mul(unit_ns)?.checked_add((time.fract() * unit_ns as f64).round() as i64);
    time_ns.filter(|time_ns| READ_NS.contains(time_ns))
}

/// The unit of the times of one file, which have no other sign of it than their size.
#[derive(Debug, Default)]
pub(super) struct Units {
    /// The last time as it was written, and its unit.
    last: Option<(i64, i64)>,
    /// Two different times are near to each other in this unit.
    is_sure: bool,
}

impl Units {
    /// Returns a time of line protocol in nanoseconds.
    pub(super) fn nanoseconds(&mut self, time: i64) -> Option<i64> {
        self.with_unit(time, unit_ns(time.unsigned_abs()))
    }

    /// Returns a time of JSON in nanoseconds. Its unit may be each power of ten up to a second, as Telegraf's
    /// `json_timestamp_units` has it. The unusual ones are tried with the years of today only: a clock that
    /// was never set has small numbers of nanoseconds.
    pub(super) fn nanoseconds_of_json(&mut self, time: i64) -> Option<i64> {
        let unit_ns = unit_ns(time.unsigned_abs());
        let is_in = |range: &std::ops::Range<i64>, ns| {
            time.checked_mul(ns).is_some_and(|t| range.contains(&t))
        };
        let mut units = (1..9).map(|power| 10_i64.pow(power));
        let unusual =
            units.find(|ns| is_in(&TODAY_NS, *ns)).filter(|_| !is_in(&CENTURY_NS, unit_ns));
        let Some(unusual_ns) = unusual else { return self.with_unit(time, unit_ns) };
        // Rows of one file are no days apart from its first ones.
        if !self.is_sure && self.last.is_some_and(|(last, _)| !is_near(time, last, unusual_ns)) {
            return self.with_unit(time, 1);
        }
        self.with_unit(time, unusual_ns)
    }

    /// The time in this unit, or in that of the time before if it goes on there: a clock that was never set has
    /// times that are in this century in another unit, for some minutes.
    fn with_unit(&mut self, time: i64, unit_ns: i64) -> Option<i64> {
        let goes_on = |(last, last_ns): &(i64, i64)| is_near(time, *last, *last_ns);
        let before = self.last.filter(goes_on);
        self.is_sure |= before.is_some_and(|(last, _)| last != time);
        let unit_ns = before.map_or(unit_ns, |(_, last_ns)| last_ns);
        self.last = Some((time, unit_ns));
        time.checked_mul(unit_ns).filter(|time_ns| READ_NS.contains(time_ns))
    }
}

/// Whether two times of this unit are a day apart or less.
fn is_near(time: i64, last: i64, unit_ns: i64) -> bool {
    time.abs_diff(last).saturating_mul(unit_ns.unsigned_abs()) <= DAY_NS
}

/// The unit with which a time is in this century, in nanoseconds. Where no unit does, the clock was not set: then
/// it is seconds up to 1999, or else nanoseconds, as those are what programs write.
fn unit_ns(time: u64) -> i64 {
    [(1, 1_000_000_000), (1_000, 1_000_000), (1_000_000, 1_000)]
        .into_iter()
        .find(|(per_second, _)| YEARS.contains(&(time / per_second)))
        .map_or(if time < YEARS.end { 1_000_000_000 } else { 1 }, |(_, unit_ns)| unit_ns)
}

/// Returns the time that is so much later, within those that are read.
pub(super) fn later(time_ns: i64, by_ns: i64) -> i64 {
    time_ns.saturating_add(by_ns).min(READ_NS.end - 1)
}

/// Whether a time is before this century.
pub(super) fn is_before_2000(time_ns: i64) -> bool {
    time_ns < CENTURY_NS.start
}

/// A time as text: RFC 3339, or a number in one of `units`.
pub(super) fn parse(text: &str, units: &mut Units) -> Option<i64> {
    let text = text.trim();
    if let Ok(time) = text.parse::<i64>() {
        return units.nanoseconds(time);
    }
    if let Ok(time) = text.parse::<f64>() {
        return nanoseconds_of_fraction(time);
    }
    let time_ns = i64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok();
    time_ns.filter(|time_ns| READ_NS.contains(time_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `json_timestamp_units = "10ms"` and others.
    #[test]
    fn a_time_of_json_has_any_power_of_ten_as_its_unit() {
        for power in 0..=9 {
            let mut units = Units::default();
            for second in [1_700_000_000, 1_700_000_000, 1_700_000_010, 1_700_500_000] {
                let time_ns = second * 1_000_000_000;
                let time = time_ns / 10_i64.pow(power);
                assert_eq!(units.nanoseconds_of_json(time), Some(time_ns), "{time}");
            }
        }
    }

    /// Nanoseconds of 15 s to 2 h after 1970 are times of this century in other units.
    #[test]
    fn the_times_of_a_clock_that_was_never_set_have_one_unit() {
        for first in [5, 200, 800] {
            let (mut json, mut lines) = (Units::default(), Units::default());
            for second in (first..7200).flat_map(|second| [second; 2]) {
                let time_ns = second * 1_000_000_000;
                // The first row may be taken for one of today.
                let found = json.nanoseconds_of_json(time_ns);
                assert!(found == Some(time_ns) || second == first, "{second}");
                assert_eq!(lines.nanoseconds(time_ns), Some(time_ns), "{second}");
            }
            // Then it is set.
            let now = 1_700_000_000_000_000_000;
            assert_eq!([json.nanoseconds_of_json(now), lines.nanoseconds(now)], [Some(now); 2]);
        }
        let seconds = Units::default().nanoseconds_of_json(59);
        assert_eq!(seconds, Some(59_000_000_000));
    }

    #[test]
    fn every_unit_and_notation_is_the_same_moment() {
        let second = 1_700_000_000_000_000_000;
        for text in [
            "1700000000",
            "1700000000000",
            "1700000000000000",
            "1700000000000000000",
            "1700000000.0",
            "1.7e9",
            "2023-11-14T22:13:20Z",
            "2023-11-14T23:13:20+01:00",
            "2023-11-14 22:13:20.000Z",
        ] {
            assert_eq!(parse(text, &mut Units::default()), Some(second), "{text}");
        }
        let parse = |text| parse(text, &mut Units::default());
        assert_eq!(parse("1700000000.25"), Some(second + 250_000_000));
        assert_eq!(parse("2023-11-14T22:13:20.000374262Z"), Some(second + 374_262));
        let far = ["-9223372036854775808", "9223372036854775807", "0001-01-01T00:00:00Z"];
        for text in ["", "yesterday", "1e300", "2023-11-14", "nan"].into_iter().chain(far) {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
