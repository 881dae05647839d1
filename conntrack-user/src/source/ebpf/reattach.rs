//! Attaching probes again, on a thread of its own: it takes a part of a second, for which the
//! sampling thread has no time.
//!
//! Probes die without a word when the module that they are in is unloaded, and there may be
//! nothing to attach to at first. The sampler asks, goes on sampling, and finds the answer at a
//! later tick; nothing locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::source::ebpf::{EventReader, EventsError};

/// How often it is looked whether what is attached may go on: see [`Attach::check`].
const CHECK: Duration = Duration::from_secs(10);

/// What the thread does.
pub trait Attach: Send {
    /// Attaches probes.
    ///
    /// # Errors
    /// Why it is impossible now.
    fn attach(&mut self) -> Result<EventReader, EventsError>;

    /// Whether what was attached still counts what it should; called now and then.
    ///
    /// # Errors
    /// Why not any more.
    fn check(&mut self) -> Result<(), EventsError>;
}

/// What comes of it.
pub type AttachResult = Result<EventReader, EventsError>;

/// The sampler's handle of the thread, which ends with it.
#[derive(Debug)]
pub struct Attacher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    answers: Consumer<AttachResult>,
    retired: Producer<EventReader>,
    is_asked: bool,
}

#[derive(Debug, Default)]
struct Shared {
    asked: AtomicBool,
    attached: AtomicBool,
    stop: AtomicBool,
}

impl Attacher {
    /// Starts the thread; `attached` says whether there are probes already.
    ///
    /// # Errors
    /// The system's error.
    pub fn start(attach: impl Attach + 'static, attached: bool) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { attached: attached.into(), ..Shared::default() });
        let (answers_in, answers) = RingBuffer::new(2);
        let (retired, retired_out) = RingBuffer::new(2);
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("attacher".into());
        let thread = thread.spawn(move || work(attach, &theirs, answers_in, retired_out))?;
        Ok(Self { shared, thread: Some(thread), answers, retired, is_asked: false })
    }

    /// Asks for new probes, unless that was done and not answered yet.
    pub fn ask(&mut self) {
        if !std::mem::replace(&mut self.is_asked, true) {
            self.shared.asked.store(true, Ordering::Release);
            self.wake();
        }
    }

    /// Whether an answer is on its way.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// An answer, or an error that comes unasked: what is attached must be given up.
    pub fn answer(&mut self) -> Option<AttachResult> {
        let answer = self.answers.pop().ok()?;
        self.is_asked = false;
        Some(answer)
    }

    /// Gives up probes; the thread takes them away.
    pub fn retire(&mut self, reader: EventReader) {
        self.shared.attached.store(false, Ordering::Release);
        // Without room they are taken away here, which costs a tick or two.
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
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // A panic would have ended the program.
            let _ = thread.join();
        }
    }
}

fn work(
    mut attach: impl Attach,
    shared: &Shared,
    mut answers: Producer<AttachResult>,
    mut retired: Consumer<EventReader>,
) {
    while !shared.stop.load(Ordering::Acquire) {
        while let Ok(reader) = retired.pop() {
            reader.events.release(reader.slot);
        }
        if shared.asked.swap(false, Ordering::AcqRel) {
            let answer = attach.attach();
            shared.attached.store(answer.is_ok(), Ordering::Release);
            // There is room: nobody asks before the last answer was taken.
            let _ = answers.push(answer);
        } else if shared.attached.load(Ordering::Acquire)
            && let Err(error) = attach.check()
        {
            shared.attached.store(false, Ordering::Release);
            let _ = answers.push(Err(error));
        } else {
            std::thread::park_timeout(CHECK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails every time, and says how often it was asked.
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
    fn each_question_has_one_answer() {
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
    fn what_may_not_go_on_is_said_unasked() {
        let mut attacher = Attacher::start(Failing(Arc::default()), true).unwrap();
        assert!(matches!(answer(&mut attacher), EventsError::NoNamespace));
    }
}
