use crossterm::event::{KeyCode, KeyModifiers};

use super::*;
use crate::source::ebpf::census::{CensusError, Pass};
use crate::top::look::Past;
use crate::top::tally::{Selection, Tally};

const SECOND: Duration = Duration::from_secs(1);

/// An app that groups by the source each two seconds, and the time of its first look.
fn app() -> (TopApp, Instant) {
    let now = Instant::now();
    let selection =
        Selection { namespaces: vec![5], conditions: Vec::new(), keys: vec![Key::SOURCE] };
    let setup = Setup {
        query: Query { selection, sample: Sample::DEFAULT },
        interval: 2 * SECOND,
        theme: Theme { colour: false, ascii: false },
        place: String::new(),
        names: Vec::new(),
    };
    (TopApp::new(setup, now), now)
}

/// The answer that finds an empty table.
fn answer(question: &Question) -> Answer {
    let pass = Pass { buckets: 1, buckets_read: 1, ..Pass::default() };
    let past = Past::new(Instant::now(), question.query.clone(), Tally::default(), pass);
    let look = Box::new(past.look(None, 0, Duration::ZERO));
    Answer { number: question.number, look: Ok(look), fill: None }
}

fn shown_keys(app: &TopApp) -> Option<&[Key]> {
    app.look.as_ref().map(|look| &look.query.selection.keys[..])
}

fn press(app: &mut TopApp, keys: &str, now: Instant) -> Option<Request> {
    let mut request = None;
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        request = app.press(KeyEvent::new(code, KeyModifiers::NONE), now);
    }
    request
}

#[test]
fn looks_begin_an_interval_apart_and_never_overlap() {
    let (mut app, start) = app();
    let question = app.ask(start).unwrap();
    assert!(app.is_reading());
    assert_eq!((app.due(), app.ask(start + 9 * SECOND)), (None, None));
    app.take(answer(&question), start + SECOND / 2);
    assert_eq!(app.due(), Some(start + 2 * SECOND));
    assert_eq!(app.ask(start + SECOND), None);
    // A look that takes longer than the interval is followed by as long a pause.
    let question = app.ask(start + 2 * SECOND).unwrap();
    app.take(answer(&question), start + 7 * SECOND);
    assert_eq!(app.due(), Some(start + 12 * SECOND));
}

#[test]
fn keys_choose_the_grouping_and_look_at_once() {
    let (mut app, now) = app();
    let mut grouping = |keys: &str| {
        press(&mut app, keys, now);
        let question = app.ask(now).unwrap();
        app.take(answer(&question), now);
        shown_keys(&app).unwrap().to_vec()
    };
    assert_eq!(grouping("3"), [Key::DESTINATION]);
    assert_eq!(grouping("g"), [Key::Port]);
    assert_eq!(grouping("G"), [Key::DESTINATION]);
    assert_eq!(grouping("0"), [Key::Namespace]);
    assert_eq!(grouping("g"), [Key::SOURCE]);
    assert_eq!(grouping("bx\x1b1"), [Key::SOURCE]);
    assert_eq!(grouping("b,port\n"), [Key::SOURCE, Key::Port]);
    assert_eq!(grouping("g"), [Key::SOURCE]);
}

/// The question before was of another grouping: its lines are not those that were chosen.
#[test]
fn an_answer_to_an_earlier_choice_is_not_shown() {
    let (mut app, now) = app();
    let question = app.ask(now).unwrap();
    press(&mut app, "4", now);
    assert_eq!(app.ask(now), None, "one look at a time");
    app.take(answer(&question), now);
    assert_eq!(shown_keys(&app), None);
    let question = app.ask(now).unwrap();
    app.take(answer(&Question { number: 99, ..question.clone() }), now);
    assert_eq!(shown_keys(&app), None);
    app.take(answer(&question), now);
    assert_eq!(shown_keys(&app), Some(&[Key::Port][..]));
}

#[test]
fn conditions_are_typed_and_an_error_keeps_the_line() {
    let (mut app, now) = app();
    let question = app.ask(now).unwrap();
    app.take(answer(&question), now);
    assert_eq!(press(&mut app, "wprotocol=udp,q?", now), None);
    assert_eq!(app.prompt.as_ref().unwrap().text, "protocol=udp,q?");
    press(&mut app, "\n", now);
    let error = app.prompt.as_ref().unwrap().error.clone().unwrap();
    assert!(error.contains("'q?' is not a condition; write KEY=VALUE"), "{error}");
    for _ in 0..3 {
        app.press(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE), now);
    }
    press(&mut app, ",not-assured\n", now);
    assert!(app.prompt.is_none());
    assert_eq!(app.conditions(), "protocol=udp,not-assured");
    assert_eq!(app.ask(now).unwrap().query.selection.conditions.len(), 2);
    // The line begins with what holds, and Esc leaves it so.
    press(&mut app, "f,x", now);
    assert_eq!(app.prompt.as_ref().unwrap().text, "protocol=udp,not-assured,x");
    assert_eq!(press(&mut app, "\x1b", now), None);
    assert_eq!(app.conditions(), "protocol=udp,not-assured");
}

#[test]
fn a_paused_picture_stands_still_until_something_is_asked_for() {
    let (mut app, now) = app();
    let question = app.ask(now).unwrap();
    press(&mut app, "p", now);
    app.take(answer(&question), now);
    assert!(app.is_paused() && shown_keys(&app).is_none());
    assert_eq!(app.due(), None);
    press(&mut app, "r", now);
    let question = app.ask(now).unwrap();
    app.take(answer(&question), now);
    assert_eq!(shown_keys(&app), Some(&[Key::SOURCE][..]));
    assert_eq!(app.due(), None);
    press(&mut app, "6", now);
    let question = app.ask(now).unwrap();
    app.take(answer(&question), now);
    assert_eq!((shown_keys(&app), app.due()), (Some(&[Key::State][..]), None));
    press(&mut app, " ", now);
    assert!(!app.is_paused() && app.due() == Some(now));
}

#[test]
fn trouble_stays_with_the_last_look_until_there_is_another() {
    let (mut app, now) = app();
    let question = app.ask(now).unwrap();
    app.take(answer(&question), now);
    let question = app.ask(now + 2 * SECOND).unwrap();
    let trouble = CannotBegin::top(&CensusError::HiddenTable);
    let refused = Answer { look: Err(trouble.clone()), ..answer(&question) };
    app.take(refused, now + 2 * SECOND);
    assert_eq!(app.trouble, Some(trouble));
    assert!(app.look.is_some());
    let question = app.ask(now + 4 * SECOND).unwrap();
    app.take(answer(&question), now + 4 * SECOND);
    assert_eq!(app.trouble, None);
}

#[test]
fn the_interval_goes_through_its_steps_and_ends_at_a_second() {
    let (mut app, now) = app();
    app.setup.interval = 3 * SECOND;
    let mut after = |keys: &str| {
        press(&mut app, keys, now);
        app.setup.interval.as_secs()
    };
    assert_eq!((after("+"), after("+"), after("+")), (2, 1, 1));
    assert_eq!((after("-"), after("--"), after("---")), (2, 10, 60));
}

#[test]
fn the_whole_table_is_read_on_request_and_a_sample_again() {
    let (mut app, now) = app();
    for (part, again) in [(Sample::OneOf(64), Sample::OneOf(64)), (Sample::Whole, Sample::DEFAULT)]
    {
        app.setup.query.sample = part;
        app = TopApp::new(app.setup, now);
        if part != Sample::Whole {
            press(&mut app, "e", now);
        }
        assert_eq!(app.ask(now).unwrap().query.sample, Sample::Whole);
        press(&mut app, "e", now);
        assert_eq!(app.setup.query.sample, again);
    }
}

#[test]
fn keys_that_end_the_program_do_so_from_the_table_only() {
    let (mut app, now) = app();
    assert_eq!(press(&mut app, "q", now), Some(Request::Quit));
    assert_eq!(press(&mut app, "\x1b", now), Some(Request::Quit));
    assert_eq!(press(&mut app, "?\x1b", now), None);
    assert_eq!(press(&mut app, "w\x1b", now), None);
    assert_eq!(press(&mut app, "wq", now), None);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app.press(control_c, now), Some(Request::Quit));
}
