//! Whole screens from made-up rows, beside golden texts.
//!
//! `CTPULSE_BLESS=1 cargo test live` writes the golden texts again; read the diff.

use std::time::{Duration, Instant};

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use super::super::app::{App, Panel};
use super::super::feed::Batch;
use super::super::keys::Action;
use super::super::series::{ALL, SERIES};
use super::draw;
use crate::metric::{Metric, Name, Value};
use crate::schema::measure::Measure;
use crate::schema::provenance::Origin;
use crate::tui::golden::{self, text};
use crate::tui::messages::Message;
use crate::tui::theme::Theme;

const COLOURED: Theme = Theme { colour: true, ascii: false };

/// 2026-11-25 01:49:52 UTC.
const START_NS: i64 = 1_795_571_392_000_000_000;
const ROW_NS: i64 = 500_000_000;
const MAX: f64 = 262_144.0;

/// A gateway with a table that fills within two minutes; at 85 s a burst, from 110 s on drops.
struct Gateway {
    seconds: f64,
    entries: f64,
    totals: Vec<(&'static str, f64)>,
    seed: u32,
}

impl Gateway {
    fn new() -> Self {
        Self { seconds: 0.0, entries: 90_000.0, totals: Vec::new(), seed: 1 }
    }

    /// A number from 0 to 1 that is the same in every run.
    fn noise(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.seed >> 8) / f64::from(1 << 24)
    }

    /// The counters that are not still: field, mean and peak.
    fn rates(&mut self) -> Vec<(&'static str, f64, f64)> {
        let wave = (self.seconds / 9.0).sin() * 0.3 + 1.0;
        let burst = (85.0..85.5).contains(&self.seconds);
        let full = self.seconds >= 110.0;
        let insert = (2400.0 * wave * (0.9 + 0.2 * self.noise())).round();
        let insert_peak = insert * 1.3 + if burst { 38_000.0 } else { 0.0 };
        let insert = if burst { insert + 7_600.0 } else { insert };
        let delete = (950.0 * (0.9 + 0.2 * self.noise())).round();
        let clash = (self.noise() * 12.0).round();
        let (dropped, drop_peak) = if full { (640.0, 3_622.0) } else { (0.0, 0.0) };
        vec![
            ("insert", insert, insert_peak),
            ("new", insert + dropped, insert_peak + dropped),
            ("delete", delete, delete * 1.6),
            ("clash_resolve", clash, clash * 4.0),
            ("insert_failed", clash / 4.0, clash),
            ("drop", dropped, drop_peak),
            ("early_drop", dropped / 4.0, dropped / 2.0),
            ("drop_table_full", dropped, drop_peak),
            ("table_full_evictable", dropped / 8.0, dropped),
            ("drop_clash", clash / 4.0, clash),
            ("invalid", 3.0, 10.0),
        ]
    }

    fn batch(&mut self, netns: Option<&str>) -> Batch {
        self.seconds += ROW_NS as f64 / 1e9;
        let timestamp_ns = START_NS + (self.seconds * 1e9) as i64;
        let rates = self.rates();
        let net = rates[0].1 - rates[2].1;
        self.entries = (self.entries + net * ROW_NS as f64 / 1e9).min(MAX);
        let metric = |cpu: Option<String>, fields: Vec<(String, Value)>| {
            let mut fields: Vec<(Name, Value)> =
                fields.into_iter().map(|(key, value)| (Name::from(key), value)).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            let mut row =
                Metric { name: "conntrack".into(), tags: Vec::new(), fields, timestamp_ns };
            cpu.iter().for_each(|cpu| row.add_tag(&"cpu".into(), cpu));
            row.add_tag(&"host".into(), "fw1");
            netns.iter().for_each(|netns| row.add_tag(&"netns".into(), netns));
            row
        };
        let mut fields = vec![
            ("entries".to_owned(), Value::Integer(self.entries as u64)),
            ("sample_seconds".to_owned(), Value::Float(0.1)),
            ("samples_missed".to_owned(), Value::Integer(2)),
            ("rows_lost".to_owned(), Value::Integer(0)),
            ("search_restart".to_owned(), Value::NotMaintained),
        ];
        for series in &SERIES {
            let found = rates.iter().find(|(field, ..)| *field == series.field.name);
            let (mean, peak) = found.map_or((0.0, 0.0), |(_, mean, peak)| (*mean, *peak));
            if ["search_restart", "drop_tracker"].contains(&series.field.name) {
                continue;
            }
            let at = self.totals.iter().position(|(field, _)| *field == series.field.name);
            let at = at.unwrap_or_else(|| {
                self.totals.push((series.field.name, 0.0));
                self.totals.len() - 1
            });
            self.totals[at].1 += mean * ROW_NS as f64 / 1e9;
            fields.push((series.field.name.to_owned(), Value::Integer(self.totals[at].1 as u64)));
            fields.push((series.of(Measure::Rate).to_owned(), Value::Float(mean)));
            fields.push((series.of(Measure::PeakRate).to_owned(), Value::Float(peak)));
            fields.push((
                series.of(Measure::PeakCount).to_owned(),
                Value::Integer((peak / 10.0).ceil() as u64),
            ));
        }
        let mut rows = vec![metric(Some("all".to_owned()), fields)];
        for (cpu, share) in [0.14, 0.08, 0.61, 0.17].into_iter().enumerate() {
            let of_cpu = rates.iter().flat_map(|(field, mean, _)| {
                [(format!("{field}_rate"), Value::Float(mean * share))]
            });
            rows.push(metric(Some(format!("cpu{cpu}")), of_cpu.collect()));
        }
        rows.push(metric(None, vec![("ip_conntrack_max".to_owned(), Value::Float(MAX))]));
        let mut internal = metric(
            None,
            vec![
                ("host_unplaced".to_owned(), Value::Integer(0)),
                ("host_alloc_failed".to_owned(), Value::Integer(1)),
                ("hash_insert_missed".to_owned(), Value::Integer(0)),
                ("drift".to_owned(), Value::Float(3.0)),
            ],
        );
        internal.name = crate::rows::self_metrics::MEASUREMENT.to_owned();
        rows.push(internal);
        Batch { rows, origins: origins(), repeated: Vec::new() }
    }
}

fn origins() -> [Option<Origin>; ALL] {
    std::array::from_fn(|at| match SERIES[at].field.name {
        "insert" | "delete" | "new" | "drop_table_full" | "drop_clash" => Some(Origin::Events),
        "drop_dying" | "drop_other" => Some(Origin::Both),
        "found" => Some(Origin::Part),
        "search_restart" | "drop_tracker" => None,
        _ => Some(Origin::Kernel),
    })
}

/// An app after so many seconds of the gateway.
fn app_after(seconds: f64) -> App {
    let mut app = app(COLOURED);
    let mut gateway = Gateway::new();
    while gateway.seconds < seconds {
        app.take(&gateway.batch(None));
    }
    app
}

/// The same, with INVALID packets by reason.
fn app_with_reasons(seconds: f64) -> App {
    let mut app = app(COLOURED);
    let mut gateway = Gateway::new();
    while gateway.seconds < seconds {
        let mut batch = gateway.batch(None);
        let reasons = [
            ("tcp", "tcp_window_seq_high", 40.0),
            ("udp", "checksum", if gateway.seconds < 100.0 { 2.0 } else { 0.0 }),
            ("tcp", "no_connection", 0.5),
            ("tcp", "a reason that is \u{1b}[31mnot known", 0.1),
            ("icmp", "icmp_unknown_flow", 0.0),
            ("all", "unexplained", 0.25),
        ];
        for (protocol, reason, rate) in reasons {
            let mut row = batch.rows[0].clone();
            row.name = "conntrack_invalid".to_owned();
            row.tags.retain(|(key, _)| &**key == "host");
            row.add_tag(&"protocol".into(), protocol);
            row.add_tag(&"reason".into(), reason);
            let packets = Value::Integer((gateway.seconds * rate) as u64);
            let rate = Value::Float(rate);
            row.fields = vec![("packets".into(), packets), ("packets_rate".into(), rate)];
            batch.rows.push(row);
        }
        app.take(&batch);
    }
    app
}

fn app(theme: Theme) -> App {
    let mut app = App::new(theme, false);
    app.interval = Duration::from_millis(500);
    app.pace = "row 500ms, sample 100ms".to_owned();
    let said =
        |text: &str, is_warning| Message { text: text.into(), is_warning, at: Instant::now() };
    app.messages
        .say(said("7 probes attached: insert, new, delete, delete_list, causes of drops", false));
    app
}

fn picture(app: &App, width: u16, height: u16) -> Buffer {
    golden::picture(width, height, |buffer| draw(app, buffer))
}

fn golden(name: &str, app: &App, width: u16, height: u16) -> String {
    golden::compare(&format!("src/live/draw/golden/{name}"), &picture(app, width, height))
}

#[test]
fn whole_screens_at_three_sizes() {
    let app = app_after(118.0);
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        golden(&format!("{width}x{height}.txt"), &app, width, height);
    }
}

#[test]
fn a_filling_table_and_a_half_empty_table() {
    let filling = golden("filling-80x24.txt", &app_after(100.0), 80, 24);
    assert!(filling.contains(" filling ") && filling.contains("full in"), "{filling}");
    let room = golden("room-80x24.txt", &app_after(20.0), 80, 24);
    assert!(!room.contains("filling") && !room.contains("DROPPING"), "{room}");
}

#[test]
fn reasons_of_invalid_packets_are_beside_the_causes_of_drops() {
    let app = app_with_reasons(118.0);
    let small = golden("invalid-80x24.txt", &app, 80, 24);
    assert!(small.contains("tcp tcp_window_seq") && small.contains("udp checksum"), "{small}");
    let wide = golden("invalid-120x40.txt", &app, 120, 40);
    // Only reasons of any packet.
    assert!(wide.contains("unexplained") && !wide.contains("icmp"), "{wide}");
}

#[test]
fn cpus_and_help() {
    let mut app = app_after(118.0);
    app.panel = Panel::Cpus;
    golden("cpus-80x24.txt", &app, 80, 24);
    golden("cpus-200x60.txt", &app, 200, 60);
    app.panel = Panel::Help;
    let help = golden("help-80x24.txt", &app, 80, 24);
    assert!(help.contains("alloc refused"), "{help}");
}

#[test]
fn the_ascii_theme_draws_only_ascii() {
    let mut app = app_after(118.0);
    app.theme.ascii = true;
    for panel in [Panel::Overview, Panel::Cpus, Panel::Help] {
        app.panel = panel;
        assert!(text(&picture(&app, 200, 60)).is_ascii());
    }
    app.panel = Panel::Overview;
    golden("ascii-80x24.txt", &app, 80, 24);
}

#[test]
fn a_small_screen_has_the_numbers_and_says_what_it_needs() {
    let app = app_after(118.0);
    let found = golden("small-60x14.txt", &app, 60, 14);
    assert!(found.contains("needs 80x24, this is 60x14"), "{found}");
    assert!(found.contains("DROPPING") && found.contains("FULL"), "{found}");
}

#[test]
fn every_screen_size_can_be_drawn() {
    let mut app = app_with_reasons(118.0);
    for panel in [Panel::Overview, Panel::Cpus, Panel::Help] {
        app.panel = panel;
        for width in (1..90).step_by(4) {
            for height in 1..40 {
                picture(&app, width, height);
            }
        }
        for (width, height) in [(500, 3), (3, 200), (81, 24), (80, 25), (300, 100)] {
            picture(&app, width, height);
        }
    }
    picture(&App::new(COLOURED, true), 80, 24);
}

#[test]
fn without_colour_an_alarm_is_reversed_and_nothing_has_a_hue() {
    let mut app = app_after(118.0);
    let is_red = |cell: &&ratatui::buffer::Cell| cell.fg == Color::Red;
    let coloured = picture(&app, 80, 24);
    assert!(coloured.content().iter().filter(is_red).count() > 20);
    app.theme.colour = false;
    let plain = picture(&app, 80, 24);
    assert!(plain.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    assert!(plain.content().iter().any(|cell| cell.modifier.contains(Modifier::REVERSED)));
    assert_eq!(text(&plain), text(&coloured));
}

#[test]
fn names_from_outside_cannot_move_the_cursor() {
    let mut app = app(COLOURED);
    let mut gateway = Gateway::new();
    let evil = "\x1b[2Jbad\u{202e}\u{200b}\u{9b}31m\n\r名前";
    for _ in 0..3 {
        app.take(&gateway.batch(Some(evil)));
    }
    let at = Instant::now();
    app.messages.say(Message { text: format!("cannot enter {evil}"), is_warning: true, at });
    app.messages.tick(at);
    for (width, height) in [(80, 24), (200, 60), (50, 12)] {
        let found = text(&picture(&app, width, height));
        let allowed = |c: char| c.is_ascii_graphic() || " \n▁▂▃▄▅▆▇█░│─·…".contains(c);
        assert!(found.chars().all(allowed), "{found}");
    }
    let found = text(&picture(&app, 200, 60));
    assert!(found.contains(r"\u{1b}[2Jbad\u{202e}"), "{found}");
}

#[test]
fn a_paused_screen_does_not_change_and_continues_with_the_latest_row() {
    let mut app = app(COLOURED);
    let mut gateway = Gateway::new();
    (0..20).for_each(|_| app.take(&gateway.batch(None)));
    assert_eq!(app.act(Action::Pause), None);
    let before = text(&picture(&app, 120, 40));
    assert!(before.contains("PAUSED"));
    (0..20).for_each(|_| app.take(&gateway.batch(None)));
    assert_eq!(text(&picture(&app, 120, 40)), before);
    app.act(Action::PauseOrStep);
    let after = text(&picture(&app, 120, 40));
    assert!(after.contains("01:50:12 UTC") && !after.contains("PAUSED"), "{after}");
}

#[test]
fn zoom_changes_the_time_of_a_column() {
    let mut app = app_after(30.0);
    app.width = 120;
    let shows = |app: &App, what: &str| text(&picture(app, 120, 40)).contains(what);
    assert!(shows(&app, "76 s, 1 s a column"), "{}", text(&picture(&app, 120, 40)));
    app.act(Action::ZoomIn);
    assert!(shows(&app, ", 500 ms a column"));
    (0..3).for_each(|_| _ = app.act(Action::ZoomIn));
    assert!(shows(&app, ", 500 ms a column"), "no finer than the rows");
    (0..9).for_each(|_| _ = app.act(Action::ZoomOut));
    assert!(shows(&app, ", 5 min a column"), "{}", text(&picture(&app, 120, 40)));
}

#[test]
fn keys_go_through_panels_and_namespaces() {
    let mut app = app(COLOURED);
    let (mut one, mut other) = (Gateway::new(), Gateway::new());
    for _ in 0..3 {
        app.take(&one.batch(Some("self")));
        app.take(&other.batch(Some("router1")));
    }
    let shows = |app: &App, what: &str| text(&picture(app, 80, 24)).contains(what);
    assert!(shows(&app, "netns self (1 of 2)"));
    app.act(Action::Next);
    assert!(shows(&app, "netns router1 (2 of 2)"));
    app.act(Action::Cpus);
    assert!(shows(&app, "4 CPUs") && shows(&app, "busiest first"));
    app.act(Action::Order);
    assert!(shows(&app, "by number"));
    app.act(Action::Scroll(2));
    app.act(Action::Help);
    assert!(shows(&app, "Ctrl-Z"));
    app.act(Action::Back);
    assert!(shows(&app, "Drops by cause"));
}
