//! The notices of a sampling thread: each state once, in the order in which it happened.

use std::io;

use rtrb::{Producer, PushError};

use crate::sampling::channel::Notice;
use crate::source::ebpf::EventsError;
use crate::source::netlink::NetlinkError;
use crate::source::procfs::StatError;
use crate::source::reader::StatSource;
use crate::source::stat_text::Oddities;
use crate::source::sysctl::SysctlError;

/// The notices of one sampling thread. One for which there is no room is sent when the state is seen
/// again.
#[derive(Debug)]
pub(super) struct Announced {
    notices: Producer<Notice>,
    /// The statistics are lost.
    loss: bool,
    /// They are lost because ctnetlink refuses them.
    refusal: bool,
    /// Where the statistics come from.
    source: bool,
    /// The sampled namespace cannot be entered.
    foreign: bool,
    /// Probes cannot be attached.
    attach_failure: bool,
    /// The reasons of INVALID packets cannot be read.
    unread_reasons: bool,
    /// The last oddities of the statistics file.
    oddities: Oddities,
}

impl Announced {
    pub(super) fn new(notices: Producer<Notice>) -> Self {
        Self {
            notices,
            loss: false,
            refusal: false,
            source: false,
            foreign: false,
            attach_failure: false,
            unread_reasons: false,
            oddities: Oddities::default(),
        }
    }

    /// Sends a notice; false where there is no room.
    fn send(&mut self, notice: Notice) -> bool {
        self.notices.push(notice).is_ok()
    }

    /// Announces a sysctl file that gives no number.
    pub(super) fn sysctl(&mut self, error: SysctlError) {
        self.send(Notice::Sysctl(error));
    }

    /// Announces that the counters of a plain file have started again.
    pub(super) fn restart(&mut self) {
        self.send(Notice::Restarted);
    }

    /// Announces that the sampled namespace cannot be entered.
    pub(super) fn foreign(&mut self, missing: &'static str) {
        self.foreign = self.foreign || self.send(Notice::Foreign(missing));
    }

    /// Announces what is odd about the statistics file, if that has changed.
    pub(super) fn oddities(&mut self, oddities: Oddities) {
        let is_new = oddities != self.oddities;
        if is_new && (oddities == Oddities::default() || self.send(Notice::Odd(oddities))) {
            self.oddities = oddities;
        }
    }

    /// Announces where the statistics come from, if they were lost before or `auto` took ctnetlink.
    pub(super) fn source(&mut self, source: impl FnOnce() -> Option<StatSource>, is_auto: bool) {
        if self.source && !self.loss {
            return;
        }
        let Some(source) = source() else { return };
        let notice = match source {
            source if self.loss => Notice::Found(source),
            StatSource::Netlink if is_auto => Notice::Netlink,
            _ => return self.source = true,
        };
        self.source = self.send(notice);
        self.loss &= !self.source;
        self.refusal &= !self.source;
    }

    /// Announces a loss of the statistics, if it is a new one; returns whether it is.
    pub(super) fn loss(&mut self, error: StatError) -> bool {
        // A refusal has a remedy, even where a loss was announced before conntrack was there.
        let is_refusal = matches!(error.netlink(), Some(NetlinkError::Refused));
        let is_new = !self.loss || is_refusal && !self.refusal;
        if !is_new {
            return false;
        }
        self.loss = self.send(Notice::Lost(error));
        self.refusal |= is_refusal && self.loss;
        true
    }

    /// Announces the end of the input, the last of all notices.
    ///
    /// # Errors
    /// The error itself, where there is no room.
    pub(super) fn end(&mut self, error: StatError) -> Result<(), StatError> {
        match self.notices.push(Notice::Ended(error)) {
            Err(PushError::Full(Notice::Ended(error))) => Err(error),
            _ => Ok(()),
        }
    }

    /// Announces why the reasons of INVALID packets cannot be read, once until they can be.
    pub(super) fn reasons(&mut self, failure: Option<io::Error>) {
        self.unread_reasons = failure
            .is_some_and(|error| self.unread_reasons || self.send(Notice::ReasonsUnread(error)));
    }

    /// Announces that the probes were given up.
    pub(super) fn detached(&mut self) {
        self.send(Notice::Detached);
    }

    /// Announces an answer about new probes; a failure only once in a row.
    pub(super) fn probes(&mut self, notice: Notice) {
        let is_failure =
            matches!(&notice, Notice::NotAttached(error) if !matches!(error, EventsError::Unused));
        let is_known = self.attach_failure && is_failure;
        self.attach_failure = is_failure;
        if !is_known {
            self.send(notice);
        }
    }
}

#[cfg(test)]
mod tests {
    use rtrb::RingBuffer;

    use super::*;

    #[test]
    fn unread_reasons_are_announced_once_until_they_are_read() {
        let (notices, mut sent) = RingBuffer::new(1);
        let mut announced = Announced::new(notices);
        let refused = || Some(io::Error::from_raw_os_error(1));
        for (failure, is_sent) in
            [(None, false), (refused(), true), (refused(), false), (None, false), (refused(), true)]
        {
            announced.reasons(failure);
            assert_eq!(sent.pop().is_ok(), is_sent);
        }
        announced.reasons(None);
        announced.restart();
        announced.reasons(refused());
        assert!(matches!(sent.pop(), Ok(Notice::Restarted)));
        // There was no room.
        announced.reasons(refused());
        assert!(matches!(sent.pop(), Ok(Notice::ReasonsUnread(_))));
    }
}
