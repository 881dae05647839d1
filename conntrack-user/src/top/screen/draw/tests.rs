//! Whole screens of made-up entries, beside golden texts.
//!
//! `CTPULSE_BLESS=1 cargo test --lib top::` writes the golden texts again; read the diff.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use super::super::app::{Answer, Fill, Panel, Question, Setup, TopApp};
use super::super::keys::Action;
use super::{change_text, draw, wrapped};
use crate::notices::CannotBegin;
use crate::source::ebpf::EventsError;
use crate::source::ebpf::census::{Entry, Pass, Sample};
use crate::top::key::Key;
use crate::top::look::{Change, Past, Query};
use crate::top::tally::{Selection, Tally};
use crate::top::tests::entry;
use crate::tui::golden::{self, text};
use crate::tui::messages::Message;
use crate::tui::theme::Theme;

/// 2026-11-25 01:49:52 UTC.
const START_NS: i64 = 1_795_571_392_000_000_000;

fn app(keys: &[Key], sample: Sample) -> (TopApp, Instant) {
    let now = Instant::now();
    let selection =
        Selection { namespaces: Vec::new(), conditions: Vec::new(), keys: keys.to_vec() };
    let setup = Setup {
        query: Query { selection, sample },
        interval: Duration::from_secs(2),
        theme: Theme { colour: true, ascii: false },
        place: "netns gateway".to_owned(),
        names: vec![(5, "gateway".to_owned())],
    };
    (TopApp::new(setup, now), now)
}

/// Entries of a gateway: a client with most of them, others with fewer each, some of IPv6. After each
/// `second` there are more of the first one.
fn entries(second: u64) -> Vec<(Entry, u64)> {
    let of = |source: IpAddr, port| {
        let mut entry = entry();
        entry.original.source = source;
        entry.original.destination_port = port;
        entry
    };
    let clients = (1..=40u8).map(|last| {
        let entry = of([10, 20, 0, last].into(), 53);
        (Entry { status: 0, ..entry }, 41 - u64::from(last))
    });
    let heavy = of([10, 20, 0, 231].into(), 443);
    let long = of("2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap(), 443);
    clients.chain([(heavy, 9000 + 250 * second), (long, 700 - 3 * second)]).collect()
}

/// A look at `entries` after so many seconds, of which one in `part` is read.
fn past(question: &Question, start: Instant, seconds: u64, part: u64, pass: Pass) -> Past {
    let mut tally = Tally::default();
    for (entry, number) in entries(seconds) {
        (0..number / part).for_each(|_| tally.add(&question.query.selection, &entry));
    }
    let at = start + Duration::from_secs(seconds);
    Past::new(at, question.query.clone(), tally, pass)
}

/// An app after two looks, two seconds apart.
fn after_two_looks(keys: &[Key], sample: Sample) -> TopApp {
    let (mut app, start) = app(keys, sample);
    let (part, read) = if sample == Sample::Whole { (1, 65_536) } else { (4, 16_384) };
    let pass = Pass { buckets: 65_536, buckets_read: read, ..Pass::default() };
    let mut before = None;
    for seconds in [0, 2] {
        let now = start + Duration::from_secs(seconds);
        let question = app.ask(now).unwrap();
        let past = past(&question, start, seconds, part, pass);
        let time_ns = START_NS + seconds as i64 * 1_000_000_000;
        let look = past.look(before.as_ref(), time_ns, Duration::from_micros(3400));
        before = Some(past);
        let fill = Some(Fill { entries: 10_520.0, limit: 12_000.0 });
        app.take(Answer { number: question.number, look: Ok(Box::new(look)), fill }, now);
    }
    app
}

fn picture(app: &TopApp, width: u16, height: u16) -> Buffer {
    golden::picture(width, height, |buffer| draw(app, buffer))
}

fn golden(name: &str, app: &TopApp, width: u16, height: u16) -> String {
    golden::compare(&format!("src/top/screen/draw/golden/{name}"), &picture(app, width, height))
}

fn press(app: &mut TopApp, keys: &str) {
    for c in keys.chars() {
        let code = if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) };
        app.press(KeyEvent::new(code, KeyModifiers::NONE), Instant::now());
    }
}

#[test]
fn whole_screens_at_three_sizes() {
    let app = after_two_looks(&[Key::SOURCE], Sample::Whole);
    for (width, height) in [(80, 24), (200, 50), (40, 10)] {
        golden(&format!("whole-{width}x{height}.txt"), &app, width, height);
    }
}

#[test]
fn a_sample_has_intervals_and_changes_with_their_doubt() {
    let app = after_two_looks(&[Key::SOURCE, Key::Port], Sample::OneOf(4));
    let found = golden("sample-80x24.txt", &app, 80, 24);
    assert!(found.contains("about ") && found.contains("±"), "{found}");
    golden("sample-200x50.txt", &app, 200, 50);
    golden("sample-40x10.txt", &app, 40, 10);
}

#[test]
fn the_fastest_growth_is_first_in_the_other_order() {
    let mut app = after_two_looks(&[Key::SOURCE], Sample::Whole);
    let first = |app: &TopApp| {
        let text = text(&picture(app, 80, 24));
        let at = text.lines().position(|line| line.contains("net change/s")).unwrap();
        text.lines().skip(at + 1).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert!(first(&app)[1].contains("2001:db8:"), "{:?}", first(&app));
    app.act(Action::Order, Instant::now());
    assert!(first(&app)[0].contains("+250"), "{:?}", first(&app));
    assert!(first(&app)[1].contains("10.20.0.1 "), "{:?}", first(&app));
    app.act(Action::Scroll(5), Instant::now());
    assert!(first(&app)[0].contains("10.20.0.5 "), "{:?}", first(&app));
}

/// Two addresses of IPv6 do not fit; each keeps as much as the other.
#[test]
fn long_addresses_are_cut_where_there_is_no_room() {
    let mut app = after_two_looks(&[Key::SOURCE, Key::DESTINATION], Sample::Whole);
    app.act(Action::Scroll(1), Instant::now());
    let found = text(&picture(&app, 82, 24));
    assert!(found.contains("2001:db8:1234:5678:9abc:def0:1234:5678  198.51.100.9"), "{found}");
    let found = text(&picture(&app, 60, 24));
    assert!(found.contains("  2001:db8:1234:5…  198.51.100.9"), "{found}");
}

#[test]
fn the_help_lists_the_keys_and_the_columns() {
    let mut app = after_two_looks(&[Key::SOURCE], Sample::Whole);
    app.panel = Panel::Help;
    let found = golden("help-80x24.txt", &app, 80, 24);
    assert!(found.contains("not evicted when") && found.contains("Ctrl-L"), "{found}");
}

#[test]
fn a_typed_line_is_shown_with_its_error() {
    let mut app = after_two_looks(&[Key::SOURCE], Sample::Whole);
    press(&mut app, "wsorce=10.0.0.1\n");
    let found = golden("error-80x24.txt", &app, 80, 24);
    assert!(found.contains("did you mean source?"), "{found}");
    press(&mut app, &"x".repeat(200));
    let found = text(&picture(&app, 40, 10));
    assert!(found.contains("xx_") && found.contains("Enter apply"), "{found}");
}

#[test]
fn trouble_names_the_cause_and_the_remedy_above_the_old_table() {
    let (mut app, now) = app(&[Key::SOURCE], Sample::Whole);
    let fail = |app: &mut TopApp| {
        let now = now + Duration::from_secs(60);
        let question = app.ask(now).unwrap();
        let look = Err(CannotBegin::top(&EventsError::NoFunctions.into()));
        app.take(Answer { number: question.number, look, fill: None }, now);
        text(&picture(app, 80, 24))
    };
    let found = fail(&mut app);
    assert!(found.contains("the table cannot be read: nf_conntrack is not loaded"), "{found}");
    assert!(found.contains("it is tried again every 2s"), "{found}");
    let mut app = after_two_looks(&[Key::SOURCE], Sample::Whole);
    let found = fail(&mut app);
    assert!(found.contains("Below is the table as of 01:49:54 UTC."), "{found}");
    assert!(found.contains("10.20.0.231"), "{found}");
}

#[test]
fn doubts_and_logged_warnings_are_below_the_table() {
    let (mut app, now) = app(&[Key::SOURCE], Sample::Whole);
    let question = app.ask(now).unwrap();
    let pass = Pass {
        buckets: 65_536,
        buckets_read: 65_000,
        buckets_lost: 536,
        unreadable: 2,
        ..Pass::default()
    };
    let look = past(&question, now, 0, 1, pass).look(None, START_NS, Duration::ZERO);
    app.take(Answer { number: question.number, look: Ok(Box::new(look)), fill: None }, now);
    app.messages.say(Message { text: "evil \x1b[2J".to_owned(), is_warning: true, at: now });
    app.messages.tick(now);
    let found = golden("doubts-80x24.txt", &app, 80, 24);
    assert!(found.contains("at least ") && found.contains("536 buckets are missing"), "{found}");
    assert!(found.contains(r"warning: evil \u{1b}[2J"), "{found}");
    picture(&app, 40, 10);
}

#[test]
fn names_from_outside_cannot_move_the_cursor() {
    let mut app = after_two_looks(&[Key::Namespace], Sample::Whole);
    let evil = "\x1b[2Jbad\u{202e}\u{200b}\u{9b}31m\n\r名前";
    app.setup.names = vec![(5, evil.to_owned())];
    app.setup.place = format!("netns {evil}");
    for (width, height) in [(80, 24), (200, 50), (40, 10)] {
        let found = text(&picture(&app, width, height));
        let allowed = |c: char| c.is_ascii_graphic() || " \n█░…±".contains(c);
        assert!(found.chars().all(allowed), "{found}");
    }
    let found = text(&picture(&app, 200, 50));
    assert!(found.contains(r"netns \u{1b}[2Jbad\u{202e}"), "{found}");
    assert!(found.contains(r"  \u{1b}[2Jbad\u{202e}"), "{found}");
}

#[test]
fn every_screen_size_can_be_drawn() {
    let keys = [Key::SOURCE, Key::DESTINATION, Key::Port];
    let mut with_error = after_two_looks(&keys, Sample::OneOf(4));
    press(&mut with_error, "bsorce\n");
    let mut with_help = after_two_looks(&keys, Sample::Whole);
    with_help.panel = Panel::Help;
    let (empty, _) = app(&keys, Sample::Whole);
    for app in [with_error, with_help, after_two_looks(&keys, Sample::OneOf(4)), empty] {
        for width in (1..90).step_by(4) {
            for height in 1..30 {
                picture(&app, width, height);
            }
        }
        for (width, height) in [(500, 3), (3, 200), (81, 24), (300, 100)] {
            picture(&app, width, height);
        }
    }
}

#[test]
fn the_ascii_theme_draws_only_ascii_and_no_colour_leaves_no_hue() {
    let mut app = after_two_looks(&[Key::SOURCE, Key::DESTINATION], Sample::OneOf(4));
    let is_coloured = |cell: &ratatui::buffer::Cell| cell.fg != Color::Reset;
    assert!(picture(&app, 80, 24).content().iter().any(is_coloured));
    app.setup.theme = Theme { colour: false, ascii: true };
    app.act(Action::Pause, Instant::now());
    for panel in [Panel::Table, Panel::Help] {
        app.panel = panel;
        for (width, height) in [(60, 24), (200, 50)] {
            let picture = picture(&app, width, height);
            assert!(text(&picture).is_ascii(), "{}", text(&picture));
            assert!(!picture.content().iter().any(is_coloured));
        }
    }
    let reversed = |cell: &ratatui::buffer::Cell| cell.modifier.contains(Modifier::REVERSED);
    assert!(picture(&app, 80, 24).content().iter().any(reversed), "PAUSED");
}

#[test]
fn an_empty_table_has_no_lines() {
    let (mut app, now) = app(&[Key::SOURCE], Sample::Whole);
    assert!(text(&picture(&app, 80, 24)).contains("reading the table"));
    let question = app.ask(now).unwrap();
    let pass = Pass { buckets: 8, buckets_read: 8, ..Pass::default() };
    let past = Past::new(now, question.query.clone(), Tally::default(), pass);
    let look = Ok(Box::new(past.look(None, START_NS, Duration::ZERO)));
    app.take(Answer { number: question.number, look, fill: None }, now);
    let found = text(&picture(&app, 80, 24));
    assert!(found.contains("\n0 entries ") && !found.contains("share"), "{found}");
}

#[test]
fn a_change_is_as_precise_as_it_is_known() {
    let text = |per_second, doubt| change_text(Some(Change { per_second, doubt }), false);
    for (per_second, doubt, expected) in [
        (0.0, 0.0, "0"),
        (-0.0, 0.0, "0"),
        (12.0, 0.0, "+12"),
        (-0.5, 0.0, "-0.50"),
        (-1234.0, 0.0, "-1,234"),
        (2400.0, 340.2, "+2,400 ±340"),
        (-1234.0, 56.7, "-1,234 ±57"),
        (123_456.0, 9876.0, "+123,500 ±9,900"),
        (8.0, 54.3, "±54"),
        (0.0, 0.123, "±0.12"),
    ] {
        assert_eq!(text(per_second, doubt), expected);
    }
    assert_eq!(change_text(None, false), "-");
    assert_eq!(change_text(Some(Change { per_second: 0.0, doubt: 5.0 }), true), "+-5");
}

#[test]
fn a_text_is_broken_between_words() {
    assert_eq!(wrapped("a bc def g", 4), ["a bc", "def", "g"]);
    assert_eq!(wrapped("longer than it", 3), ["longer", "than", "it"]);
    assert_eq!(wrapped("", 3), [""; 0]);
}
