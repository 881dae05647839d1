//! Attaching probes again, on a thread of its own: it takes a part of a second, for which the
//! sampling thread has no time.
//!
//! The kernel removes probes silently when the module that they are in is unloaded, and there may
//! be nothing to attach to at first. The sampler asks, goes on sampling, and finds the answer at a
//! later tick; nothing locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::source::ebpf::{EventReader, EventsError};

/// How often attached probes are checked, unless it is urgent: see [`Attach::pause`].
pub(super) const CHECK: Duration = Duration::from_secs(10);

/// The work of the thread.
pub trait Attach: Send {
    /// Attaches probes.
    ///
    /// # Errors
    /// Why it is impossible now.
    fn attach(&mut self) -> Result<EventReader, EventsError>;

    /// The time between two checks of attached probes.
    fn pause(&self) -> Duration {
        CHECK
    }

    /// Checks that the attached probes still count what they should; called after each
    /// [`Attach::pause`].
    ///
    /// # Errors
    /// Why they must be given up.
    fn check(&mut self) -> Result<(), EventsError>;
}

/// Probes for an input, or why there are none.
pub(crate) type AttachResult = Result<EventReader, EventsError>;

/// The event source of one input.
#[derive(Debug)]
pub struct EventSource {
    /// The attached programs' counters; `None` while there is nothing to attach to.
    pub reader: Option<EventReader>,
    /// Attaches probes for this input again.
    pub attacher: Attacher,
}

/// The sampler's handle of the thread, which ends with it.
#[derive(Debug)]
pub struct Attacher {
    flags: Arc<Flags>,
    thread: Option<JoinHandle<()>>,
    answers: Consumer<AttachResult>,
    retired: Producer<EventReader>,
    is_asked: bool,
}

/// The state that the sampler and the thread share.
#[derive(Debug, Default)]
struct Flags {
    asked: AtomicBool,
    attached: AtomicBool,
    stop: AtomicBool,
}

impl Attacher {
    /// Starts the thread; `attached` is true if there are probes already.
    ///
    /// # Errors
    /// The system's error.
    pub fn start(attach: impl Attach + 'static, attached: bool) -> std::io::Result<Self> {
        let flags = Arc::new(Flags { attached: attached.into(), ..Flags::default() });
        let (answers_in, answers) = RingBuffer::new(2);
        let (retired, retired_out) = RingBuffer::new(2);
        let theirs = Arc::clone(&flags);
        let thread = std::thread::Builder::new().name("attacher".into());
        let thread = thread.spawn(move || work(attach, &theirs, answers_in, retired_out))?;
        Ok(Self { flags, thread: Some(thread), answers, retired, is_asked: false })
    }

    /// Asks for new probes, unless that was done and not answered yet.
    pub fn ask(&mut self) {
        if !std::mem::replace(&mut self.is_asked, true) {
            self.flags.asked.store(true, Ordering::Release);
            self.wake();
        }
    }

    /// Whether an answer is on its way.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Returns an answer, or an error that comes unasked: then the probes must be given up.
    pub fn answer(&mut self) -> Option<AttachResult> {
        let answer = self.answers.pop().ok()?;
        self.is_asked = false;
        Some(answer)
    }

    /// Gives up probes; the thread detaches them.
    pub fn retire(&mut self, reader: EventReader) {
        self.flags.attached.store(false, Ordering::Release);
        // Without room they are detached here, which costs a tick or two.
        let _ = self.retired.push(reader);
        self.wake();
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Attacher {
    fn drop(&mut self) {
        self.flags.stop.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // A panic would have ended the program.
            let _ = thread.join();
        }
    }
}

fn work(
    mut attach: impl Attach,
    flags: &Flags,
    mut answers: Producer<AttachResult>,
    mut retired: Consumer<EventReader>,
) {
    while !flags.stop.load(Ordering::Acquire) {
        while let Ok(reader) = retired.pop() {
            reader.events.release(reader.slot);
        }
        if flags.asked.swap(false, Ordering::AcqRel) {
            let answer = attach.attach();
            flags.attached.store(answer.is_ok(), Ordering::Release);
            // There is room: the sampler does not ask before it has taken the last answer.
            let _ = answers.push(answer);
        } else if flags.attached.load(Ordering::Acquire)
            && let Err(error) = attach.check()
        {
            flags.attached.store(false, Ordering::Release);
            let _ = answers.push(Err(error));
        } else {
            std::thread::park_timeout(attach.pause());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails every time, and counts how often it was asked.
    struct Failing(Arc<std::sync::atomic::AtomicU32>);

    impl Attach for Failing {
        fn attach(&mut self) -> AttachResult {
            self.0.fetch_add(1, Ordering::AcqRel);
            Err(EventsError::NoFunctions)
        }

        fn check(&mut self) -> Result<(), EventsError> {
            Err(EventsError::NoNamespace)
        }
    }

    fn answer(attacher: &mut Attacher) -> EventsError {
        loop {
            if let Some(answer) = attacher.answer() {
                return answer.unwrap_err();
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn each_request_has_one_answer() {
        let asked = Arc::default();
        let mut attacher = Attacher::start(Failing(Arc::clone(&asked)), false).unwrap();
        for expected in 1..=3 {
            attacher.ask();
            attacher.ask();
            assert!(attacher.is_asked());
            assert!(matches!(answer(&mut attacher), EventsError::NoFunctions));
            assert!(!attacher.is_asked());
            assert_eq!(asked.load(Ordering::Acquire), expected);
        }
        assert!(attacher.answer().is_none());
    }

    #[test]
    fn a_failed_check_is_reported_without_a_request() {
        let mut attacher = Attacher::start(Failing(Arc::default()), true).unwrap();
        assert!(matches!(answer(&mut attacher), EventsError::NoNamespace));
    }
}
