//! The result of one read of the kernel: raw numbers and their names.
//!
//! Types only. No I/O happens here and no arithmetic; `source` fills these in and `accumulate`
//! gives them meaning.

use std::time::Duration;

/// The column of `entries`: the first in every kernel, and a text without it is refused.
pub const ENTRIES_COLUMN: usize = 0;

/// How many kinds of events the event source counts, by [`conntrack_ebpf::Event`].
pub const EVENTS: usize = conntrack_ebpf::Event::ALL.len();

/// Which events the event source counts, by [`conntrack_ebpf::Event`]; none without one.
pub type Counted = [bool; EVENTS];

/// A kernel's release as far as conntrack's columns depend on it: major and minor.
pub type Release = (u32, u32);

/// How one eBPF program of the event source fares, since it was attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Its name, such as `hash_insert`.
    pub name: &'static str,
    /// Calls at which the kernel skipped the program because a tracing program ran on that CPU
    /// already (`recursion_misses`); such an event is not counted. `None` before 6.7, where the
    /// kernel does not report it.
    pub skipped: Option<u64>,
    /// Calls that its probe missed: another probe ran on that CPU, or too many calls were under
    /// way for a return probe (`nmissed`). `None` before 6.7.
    pub missed: Option<u64>,
    /// How often it ran, and for how many nanoseconds in all; 0 unless
    /// `kernel.bpf_stats_enabled` is on.
    pub runs: u64,
    /// See `runs`.
    pub run_time_ns: u64,
}

/// Numbers of the event source for all network namespaces together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostWide {
    /// Allocations that failed, for want of memory or of room in the table: an error names no
    /// namespace.
    pub alloc_failed: u64,
    /// Those of them for which the table was full, by packets, ctnetlink and BPF.
    pub refused_full: u64,
    /// Events whose namespace is unknown; they are in no row.
    pub unplaced: u64,
}

/// The columns of the statistics, by name: those of the file's header, or ctnetlink's attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// The schema's name of each column, in the file's order; no name stands twice.
    pub names: Vec<String>,
    /// Whether every column is a counter that the kernel maintains: ctnetlink leaves out what is
    /// none, where procfs prints a 0.
    pub maintained: bool,
}

impl Layout {
    /// The index of the column with the schema's name `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }
}

/// When the kernel was read: at some moment between two readings of a monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadTime {
    /// The clock before the read.
    pub before: Duration,
    /// The clock after it.
    pub after: Duration,
}

impl ReadTime {
    /// Whether the moment is known to an eighth of `length`. It is not where the thread was
    /// delayed within the read, by other threads, a signal or a slow kernel.
    #[must_use]
    pub fn is_exact_for(&self, length: Duration) -> bool {
        self.after.saturating_sub(self.before) <= length / 8
    }
}

impl From<Duration> for ReadTime {
    /// A read that took no time.
    fn from(at: Duration) -> Self {
        Self { before: at, after: at }
    }
}

/// One read of the statistics, as they stand: one row per possible CPU.
#[derive(Debug, Clone, Default)]
pub struct StatTable {
    /// The columns; a new value each time that the header changes.
    pub layout: std::sync::Arc<Layout>,
    /// The kernel's unsigned 32-bit values, row after row, `layout.names.len()` per row.
    pub values: Vec<u32>,
    /// How many leading columns of each row could be read; 0 for a row that is not readable.
    pub filled: Vec<u16>,
    /// The number of each row's CPU; empty where the source does not number them, as procfs.
    pub cpus: Vec<u32>,
    /// Whether a running kernel gave them: such counters wrap and are never zeroed, unlike those
    /// of a plain file, which may be replaced.
    pub is_live: bool,
}

impl StatTable {
    /// Forgets all rows and keeps their memory.
    pub fn clear(&mut self) {
        self.values.clear();
        self.filled.clear();
        self.cpus.clear();
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.layout.names.len()
    }

    /// Number of rows, unreadable ones among them.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.filled.len()
    }

    /// The namespace's number of entries: the first readable row's (all rows repeat it).
    #[must_use]
    pub fn entries(&self) -> Option<u32> {
        let row = self.filled.iter().position(|&filled| usize::from(filled) > ENTRIES_COLUMN)?;
        self.values.get(row * self.columns() + ENTRIES_COLUMN).copied()
    }
}
