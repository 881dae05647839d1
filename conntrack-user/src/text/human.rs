//! Numbers, times and names for people: short enough for a table's cell, never wider.
//!
//! A number that does not fit is rounded to three digits and a unit letter. A number other than
//! zero is never printed as `0`.

/// The longest text of [`number`] for any value, and so its smallest width.
const SHORTEST: usize = 5;

/// `0`, `3.33`, `1,234`, `12.3k`: at most `width` characters, which must be five or more.
pub(crate) fn number(value: f64, width: usize) -> String {
    debug_assert!(width >= SHORTEST, "a cell of {width} is too narrow");
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value < 0.0 {
        return "<0".to_owned();
    }
    let value = value.abs(); // a negative zero is a zero
    if value > 0.0 && value < 0.01 {
        return "<0.01".to_owned();
    }
    if value.fract() != 0.0
        && let Some(text) = three_digits(value)
    {
        return text;
    }
    if value < 1e15 {
        let text = with_commas(&format!("{value:.0}"));
        if text.len() <= width {
            return text;
        }
    }
    let mut scaled = value;
    for unit in ["k", "M", "G", "T", "P", "E"] {
        scaled /= 1000.0;
        if let Some(text) = three_digits(scaled) {
            return text + unit;
        }
    }
    ">999E".to_owned()
}

/// `3.33`, `33.3` or `333`; `None` from 999.5 on.
fn three_digits(value: f64) -> Option<String> {
    [2, 1, 0].into_iter().find_map(|decimals| {
        let text = format!("{value:.decimals$}");
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        (digits <= 3).then_some(text)
    })
}

fn with_commas(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share as `76.8%`, at most five characters.
pub(crate) fn percent(value: f64) -> String {
    if value < 0.0 {
        return "<0%".to_owned();
    }
    if value > 0.0 && value < 0.05 {
        return "<0.1%".to_owned();
    }
    match format!("{value:.1}%") {
        short if short.len() <= SHORTEST => short,
        _ if value < 999.5 => format!("{value:.0}%"),
        _ => ">999%".to_owned(),
    }
}

/// A share of a sum as `76.8%` or `100.0%`: always with one decimal, so that the shares in a column
/// are aligned. The share of an empty sum is `0.0%`.
pub(crate) fn share(count: u64, sum: u64) -> String {
    format!("{:.1}%", 100.0 * count as f64 / sum.max(1) as f64)
}

/// The time of day, in UTC, as `HH:MM:SS` or `HH:MM:SS.mmm`.
pub(crate) fn time_of_day(timestamp_ns: i64, milliseconds: bool) -> String {
    time_with_decimals(timestamp_ns, if milliseconds { 3 } else { 0 })
}

/// The time of day, in UTC, with up to nine decimals of the second.
pub(crate) fn time_with_decimals(timestamp_ns: i64, decimals: u32) -> String {
    let seconds = timestamp_ns.div_euclid(1_000_000_000).rem_euclid(24 * 60 * 60);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{hour:02}:{minute:02}:{second:02}");
    if decimals > 0 {
        let fraction = timestamp_ns.rem_euclid(1_000_000_000) / 10_i64.pow(9 - decimals);
        let width = decimals as usize;
        text.push_str(&format!(".{fraction:0width$}"));
    }
    text
}

/// The day, in UTC, as `YYYY-MM-DD`.
pub(crate) fn date(timestamp_ns: i64) -> String {
    // Days are counted in years that begin in March, so that a leap day is a year's last, and in
    // eras of 400 years, which all have the same number of days.
    let days = timestamp_ns.div_euclid(86_400_000_000_000) + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153; // 0 is March
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year_of_era + next_year)
}

/// A length of time in its two largest units: `20 ms`, `1.5 s`, `10 min`, `1 h 30 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let rounded = seconds.round() as u64;
    let two = |large: u64, a: &str, small: u64, b: &str| match small {
        0 => format!("{large} {a}"),
        _ => format!("{large} {a} {small} {b}"),
    };
    match rounded {
        _ if seconds < 0.9995 => format!("{} ms", digits(seconds * 1000.0)),
        0..60 => format!("{} s", digits(seconds)),
        60..3600 => two(rounded / 60, "min", rounded % 60, "s"),
        3600..86_400 => two(rounded / 3600, "h", rounded % 3600 / 60, "min"),
        _ => two(rounded / 86_400, "d", rounded % 86_400 / 3600, "h"),
    }
}

/// A length of time in at most six characters, for a cell of the live view: `1.2 s`, `45 s`,
/// `12 min`, `3 h`, `20 d`.
pub(crate) fn short_duration(seconds: f64) -> String {
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

/// A latency of nanoseconds in the largest unit that leaves a number before the point, always
/// with one decimal from microseconds on, so that the latencies in a column are aligned.
pub(crate) fn latency(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} µs", nanoseconds as f64 / 1e3),
        _ => format!("{:.1} ms", nanoseconds as f64 / 1e6),
    }
}

/// At most three digits, without zeros behind the point.
fn digits(value: f64) -> String {
    let text = three_digits(value).unwrap_or_else(|| format!("{value:.0}"));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Text of at most `width` columns: one column for each character. A character outside ASCII,
/// which might have another width, is a `?`, and a long text ends in `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let plain = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    let mut out: String = text.chars().take(width).map(plain).collect();
    if text.chars().nth(width).is_some() {
        out.pop();
        out.push('…');
    }
    out
}

#[cfg(test)]
#[path = "human_tests.rs"]
mod tests;
