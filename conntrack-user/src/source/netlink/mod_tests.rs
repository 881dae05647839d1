use std::io::Write;

use super::*;

/// ctnetlink of this host; prints that the test does not run where it cannot be asked.
fn asked(test: &str) -> Option<(Netlink, StatTable)> {
    let mut netlink = Netlink::open().unwrap();
    let mut table = StatTable::default();
    let Err(error) = netlink.read(&mut table) else { return Some((netlink, table)) };
    let required = std::env::var_os("CTPULSE_TEST_ROOT").is_some();
    assert!(!required, "{test} must run here, but {error}");
    let line = format!("NOT RUN HERE: {test}: {error}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

/// A dump that was not read to its end, as after an error, is in the way of the next one: the
/// kernel has one at a time for a socket, and what it sent already answers another question.
#[test]
fn unread_answers_are_skipped() {
    let Some((mut netlink, mut table)) = asked("unread_answers_are_skipped") else {
        return;
    };
    let rows = table.rows();
    // An answer to each of the questions.
    for column in ["entries", "insert_failed", "expect_new"] {
        assert!(table.layout.column(column).is_some(), "{column}");
    }
    for request in [Request::Counters, Request::Table, Request::Expectations] {
        send(&netlink.socket, &request.encode(0), SendFlags::empty()).unwrap();
        netlink.read(&mut table).unwrap();
        assert_eq!(table.rows(), rows, "after {request:?}");
    }
    send(&netlink.socket, &Request::Counters.encode(0), SendFlags::empty()).unwrap();
    netlink.drain();
    assert_eq!(netlink.ask(Request::Counters), Ok(()));
}

#[test]
fn an_incomplete_answer_is_requested_three_times() {
    let Some((mut netlink, mut table)) = asked("an_incomplete_answer_is_requested_three_times")
    else {
        return;
    };
    // The answer to the first question fits, that to the second does not.
    let whole = std::mem::replace(&mut netlink.buffer, vec![0; 64].into());
    let before = netlink.sequence;
    let error = netlink.read(&mut table).unwrap_err();
    assert!(error.is_passing(), "{error}");
    assert_eq!(netlink.sequence - before, 3 * 2);
    assert_eq!(table.rows(), 0);
    netlink.buffer = whole;
    netlink.read(&mut table).unwrap();
    assert!(table.rows() > 0);
}
