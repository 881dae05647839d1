//! Timestamps in the units and notations that recordings have them in.

/// 2000-01-01 and 2100-01-01, in seconds since 1970.
const YEARS: std::ops::Range<u64> = 946_684_800..4_102_444_800;

/// The same in nanoseconds.
const CENTURY_NS: std::ops::Range<i64> =
    YEARS.start as i64 * 1_000_000_000..YEARS.end as i64 * 1_000_000_000;

/// 2015-01-01 and 2040-01-01.
const TODAY_NS: std::ops::Range<i64> = 1_420_070_400_000_000_000..2_208_988_800_000_000_000;

/// The times that are read, in nanoseconds: those from 1900 to 2149. The difference of two of them has room
/// in 64 bits.
const READ_NS: std::ops::Range<i64> = -2_208_988_800_000_000_000..5_680_281_600_000_000_000;

/// Returns a time since 1970 in the unit with which it is in this century. Where no unit does, the
/// clock was not set: then it is seconds up to 1999, or else nanoseconds, as those are what
/// programs write.
pub(super) fn nanoseconds(time: i64) -> Option<i64> {
    time.checked_mul(unit_ns(time.unsigned_abs())).filter(|time_ns| READ_NS.contains(time_ns))
}

/// The same of a number with a fraction.
pub(super) fn nanoseconds_of_fraction(time: f64) -> Option<i64> {
    let unit_ns = unit_ns(time.abs() as u64);
    let whole = (time.abs() < i64::MAX as f64).then_some(time.trunc() as i64)?;
    // The product of the two would lose the last digits.
    let time_ns =
        whole.checked_mul(unit_ns)?.checked_add((time.fract() * unit_ns as f64).round() as i64);
    time_ns.filter(|time_ns| READ_NS.contains(time_ns))
}

/// Returns a time of JSON, of which the unit may be each power of ten up to a second, as Telegraf's
/// `json_timestamp_units` has it. The unusual ones are tried with the years of today only: a clock that was
/// never set has small numbers of nanoseconds.
pub(super) fn nanoseconds_of_json(time: i64) -> Option<i64> {
    let unit_ns = unit_ns(time.unsigned_abs());
    let is_known = time.checked_mul(unit_ns).is_some_and(|time_ns| CENTURY_NS.contains(&time_ns));
    let units = (1..9).map(|power| 10_i64.pow(power));
    let mut times = units.filter(|_| !is_known).filter_map(|unit_ns| time.checked_mul(unit_ns));
    times.find(|time_ns| TODAY_NS.contains(time_ns)).or_else(|| nanoseconds(time))
}

fn unit_ns(time: u64) -> i64 {
    [(1, 1_000_000_000), (1_000, 1_000_000), (1_000_000, 1_000)]
        .into_iter()
        .find(|(per_second, _)| YEARS.contains(&(time / per_second)))
        .map_or(if time < YEARS.end { 1_000_000_000 } else { 1 }, |(_, unit_ns)| unit_ns)
}

/// Whether a time is before this century.
pub(super) fn is_before_2000(time_ns: i64) -> bool {
    time_ns < CENTURY_NS.start
}

/// A time as text: RFC 3339, or a number.
pub(super) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(time) = text.parse::<i64>() {
        return nanoseconds(time);
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
            let time = 1_700_000_000_000_000_000 / 10_i64.pow(power);
            assert_eq!(nanoseconds_of_json(time), Some(1_700_000_000_000_000_000), "{time}");
        }
        // The clock was not set.
        assert_eq!(nanoseconds_of_json(59), Some(59_000_000_000));
        assert_eq!(nanoseconds_of_json(-59), Some(-59_000_000_000));
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
            assert_eq!(parse(text), Some(second), "{text}");
        }
        assert_eq!(parse("1700000000.25"), Some(second + 250_000_000));
        assert_eq!(parse("2023-11-14T22:13:20.000374262Z"), Some(second + 374_262));
        let far = ["-9223372036854775808", "9223372036854775807", "0001-01-01T00:00:00Z"];
        for text in ["", "yesterday", "1e300", "2023-11-14", "nan"].into_iter().chain(far) {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
