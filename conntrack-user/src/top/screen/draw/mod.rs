//! The picture: the app, drawn into a buffer of any size.
//!
//! On a small screen the lines of the table are cut first, and columns that only qualify a number.

mod summary;
mod table;
#[cfg(test)]
mod tests;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::app::{Fill, Panel, TopApp};
use super::keys::KEYS;
use super::prompt::Prompt;
use crate::config::duration_text;
use crate::source::ebpf::census::Sample;
use crate::text::human;
use crate::top::look::{Change, Look};
use crate::tui::fill::FillStep;
use crate::tui::help;
use crate::tui::pen::Pen;
use crate::tui::theme::Role;

const READING: [&str; 10] = [
    "entries        in the table now, of what is counted; of a sample an estimate",
    "share          of all that are counted",
    "interval       95 %, of the share, where a sample was read",
    "net change/s   entries that came less those that went, since the last look;",
    "               - not known, as after another choice; of a sample with its 95 %",
    "               interval, and +-N alone where a change is smaller than that",
    "Table          the kernel's count of the namespace, and its limit",
    "expired        their time is over, and the kernel has not collected them yet",
    "assured        not evicted when the table is full",
    "A look takes no lock of the table; reading takes at most half of the time.",
];

/// Draws `app` into the whole of `buffer`.
pub(super) fn draw(app: &TopApp, buffer: &mut Buffer) {
    let area = *buffer.area();
    let mut pen = Pen { buffer, theme: app.setup.theme };
    title(&mut pen, Rect { height: 1.min(area.height), ..area }, app);
    let mut body = Rect { y: area.y + 1, height: area.height.saturating_sub(2), ..area };
    if area.height > 1 {
        let last = Rect { y: area.bottom() - 1, height: 1, ..area };
        match &app.prompt {
            Some(prompt) => {
                keys(&mut pen, last, &[("Enter", "apply"), ("Esc", "cancel"), ("Ctrl-U", "clear")]);
                body = typed(&mut pen, body, prompt);
            }
            None => keys(&mut pen, last, &choices(app)),
        }
    }
    match (&app.look, app.panel) {
        (_, Panel::Help) => help(&mut pen, body),
        (look, Panel::Table) => shown(&mut pen, body, look.as_deref(), app),
    }
}

fn help(pen: &mut Pen<'_>, area: Rect) {
    let reading = READING.map(|text| match pen.theme.ascii {
        true => ("", text.to_owned()),
        false => ("", text.replace("+-", "±")),
    });
    let keys = KEYS.map(|(key, what)| (key, what.to_owned()));
    help::draw(pen, area, keys.iter().chain(&reading).map(|(key, what)| (*key, what.as_str())));
}

/// The table below what is said about it, and above the warnings.
fn shown(pen: &mut Pen<'_>, area: Rect, look: Option<&Look>, app: &TopApp) {
    let mut rest = level(pen, area, app);
    rest = trouble(pen, rest, app);
    let Some(look) = look else {
        if app.trouble.is_none() {
            let text = if app.is_reading() { "reading the table" } else { "r reads the table" };
            pen.text(rest.x, rest.y, inside(rest), text, Role::Dim);
        }
        warnings(pen, rest, &[], app);
        return;
    };
    rest = summary::draw(pen, rest, look, app);
    rest = warnings(pen, rest, &look.counted.doubts(), app);
    table::draw(pen, rest, look, app);
}

/// The right end of an area, or its left where it has no line.
fn inside(area: Rect) -> u16 {
    if area.height == 0 { area.x } else { area.right() }
}

/// The title: what is shown, when, how often.
fn title(pen: &mut Pen<'_>, area: Rect, app: &TopApp) {
    let clock = app.look.as_ref().map_or(String::new(), |look| {
        let time = human::time_of_day(look.time_ns, false);
        let day = if area.width >= 120 { human::date(look.time_ns) + " " } else { String::new() };
        format!("{day}{time} UTC  ")
    });
    let read = app.look.as_ref().filter(|_| area.width >= 60).map_or(String::new(), |look| {
        let share = human::percent(100.0 * look.counted.share_read());
        match look.counted.is_sample() {
            true => format!("{share} of the table  "),
            false => "whole table  ".to_owned(),
        }
    });
    let right = format!("{clock}{read}every {}", duration_text(app.setup.interval));
    let end = area.right().saturating_sub(right.len() as u16 + 1);
    let mut x = pen.text(area.x, area.y, end, "ctpulse top", Role::Heading);
    if app.is_paused() {
        x = pen.text(x + 1, area.y, end, " PAUSED ", Role::Alarm);
    }
    pen.foreign(x + 2, area.y, end, &app.setup.place, Role::Plain);
    pen.right(area.right(), area.y, area.width, &right, Role::Plain);
}

/// How full the table is.
fn level(pen: &mut Pen<'_>, area: Rect, app: &TopApp) -> Rect {
    let Some(Fill { entries, limit }) = app.fill.filter(|_| area.height > 0) else { return area };
    let number = |number: f64| human::number(number, 13);
    let text = format!("{} of {} entries", number(entries), number(limit));
    let x = pen.text(area.x, area.y, area.right(), "Table  ", Role::Heading);
    let x = pen.text(x, area.y, area.right(), &text, Role::Plain);
    if limit > 0.0 {
        let percent = 100.0 * entries / limit;
        let step = FillStep::of(percent);
        let role = match step {
            FillStep::Room => Role::Plain,
            FillStep::Filling => Role::Warning,
            FillStep::AlmostFull | FillStep::Full => Role::Alarm,
        };
        let text = format!("{}  {}", human::percent(percent), step.word());
        pen.text(x + 2, area.y, area.right(), text.trim_end(), role);
    }
    skip(area, 1)
}

/// Why the table could not be read the last time, and what to do.
fn trouble(pen: &mut Pen<'_>, area: Rect, app: &TopApp) -> Rect {
    let Some(trouble) = &app.trouble else { return area };
    let again = match app.is_paused() {
        true => "r tries again".to_owned(),
        false => format!("it is tried again every {}", duration_text(app.setup.interval)),
    };
    let rest = paragraph(pen, area, &trouble.to_string(), Role::Alarm);
    let is_known = trouble.to_string().ends_with(&trouble.details);
    let details = if is_known { "" } else { &trouble.details };
    let rest = paragraph(pen, rest, details, Role::Plain);
    let rest = paragraph(pen, rest, &again, Role::Dim);
    let old = app.look.as_ref().map(|look| human::time_of_day(look.time_ns, false));
    let old = old.map_or(String::new(), |time| format!("Below is the table as of {time} UTC."));
    paragraph(pen, rest, &old, Role::Dim)
}

/// Draws warnings at the bottom; returns what is above them.
fn warnings(pen: &mut Pen<'_>, area: Rect, doubts: &[String], app: &TopApp) -> Rect {
    let said = app.messages.urgent().map(ToOwned::to_owned);
    let texts = doubts.iter().cloned().chain(said);
    let lines: Vec<String> =
        texts.flat_map(|text| wrapped(&format!("warning: {text}"), area.width)).collect();
    // The heaviest lines stay.
    let height = (lines.len() as u16).min(area.height.saturating_sub(4));
    let above = Rect { height: area.height - height, ..area };
    for (y, line) in (above.bottom()..area.bottom()).zip(&lines) {
        pen.foreign(area.x, y, area.right(), line, Role::Warning);
    }
    above
}

/// Draws the line that is typed at the bottom, with its error above; returns what is above them.
fn typed(pen: &mut Pen<'_>, area: Rect, prompt: &Prompt) -> Rect {
    if area.height == 0 {
        return area;
    }
    let lines = prompt.error.as_ref().map_or_else(Vec::new, |error| wrapped(error, area.width));
    let height = (lines.len() as u16).min(area.height - 1);
    let y = area.bottom() - 1;
    let x = pen.text(area.x, y, area.right(), prompt.label(), Role::Heading);
    // The end of a long line, with the cursor.
    let room = usize::from(area.right().saturating_sub(x + 1));
    let start = prompt.text.len().saturating_sub(room);
    let x = pen.foreign(x, y, area.right(), &prompt.text[start..], Role::Plain);
    pen.text(x, y, area.right(), "_", Role::Heading);
    let above = Rect { height: area.height - 1 - height, ..area };
    for (y, line) in (above.bottom()..y).zip(&lines) {
        pen.foreign(area.x, y, area.right(), line, Role::Warning);
    }
    above
}

/// The keys that do something now.
fn choices(app: &TopApp) -> [(&'static str, &'static str); 8] {
    let is_sample = app.look.as_ref().is_some_and(|look| look.counted.is_sample());
    // A small table is read whole anyway.
    let part = match app.setup.query.sample {
        Sample::Whole => ("e", "sample"),
        _ if is_sample => ("e", "whole table"),
        _ => ("", ""),
    };
    [
        ("q", "quit"),
        ("p", if app.is_paused() { "go on" } else { "pause" }),
        ("g", "group"),
        ("b", "by"),
        ("w", "where"),
        ("o", "order"),
        part,
        ("?", "help"),
    ]
}

fn keys(pen: &mut Pen<'_>, area: Rect, keys: &[(&str, &str)]) {
    let mut x = area.x;
    for (key, what) in keys.iter().filter(|(key, _)| !key.is_empty()) {
        x = pen.text(x, area.y, area.right(), key, Role::Heading);
        x = pen.text(x + 1, area.y, area.right(), what, Role::Dim) + 2;
    }
}

/// Draws a text over as many lines as it takes; returns the area below.
fn paragraph(pen: &mut Pen<'_>, area: Rect, text: &str, role: Role) -> Rect {
    let lines = wrapped(text, area.width);
    for (y, line) in (area.y..area.bottom()).zip(&lines) {
        pen.foreign(area.x, y, area.right(), line, role);
    }
    skip(area, lines.len() as u16)
}

/// Returns the lines of at most `width` characters that a text takes, broken between words.
fn wrapped(text: &str, width: u16) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width.into() => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Returns the area below its first `lines`.
fn skip(area: Rect, lines: u16) -> Rect {
    let lines = lines.min(area.height);
    Rect { y: area.y + lines, height: area.height - lines, ..area }
}

/// A change in words: with its sign, and as precise as it is known.
fn change_text(change: Option<Change>, ascii: bool) -> String {
    let Some(change) = change else { return "-".to_owned() };
    let plus_minus = if ascii { "+-" } else { "±" };
    let number = |value: f64| human::number(value.abs(), 7);
    let signed = |value: f64| match value {
        0.0 => "0".to_owned(),
        v if v < 0.0 => format!("-{}", number(v)),
        v => format!("+{}", number(v)),
    };
    if change.doubt == 0.0 {
        return signed(change.per_second);
    }
    // Two digits of the doubt, and no digit of the change behind these.
    let unit = 10_f64.powf(change.doubt.log10().floor() - 1.0);
    let round = |value: f64| (value / unit).round() * unit;
    let doubt = format!("{plus_minus}{}", number(round(change.doubt)));
    match change.certain() {
        0.0 => doubt,
        _ => format!("{} {doubt}", signed(round(change.per_second))),
    }
}
