//! Tests of the sampler: reads that fail for a while.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use super::*;
use crate::sampling::channel::Notice;
use crate::settings::{Collect, Netns, Roots};
use crate::source::netlink::{Netlink, NetlinkError};
use crate::source::reader::StatSource;
use crate::source::roots::Place;

/// A sampler of a recorded kernel, and its consumer's end.
fn sampler() -> (Sampler, Outbox) {
    let mut input = Input::new(Duration::from_secs(1));
    input.collect = Collect { all: true, percpu: false };
    let fixture = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/5.15"));
    let (proc_root, sys_root) = (Some(fixture.join("proc")), Some(fixture.join("sys")));
    let roots = Roots { proc_root, sys_root, host_proc: None };
    let reader = Reader::new(Place::resolve(&roots, &Netns::Own), Vec::new(), Source::Auto);
    let control = Arc::new(Control::default());
    Sampler::new(input, Trigger::Asked, reader, None, 1, control, std::thread::current())
}

/// Has it ask a ctnetlink that does not answer; the other end, which keeps the socket open.
fn go_silent(sampler: &mut Sampler) -> UnixDatagram {
    let (socket, other) = UnixDatagram::pair().unwrap();
    sampler.reader.go_over_to(Netlink::on(OwnedFd::from(socket)));
    other
}

fn take(outbox: &mut Outbox) -> Box<Window> {
    outbox.windows.pop().unwrap()
}

#[test]
fn a_row_has_the_time_of_its_counters() {
    let (mut sampler, mut outbox) = sampler();
    sampler.tick(None);
    let read_at = sampler.clock.read_at;
    let _silent = go_silent(&mut sampler);
    std::thread::sleep(Duration::from_millis(2));
    sampler.tick(Some(EmissionCause::Asked));
    let window = take(&mut outbox);
    let ns = read_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    assert_eq!((i128::from(window.timestamp_ns), window.loss.samples_missed), (ns as i128, 1));
    assert!(window.entries.is_some());

    // Nothing was read since: no counters, however well the old ones are known.
    sampler.tick(Some(EmissionCause::Asked));
    let window = take(&mut outbox);
    assert!(i128::from(window.timestamp_ns) > ns as i128);
    assert_eq!((window.entries, window.loss.samples_missed), (None, 2));
}

#[test]
fn reads_that_fail_for_long_are_a_loss() {
    let (mut sampler, mut outbox) = sampler();
    let _silent = go_silent(&mut sampler);
    sampler.tick(None);
    assert!(sampler.reader.statistics() == Some(StatSource::Netlink));
    assert!(outbox.notices.pop().is_err(), "it may pass");
    sampler.clock.start -= PATIENCE;
    sampler.tick(None);
    let notice = outbox.notices.pop().unwrap();
    assert!(matches!(&notice, Notice::Lost(error) if error.is_passing()), "{notice:?}");
    assert_eq!(sampler.reader.statistics(), None);

    // Opened again, it reads the recorded file.
    sampler.clock.start -= RETRY;
    sampler.tick(None);
    let notice = outbox.notices.pop().unwrap();
    assert!(matches!(notice, Notice::Found(StatSource::Procfs(_))), "{notice:?}");
}

#[test]
fn a_refusal_is_announced_once_even_after_another_loss() {
    let (mut sampler, mut outbox) = sampler();
    let refused = || StatError::Netlink(NetlinkError::Refused);
    sampler.lost(StatError::Netlink(NetlinkError::NotLoaded));
    sampler.lost(refused());
    sampler.lost(refused());
    sampler.lost(StatError::Netlink(NetlinkError::NotLoaded));
    let notices = std::iter::from_fn(|| outbox.notices.pop().ok());
    let notices: Vec<String> = notices.map(|notice| format!("{notice:?}")).collect();
    assert_eq!(notices, ["Lost(Netlink(NotLoaded))", "Lost(Netlink(Refused))"]);
}
