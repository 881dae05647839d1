//! The channel between a sampling thread and the others: windows and notices one way, requests
//! the other. Everything is bounded and nothing locks.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::Thread;

use rtrb::{Consumer, Producer};

use crate::accumulate::Window;
use crate::source::ebpf::{EventsError, HookCount};
use crate::source::procfs::StatError;
use crate::source::reader::StatSource;
use crate::source::stat_text::Oddities;
use crate::source::sysctl::SysctlError;

/// A change that is logged, in the order in which it happened.
#[derive(Debug)]
pub enum Notice {
    /// The statistics cannot be read any more (or not yet).
    Lost(StatError),
    /// Nothing can be sampled any more, and nothing else comes.
    Ended(StatError),
    /// The statistics are read from here (again).
    Found(StatSource),
    /// They are read from ctnetlink, for the first time.
    Netlink,
    /// A sysctl file gives no number.
    Sysctl(SysctlError),
    /// The statistics file is not quite as kernels print it.
    Odd(Oddities),
    /// The counters of a plain statistics file started again.
    Restarted,
    /// The sampled namespace could not be entered: host-wide sysctl files only.
    Foreign(&'static str),
    /// The counters of INVALID packets by reason cannot be read.
    ReasonsUnread(io::Error),
    /// The probes were detached, because the statistics that their counters belong to are gone.
    Detached,
    /// Probes were attached to so many hooks, and their counters start from 0.
    Attached(HookCount),
    /// The probes are gone and cannot be attached again.
    NotAttached(EventsError),
}

/// Requests of other threads to the sampler, without a lock.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    gathers: AtomicU32,
}

impl Control {
    /// Asks for one emission now; `sampler` is the sampling thread.
    pub fn gather(&self, sampler: &Thread) {
        self.gathers.fetch_add(1, Ordering::Release);
        sampler.unpark();
    }

    /// Takes one request for an emission, if there is one.
    #[must_use]
    pub fn take_gather(&self) -> bool {
        let take = |waiting: u32| waiting.checked_sub(1);
        self.gathers.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    /// Whether the sampler must end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Asks the sampler to end; windows that were handed over stay in the ring.
    pub fn stop(&self, sampler: &Thread) {
        self.stop.store(true, Ordering::Release);
        sampler.unpark();
    }
}

/// The consumer's end: windows to read and to give back, notices to log.
#[derive(Debug)]
pub struct Outbox {
    /// Filled windows, oldest first.
    pub windows: Consumer<Box<Window>>,
    /// Windows that were read and may be filled again.
    pub spent: Producer<Box<Window>>,
    /// Notices to log.
    pub notices: Consumer<Notice>,
}
