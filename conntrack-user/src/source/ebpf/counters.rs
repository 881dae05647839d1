//! The programs' counters, mapped into this process's memory: a read is no system call.

#![allow(unsafe_code, reason = "memory that the kernel writes has no safe type")]

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use conntrack_ebpf::{Counters, Event};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A read-only view of the map of counters.
#[derive(Debug)]
pub struct Mapped {
    start: *mut Counters,
    length: usize,
}

// SAFETY: the memory is read through atomics only, and unmapped when its one owner is dropped.
unsafe impl Send for Mapped {}
// SAFETY: shared references only read the memory, through atomics.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps `length` elements of the array behind `map`.
    ///
    /// # Errors
    /// The system's error; before 5.5 arrays cannot be mapped.
    pub fn new(map: BorrowedFd<'_>, length: usize) -> std::io::Result<Self> {
        let bytes = length * size_of::<Counters>();
        // SAFETY: a new mapping at an address of the kernel's choice, of an array that has
        // `length` elements.
        let start = unsafe {
            mmap(std::ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::SHARED, map, 0)?
        };
        Ok(Self { start: start.cast(), length })
    }

    /// The events counted in one element, by [`Event`].
    ///
    /// # Panics
    /// If there is no such element.
    #[must_use]
    pub fn get(&self, index: usize) -> [u64; Event::COUNT] {
        assert!(index < self.length);
        // SAFETY: inside the mapping, which lives as long as `self`; page-aligned, so aligned.
        let events = unsafe { &raw mut (*self.start.add(index)).events }.cast::<u64>();
        std::array::from_fn(|event| {
            // SAFETY: `event` is below `Event::COUNT`, which is at most `MAX_EVENTS`, the length of the
            // array; the kernel writes whole aligned words.
            unsafe { AtomicU64::from_ptr(events.add(event)) }.load(Ordering::Relaxed)
        })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with the same length; no reference into it is left.
        // Nothing can be done about a failure here.
        let _ = unsafe { munmap(self.start.cast(), self.length * size_of::<Counters>()) };
    }
}
