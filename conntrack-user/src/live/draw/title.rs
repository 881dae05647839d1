//! The first line (what is shown, when, how often), the last (the keys), and the one above
//! it (what was missed).

use ratatui::layout::Rect;

use crate::live::app::{App, Panel};
use crate::live::namespace::Namespace;
use crate::rows::MEASUREMENT;
use crate::text::human;
use crate::tui::pen::Pen;
use crate::tui::theme::Role;

pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, app: &App) {
    let namespace = app.shown().namespace();
    let clock = namespace.map_or(String::new(), |namespace| {
        let time = human::time_of_day(namespace.at_ns, false);
        let day = if area.width >= 120 || app.is_replay() {
            human::date(namespace.at_ns) + " "
        } else {
            String::new()
        };
        format!("{day}{time} UTC  ")
    });
    let right = clock + &app.pace;
    let left_end = area.right().saturating_sub(right.len() as u16 + 1);
    let mut x = pen.text(area.x, area.y, left_end, "ctpulse live", Role::Heading);
    if app.is_paused() {
        x = pen.text(x + 1, area.y, left_end, " PAUSED ", Role::Alarm);
    }
    if let Some(namespace) = namespace {
        if namespace.name != MEASUREMENT {
            x = pen.foreign(x + 2, area.y, left_end, &namespace.name, Role::Plain);
        }
        if let Some(host) = &namespace.host {
            x = pen.foreign(x + 2, area.y, left_end, host, Role::Plain);
        }
        let count = app.shown().namespaces.len();
        let place = format!(" ({} of {count})", app.shown().selected + 1);
        let place = if count > 1 { place } else { String::new() };
        if let Some(netns) = &namespace.netns {
            x = pen.text(x + 2, area.y, left_end, "netns ", Role::Dim);
            let netns_end = left_end.saturating_sub(place.len() as u16);
            x = pen.foreign(x, area.y, netns_end, netns, Role::Plain);
        }
        for (key, value) in namespace.other_tags.iter().filter(|_| count > 1) {
            let tag_end = left_end.saturating_sub(place.len() as u16);
            x = pen.foreign(x + 2, area.y, tag_end, &format!("{key}={value}"), Role::Plain);
        }
        pen.text(x, area.y, left_end, &place, Role::Dim);
    }
    pen.right(area.right(), area.y, area.width, &right, Role::Plain);
}

/// The keys that do something now.
pub(super) fn keys(pen: &mut Pen<'_>, area: Rect, app: &App) {
    let pace: [(&str, &str); 2] = if app.is_replay() {
        [("+ -", "speed"), ("space", "step")]
    } else {
        [("+ -", "interval"), ("", "")]
    };
    let cpus = if app.panel == Panel::Cpus { "overview" } else { "CPUs" };
    let pause = if app.is_paused() { "go on" } else { "pause" };
    let keys = [
        ("q", "quit"),
        ("p", pause),
        pace[0],
        pace[1],
        ("< >", "zoom"),
        ("n", "next netns"),
        ("c", cpus),
        ("?", "help"),
    ];
    let mut x = area.x;
    for (key, what) in keys.into_iter().filter(|(key, _)| !key.is_empty()) {
        x = pen.text(x, area.y, area.right(), key, Role::Heading);
        x = pen.text(x + 1, area.y, area.right(), what, Role::Dim) + 2;
    }
}

/// The missed samples and calls, so that no number is silently wrong.
pub(super) fn missed(pen: &mut Pen<'_>, area: Rect, namespace: &Namespace) {
    let misses = &namespace.misses;
    let mut x = pen.text(area.x, area.y, area.right(), "Missed", Role::Heading) + 1;
    let mut say = |what: &str, count: Option<u64>| {
        let role = if count.is_some_and(|count| count > 0) { Role::Warning } else { Role::Plain };
        let number = count.map_or_else(|| "-".to_owned(), |count| human::number(count as f64, 7));
        x = pen.text(x + 1, area.y, area.right(), what, Role::Dim);
        x = pen.text(x + 1, area.y, area.right(), &number, role) + 1;
    };
    say("samples", misses.samples);
    say("rows", misses.rows);
    say("probe calls", misses.probes);
    say("unplaced", misses.unplaced);
    say("alloc refused", misses.alloc_failed);
    if let Some(drift) = misses.drift.filter(|_| area.width >= 100) {
        let text = format!("{drift:+.0}").replace("+0", "0").replace("-0", "0");
        x = pen.text(x + 1, area.y, area.right(), "drift", Role::Dim);
        pen.text(x + 1, area.y, area.right(), &text, Role::Plain);
    }
}
