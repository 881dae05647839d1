//! Numbers, times and names for people: short enough for a table's cell, never wider.
//!
//! A number that does not fit is rounded to three digits and a unit letter. One that is not
//! zero never reads as `0`.

/// The longest text that [`number`] makes whatever the value, and so its smallest width.
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

/// The time of day, in UTC, as `HH:MM:SS` or `HH:MM:SS.mmm`.
pub(crate) fn time_of_day(timestamp_ns: i64, milliseconds: bool) -> String {
    let ms = timestamp_ns.div_euclid(1_000_000).rem_euclid(24 * 60 * 60 * 1000);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    if milliseconds {
        format!("{hour:02}:{minute:02}:{second:02}.{:03}", ms % 1000)
    } else {
        format!("{hour:02}:{minute:02}:{second:02}")
    }
}

/// Text that cannot move a terminal's cursor: what is not printable is shown as an escape.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

/// Text of at most `width` columns: one column for each character, so whatever is not plain
/// ASCII, and might be wider or nothing at all, is a `?`, and a long text ends in `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let plain = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    let mut out: String = text.chars().take(width).map(plain).collect();
    if text.chars().nth(width).is_some() {
        out.pop();
        out.push('…');
    }
    out
}
