//! Durations as Telegraf writes them: Go's grammar (`1m30s`, `1.5s`, `500ms`), and days.
//!
//! `[agent]` also takes a plain number, as seconds. A plugin's table takes text only: there
//! Telegraf ignores a number silently, so here it is an error (see `input`).

use std::time::Duration;

/// The units, in nanoseconds.
const UNITS: [(&str, u64); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),  // micro sign
    ("\u{3bc}s", 1_000), // Greek letter mu
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

/// Go's longest duration, about 292 years.
const LONGEST: u128 = i64::MAX as u128;

/// Digits after the point that are looked at; further ones are below a nanosecond.
const FRACTION_DIGITS: usize = 18;

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a duration: {reason}; write {valid}")]
pub struct DurationError {
    text: String,
    reason: String,
    /// Durations that are near, or examples.
    valid: String,
}

impl DurationError {
    fn new(text: &(impl ToString + ?Sized), reason: impl Into<String>) -> Self {
        let valid = "for example 10s, 1m30s or 500ms".to_owned();
        Self { text: text.to_string(), reason: reason.into(), valid }
    }

    /// The error of a number without a unit at the end of `text`.
    fn without_unit(text: &str) -> Self {
        let last = text.rsplit(|c: char| c.is_ascii_alphabetic()).next().unwrap_or_default();
        let number = if last.parse::<f64>().is_ok() { text } else { "10" };
        let valid = format!("{number}s for seconds, or {number}ms");
        Self { text: text.to_owned(), reason: "it has no unit".to_owned(), valid }
    }
}

/// Writes a duration as [`parse_duration`] reads it, in one unit where that is exact: `0s`, `500us`,
/// `1.5s`, `2h`, `1d`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    const UNITS: [(u128, &str); 7] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let nanoseconds = duration.as_nanos();
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let exact = UNITS.iter().find(|(unit, _)| nanoseconds.is_multiple_of(*unit));
    match exact {
        Some((unit, name)) if nanoseconds / unit < 10_000 => {
            format!("{}{name}", nanoseconds / unit)
        }
        _ => format!("{duration:?}").replace('\u{b5}', "u"),
    }
}

/// Reads a duration such as `10s`, `1m30s`, `1.5s`, `500ms`, `10us`, `250ns`, `1h` or `2d`.
///
/// `0` and the empty text are zero, as in Telegraf; every other number needs its unit.
///
/// # Errors
/// [`DurationError`] for a missing number or unit, an unknown unit, a negative duration, or
/// one longer than about 292 years. It says what was found and shows a valid one.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let fail = |reason: String| Err(DurationError::new(text, reason));
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if text.is_empty() || unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    if unsigned.is_empty() {
        return fail("a sign without a number".to_owned());
    }
    let mut total: u128 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return fail(format!("a number is missing before '{rest}'"));
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let nanoseconds = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some(&(_, nanoseconds)) => u128::from(nanoseconds),
            _ if unit.is_empty() && after.starts_with('.') => {
                let number = rest.split(|c: char| c.is_ascii_alphabetic()).next();
                return fail(format!("'{}' is not a number", number.unwrap_or(rest)));
            }
            _ if unit.is_empty() => return Err(DurationError::without_unit(text)),
            _ => return fail(format!("the unit '{unit}' is not one of ns us ms s m h d")),
        };
        let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS)];
        let scale = 10u128.pow(fraction.len() as u32);
        total = number(whole)
            .saturating_mul(nanoseconds)
            .saturating_add(number(fraction) * nanoseconds / scale)
            .saturating_add(total);
        rest = after;
    }
    if total > LONGEST {
        return fail("it is longer than 292 years".to_owned());
    }
    if negative && total > 0 {
        return fail("it is negative".to_owned());
    }
    Ok(Duration::from_nanos(total as u64))
}

/// Reads a duration of `[agent]` from text: as [`parse_duration`], or a plain number of seconds.
pub(super) fn parse_agent_duration(text: &str) -> Result<Duration, DurationError> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => from_seconds(seconds),
        _ => parse_duration(text),
    }
}

/// The duration of a plain number of seconds.
pub(super) fn from_seconds(seconds: f64) -> Result<Duration, DurationError> {
    if seconds < 0.0 {
        return Err(DurationError::new(&seconds, "it is negative"));
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration.as_nanos() <= LONGEST => Ok(duration),
        _ if seconds.is_nan() => Err(DurationError::new(&seconds, "it is not a number")),
        _ => Err(DurationError::new(&seconds, "it is longer than 292 years")),
    }
}

/// The leading ASCII digits and what follows them.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The value of ASCII digits; too many for a duration give more than the longest one.
fn number(digits: &str) -> u128 {
    if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u128::MAX) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for text in
            ["0s", "1ns", "500us", "1ms", "250ms", "1500ms", "90s", "2h", "1d", "1.0000005s"]
        {
            assert_eq!(duration_text(parse_duration(text).unwrap()), text);
        }
    }

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn go_durations_and_days() {
        let ns = |text: &str| parse_duration(text).unwrap().as_nanos();
        for (text, nanoseconds) in [
            ("", 0),
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("10s", 10_000_000_000),
            ("+10s", 10_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("500ms", 500_000_000),
            ("1us", 1_000),
            ("1\u{b5}s", 1_000),
            ("1\u{3bc}s", 1_000),
            ("250ns", 250),
            ("0.5ns", 0),
            ("1h", 3_600_000_000_000),
            ("2d", 172_800_000_000_000),
            ("1d12h", 129_600_000_000_000),
            ("0.0000000000000000000000001h", 0),
            ("9223372036854775807ns", i64::MAX as u128),
        ] {
            assert_eq!(ns(text), nanoseconds, "{text}");
        }
    }

    #[test]
    fn errors_name_the_reason_and_a_valid_form() {
        let error = |text: &str| parse_duration(text).unwrap_err().to_string();
        assert_eq!(
            error("10"),
            "'10' is not a duration: it has no unit; write 10s for seconds, or 10ms"
        );
        assert!(error("1m30").ends_with("write 1m30s for seconds, or 1m30ms"));
        for (text, reason) in [
            ("-5s", "it is negative"),
            ("-", "a sign without a number"),
            ("s", "a number is missing before 's'"),
            (".s", "a number is missing before '.s'"),
            (" 10s", "a number is missing before ' 10s'"),
            ("10 s", "the unit ' s' is not one of ns us ms s m h d"),
            ("1w", "the unit 'w' is not one of ns us ms s m h d"),
            ("10sec", "the unit 'sec' is not one of ns us ms s m h d"),
            ("9223372036854775808ns", "it is longer than 292 years"),
            ("999999999999999999999999999999999999999999999h", "it is longer than 292 years"),
        ] {
            assert!(error(text).contains(reason), "{text}: {}", error(text));
        }
    }

    #[test]
    fn an_agent_number_is_seconds() {
        let parse = |text: &str| parse_agent_duration(text).map_err(|error| error.to_string());
        assert_eq!(parse("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert!(parse("-1").unwrap_err().contains("negative"));
        assert!(parse("nan").is_err() && parse("inf").is_err());
        assert!(from_seconds(f64::NAN).is_err() && from_seconds(f64::INFINITY).is_err());
        assert!(from_seconds(1e10).unwrap_err().to_string().contains("292 years"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,20}|[-+0-9.nusmhd]{0,60}") {
            let _ = parse_duration(&text);
            let _ = parse_agent_duration(&text);
        }

        #[test]
        fn whole_numbers_keep_their_value(number in 0u64..100_000, unit in 0usize..9) {
            let (unit, nanoseconds) = UNITS[unit];
            let parsed = parse_duration(&format!("{number}{unit}")).unwrap();
            prop_assert_eq!(parsed.as_nanos(), u128::from(number) * u128::from(nanoseconds));
        }
    }
}
