use std::io::Write;

use super::*;

/// A dump that was not read to its end, as after an error, is in the way of the next one: the
/// kernel has one at a time for a socket, and what it sent already answers another question.
#[test]
fn what_was_left_unread_is_passed_over() {
    let mut netlink = Netlink::open().unwrap();
    let mut table = StatTable::default();
    if let Err(error) = netlink.read(&mut table) {
        let required = std::env::var_os("CTPULSE_TEST_ROOT").is_some();
        assert!(!required, "it must run here, but {error}");
        let line = format!("NOT RUN HERE: what_was_left_unread_is_passed_over: {error}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let rows = table.rows();
    for request in [Request::Counters, Request::Table, Request::Expectations] {
        send(&netlink.socket, &request.encode(0), SendFlags::empty()).unwrap();
        netlink.read(&mut table).unwrap();
        assert_eq!(table.rows(), rows, "after {request:?}");
    }
}
