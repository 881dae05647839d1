//! What the programs themselves have to say, at debug level (`aya-log`).
//!
//! They speak on their slow paths only, and not at all unless somebody listens: the level is a
//! constant to the verifier, which takes the unused code out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::Level;

/// The target of such lines: the programs' crate.
pub const TARGET: &str = "conntrack_ebpf";

/// How often the ring is looked into.
const PAUSE: Duration = Duration::from_millis(200);

/// Whether somebody listens.
#[must_use]
pub fn are_wanted() -> bool {
    log::log_enabled!(target: TARGET, Level::Debug)
}

/// A thread that logs what the programs say, until this value goes.
#[derive(Debug)]
pub(super) struct Diagnostics {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Diagnostics {
    /// Starts to listen; `None` when that is impossible, which costs nothing but these lines.
    pub(super) fn start(ebpf: &mut Ebpf) -> Option<Self> {
        let mut logger = EbpfLogger::init(ebpf).ok()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("diagnostics".into()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                logger.flush();
                std::thread::park_timeout(PAUSE);
            }
            logger.flush();
        });
        Some(Self { stop, thread: Some(thread.ok()?) })
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
