//! Values of options that are numbers, sizes and lists of rows.

use std::num::IntErrorKind;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};

use crate::config::{nearest, parse_duration};
use crate::confine::check_form;
use crate::settings::Collect;

/// Reads a whole number of `range`.
fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let valid = match (*range.start(), *range.end()) {
        (0, u64::MAX) => "write a whole number".to_owned(),
        (least, u64::MAX) => format!("write a whole number from {least} on"),
        (least, most) => format!("write a whole number from {least} to {most}"),
    };
    match text.parse::<u64>() {
        Ok(number) if range.contains(&number) => Ok(number),
        Ok(number) if number < *range.start() => {
            Err(format!("'{text}' is less than {}; {valid}", range.start()))
        }
        Ok(_) => Err(format!("'{text}' is more than {}; {valid}", range.end())),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => {
            Err(format!("'{text}' is more than {}; {valid}", range.end()))
        }
        Err(_) if text.parse::<f64>().is_ok() => {
            Err(format!("'{text}' is not a whole number; {valid}"))
        }
        Err(_) => Err(format!("'{text}' is not a number; {valid}")),
    }
}

/// What a message about a duration ends with.
const DURATIONS: &str = "write for example 10s, 1m30s or 500ms";

/// Reads a duration. An empty text is none, other than in a configuration of Telegraf.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err(format!("'' is not a duration; {DURATIONS}"));
    }
    parse_duration(text).map_err(|error| error.to_string())
}

/// Reads a duration of something that happens in it.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("'{text}' is not a positive time; {DURATIONS}")),
        time => Ok(time),
    }
}

/// Reads a number of things of which there is at least one.
pub(super) fn at_least_one(text: &str) -> Result<u64, String> {
    number(text, 1..=u64::MAX)
}

/// Reads a number of lines, at least one.
pub(super) fn lines(text: &str) -> Result<usize, String> {
    at_least_one(text).map(|lines| usize::try_from(lines).unwrap_or(usize::MAX))
}

/// Reads a number that may be 0.
pub(super) fn any_number(text: &str) -> Result<usize, String> {
    number(text, 0..=u64::MAX).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// Reads a part of the table, `1/64`: its denominator.
pub(super) fn part(text: &str) -> Result<u32, String> {
    let parts = text.strip_prefix("1/").and_then(|parts| parts.parse().ok());
    parts
        .filter(|parts| *parts > 0)
        .ok_or_else(|| format!("'{text}' is not a fraction of the table; write for example 1/64"))
}

/// Reads a number of files to keep.
pub(super) fn files(text: &str) -> Result<u32, String> {
    number(text, 1..=10_000).map(|files| u32::try_from(files).unwrap_or(u32::MAX))
}

/// Reads a number of bytes with a unit of 1024: `500K`, `64M`, `1G`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const SMALLEST: u64 = 4096;
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" | "K" | "KiB" => 10,
        "m" | "M" | "MiB" => 20,
        "g" | "G" | "GiB" => 30,
        "t" | "T" | "TiB" => 40,
        unit => return Err(format!("'{unit}' is not a unit; write for example 64M or 1G")),
    };
    let number = digits.parse::<u64>().ok();
    match number.and_then(|size| size.checked_mul(1 << shift)) {
        Some(size) if size >= SMALLEST => Ok(size),
        Some(0) => Err(format!("'{text}' is less than 4K; write for example 64M or 1G")),
        Some(_) => Err(format!("'{text}' is less than 4K; write for example {digits}M")),
        None => Err(format!("'{text}' is not a size; write for example 64M or 1G")),
    }
}

/// Reads the name of a user, or its numbers; whether there is one is the host's matter.
pub(super) fn user(text: &str) -> Result<String, String> {
    check_form(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// Reads the name of a file that is read; `-` is standard input.
pub(super) fn input() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| match path.to_str() {
        Some("-") => "/dev/stdin".into(),
        _ => path,
    })
}

/// The words of `--collect`.
pub(super) const ROWS: [&str; 3] = ["all", "percpu", "none"];

/// Reads `--collect`: `all`, `percpu`, both with a comma, or `none`.
pub(super) fn collect(text: &str) -> Result<Collect, String> {
    let mut collect = Collect::default();
    for word in text.split(',') {
        match word.trim() {
            "all" => collect.all = true,
            "percpu" => collect.percpu = true,
            "none" if text.trim() == "none" => {}
            "none" => {
                return Err("'none' stands alone; write none, all, percpu or all,percpu".to_owned());
            }
            other => {
                let near = nearest(other, &ROWS).map(|near| format!("; did you mean '{near}'?"));
                let near = near.unwrap_or_default();
                return Err(format!("'{other}' is not one of {}{near}", ROWS.join(", ")));
            }
        }
    }
    Ok(collect)
}
