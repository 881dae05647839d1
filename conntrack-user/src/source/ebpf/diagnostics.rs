//! The messages of the programs themselves, at debug level (`aya-log`).
//!
//! They are printed on slow paths only, and only if they are logged: the level is a constant for the
//! verifier, which removes the unused code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Log};

/// The target of such lines: the programs' crate.
pub(crate) const TARGET: &str = "conntrack_ebpf";

/// How often the ring is read.
const PAUSE: Duration = Duration::from_millis(200);

/// Whether the messages are logged.
#[must_use]
pub(super) fn are_wanted() -> bool {
    log::log_enabled!(target: TARGET, Level::Debug)
}

/// The messages of the programs, and a thread that logs them until this value is dropped.
pub(super) struct Diagnostics {
    logger: Option<EbpfLogger<&'static dyn Log>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Diagnostics {
    /// Opens the ring; `None` when that is impossible, which costs nothing but these lines.
    pub(super) fn open(ebpf: &mut Ebpf) -> Option<Self> {
        let logger = Some(EbpfLogger::init(ebpf).ok()?);
        Some(Self { logger, stop: Arc::default(), thread: None })
    }

    /// Starts the thread, unless it runs.
    pub(super) fn listen(&mut self) {
        let Some(mut logger) = self.logger.take() else { return };
        let stopped = Arc::clone(&self.stop);
        let thread = std::thread::Builder::new().name("diagnostics".into()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                logger.flush();
                std::thread::park_timeout(PAUSE);
            }
            logger.flush();
        });
        self.thread = thread.ok();
    }
}

impl std::fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Diagnostics").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl Drop for Diagnostics {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic: it would have ended the program.
            let _ = thread.join();
        }
    }
}
