//! Records of calls that are under way: what an entry probe leaves for the return probe.

/// The number of values that an entry probe can leave for the return probe.
pub const CALL_VALUES: usize = 4;

/// A call that is under way, as an entry probe leaves it for the return probe.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Call {
    /// Its place on the stack, and which function's it is; 0 for none.
    pub key: u64,
    /// What the entry probe knew.
    pub values: [u64; CALL_VALUES],
    /// When it began, in nanoseconds of `CLOCK_MONOTONIC`.
    pub began_ns: u64,
    /// The task that was running: a function returns, and calls others, in the task that called it.
    pub task: u64,
    /// Computed from all of the above, so that a record that two CPUs wrote at once is not used.
    pub check: u64,
}

const _: () = assert!(size_of::<Call>() == 64);

/// The longest time between the entry and the return of one call. The functions take microseconds;
/// a preempted task or a virtual machine's CPU that has to wait can make that much longer. An older
/// record was left by a call whose return no probe saw.
pub const CALL_NS: u64 = 1_000_000_000;

/// The longest time between the entry of a function and that of another one that it calls. Shorter
/// than [`CALL_NS`], since a record that was left behind is found by any call near it on the stack.
pub const NESTED_CALL_NS: u64 = 100_000_000;

/// The longest run of the garbage collector, which works for 10 ms and may wait long for a CPU
/// while packets flood the host.
pub const GC_RUN_NS: u64 = 10_000_000_000;

/// How far below a call on the stack another one may be to count as made by it: 1 KiB.
pub const NEAR_BYTES: u64 = 1024;

/// The task that runs and the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The address of the running task's `struct task_struct`; an interrupt runs in the task that it
    /// interrupts.
    pub task: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
}

impl Call {
    /// The record of a call that begins now.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: u64, values: [u64; CALL_VALUES], now: Now) -> Self {
        let Now { task, time_ns } = now;
        Self { key, values, began_ns: time_ns, task, check: check(key, values, now) }
    }

    /// The values, if this is the record of the call `key`, whole, and the call can be under way
    /// (see [`Call::is_under_way`]).
    #[inline(always)]
    #[must_use]
    pub fn values_of(&self, key: u64, now: Now, longest_ns: u64) -> Option<[u64; CALL_VALUES]> {
        let began = Now { task: self.task, time_ns: self.began_ns };
        let is_whole = self.key == key && self.check == check(key, self.values, began);
        (is_whole && self.is_under_way(now, longest_ns)).then_some(self.values)
    }

    /// Whether the call can be under way: the same task runs, and it began at most `longest_ns` ago.
    #[inline(always)]
    #[must_use]
    pub const fn is_under_way(&self, now: Now, longest_ns: u64) -> bool {
        self.task == now.task && now.time_ns.wrapping_sub(self.began_ns) <= longest_ns
    }
}

/// Whether a function whose frame begins at the address `stack` is near enough below the frame at
/// `caller` (0 for none) to be called from there.
#[inline(always)]
#[must_use]
pub const fn is_near(caller: u64, stack: u64) -> bool {
    caller != 0 && caller.wrapping_sub(stack) < NEAR_BYTES
}

#[inline(always)]
const fn check(key: u64, [a, b, c, d]: [u64; CALL_VALUES], began: Now) -> u64 {
    let values = a.rotate_left(16) ^ b.rotate_left(32) ^ c.rotate_left(48) ^ d.rotate_left(8);
    key ^ values ^ began.time_ns.rotate_left(24) ^ began.task.rotate_left(40)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u64 = 0xffff_c900_0000_3e00 | 2;
    const VALUES: [u64; CALL_VALUES] = [1, 2, 3, 4];
    const START: Now = Now { task: 0xffff_8881_0000_1000, time_ns: 5_000_000_000 };

    fn after(nanoseconds: u64) -> Now {
        Now { time_ns: START.time_ns + nanoseconds, ..START }
    }

    #[test]
    fn a_return_finds_the_values_of_its_own_call_only() {
        let call = Call::new(KEY, VALUES, START);
        assert_eq!(call.values_of(KEY, START, CALL_NS), Some(VALUES));
        assert_eq!(call.values_of(KEY ^ 8, START, CALL_NS), None);
        let torn = Call { values: [1, 2, 3, 5], ..call };
        assert_eq!(torn.values_of(KEY, START, CALL_NS), None);
        let torn = Call { task: call.task + 64, ..call };
        let other = Now { task: torn.task, ..START };
        assert_eq!(torn.values_of(KEY, other, CALL_NS), None);
    }

    /// No probe saw the return, and another call of the function is at the same place of the stack.
    #[test]
    fn a_record_that_a_missed_return_left_is_not_used() {
        let call = Call::new(KEY, VALUES, START);
        for longest in [CALL_NS, NESTED_CALL_NS] {
            assert_eq!(call.values_of(KEY, after(longest), longest), Some(VALUES));
            assert_eq!(call.values_of(KEY, after(longest + 1), longest), None);
        }
        let later = Call { began_ns: call.began_ns + 1, ..call };
        assert_eq!(later.values_of(KEY, after(CALL_NS), CALL_NS), None);
    }

    /// Stacks are used again: by a later task, and by all tasks of a CPU for its interrupts.
    #[test]
    fn a_record_of_another_task_is_not_used() {
        let call = Call::new(KEY, VALUES, START);
        let other = Now { task: START.task + 64, ..START };
        assert_eq!(call.values_of(KEY, other, CALL_NS), None);
        assert!(!call.is_under_way(other, GC_RUN_NS));
    }

    #[test]
    fn a_deletion_is_of_the_garbage_collector_only_while_that_runs_around_it() {
        let caller = KEY & !7;
        assert!(is_near(caller, caller - 200));
        // Another stack, a deeper call, a caller of the collector, no run.
        assert!(!is_near(caller, caller + 0x4000));
        assert!(!is_near(caller, caller - NEAR_BYTES));
        assert!(!is_near(caller, caller + 8));
        assert!(!is_near(0, caller - 200));
        let run = Call::new(caller, VALUES, START);
        assert!(run.is_under_way(after(GC_RUN_NS), GC_RUN_NS));
        assert!(!run.is_under_way(after(GC_RUN_NS + 1), GC_RUN_NS));
    }
}
