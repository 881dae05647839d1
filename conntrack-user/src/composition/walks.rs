//! The thread that walks over the kernel's table, once for all inputs, and hands each its entries.
//!
//! A walk may take long, so it is neither in a sampling thread nor in the sink's. The numbers go to the
//! sink, which writes them with the next emission of the input; a sampling thread has no part in it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::Groups;
use crate::notices::{StartNotice, without_census};
use crate::schema::labelled::ENTRIES_BY_STATE;
use crate::settings::Input;
use crate::source::ebpf::EventsError;
use crate::source::ebpf::census::{Census, CensusError, MODULE, Sample, jiffies_per_second};
use crate::source::roots::Place;

/// The length of the pause after a walk, in lengths of the walk.
const PAUSE: u32 = 9;

/// After a walk that failed there is another one within this time.
const RETRY: Duration = Duration::from_secs(10);

/// What a walk found out about one input.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// The entries of its namespace.
    Counted(Groups),
    /// The table or the namespace cannot be seen.
    Unknown,
}

/// The place where the latest update of one input waits for the sink.
#[derive(Debug, Clone, Default)]
pub struct Latest(Arc<Mutex<Option<Update>>>);

impl Latest {
    /// Replaces the update that waits.
    pub fn put(&self, update: Update) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(update);
    }

    /// Takes the update, if there is a new one.
    #[must_use]
    pub fn take(&self) -> Option<Update> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The kernel's table.
#[derive(Debug, Default)]
struct Table {
    /// The program.
    census: Option<Census>,
    /// The reason why the last walk failed.
    failure: Option<String>,
    /// Whether it was reported that buckets cannot be read.
    has_warned: bool,
}

impl Table {
    /// Loads the program where that was not done.
    fn load(&mut self) -> Result<&mut Census, CensusError> {
        if self.census.is_none() {
            if !Path::new(MODULE).exists() {
                return Err(EventsError::NoFunctions.into());
            }
            self.census = Some(Census::load()?);
        }
        self.census.as_mut().ok_or(CensusError::NotRun)
    }

    /// Counts the entries of these namespaces in one walk over the whole table.
    fn walk(&mut self, inodes: &[u32]) -> Result<HashMap<u32, Groups>, CensusError> {
        let (census, rate) = (self.load()?, jiffies_per_second());
        let new = || -> HashMap<u32, Groups> {
            inodes.iter().map(|inode| (*inode, Groups::new(rate))).collect()
        };
        let counted = census.pass(Sample::Whole, new, |namespaces, entry| {
            if let Some(groups) = namespaces.get_mut(&entry.inode) {
                groups.add(entry);
            }
        });
        if let Err(CensusError::Unloaded) = counted {
            self.census = None;
        }
        let (mut namespaces, pass) = counted?;
        log::debug!("{pass:?}");
        let lost = pass.buckets - pass.buckets_read;
        if lost > 0 && !std::mem::replace(&mut self.has_warned, true) {
            log::warn!(
                "{}: {lost} of {} buckets could not be read, so numbers are too low",
                ENTRIES_BY_STATE.name,
                pass.buckets
            );
        }
        namespaces.values_mut().for_each(|groups| groups.share_read = pass.share());
        Ok(namespaces)
    }

    /// The same; a failure is reported once. `Err` where every later walk would fail, too.
    fn count(&mut self, inodes: &[u32]) -> Result<HashMap<u32, Groups>, Lasting> {
        match self.walk(inodes) {
            Ok(namespaces) => {
                if self.failure.take().is_some() {
                    log::info!("{}: the table is read", ENTRIES_BY_STATE.name);
                }
                Ok(namespaces)
            }
            Err(error) => {
                let why = without_census(&error);
                if self.failure.as_ref() != Some(&why) {
                    log::warn!("no rows {}: {why}", ENTRIES_BY_STATE.name);
                    log::debug!("{error}");
                }
                self.failure = Some(why);
                if error.may_pass() { Ok(HashMap::new()) } else { Err(Lasting) }
            }
        }
    }
}

/// A failure that is not worth another attempt.
struct Lasting;

/// One input that has such rows.
#[derive(Debug)]
struct Share {
    number: usize,
    place: Place,
    every: Duration,
    due: Instant,
    latest: Latest,
}

/// The program and the inputs, before the first walk.
#[derive(Debug)]
pub(crate) struct Prepared {
    table: Table,
    shares: Vec<Share>,
}

/// The thread.
#[derive(Debug)]
pub(crate) struct Walks {
    is_stopped: Arc<AtomicBool>,
    thread: Thread,
    /// By the numbers of the inputs.
    latest: HashMap<usize, Latest>,
}

impl Prepared {
    /// Loads the program for the inputs that ask for the composition of the table. Where there can be
    /// none, a warning is logged, and the input does not ask for it any more.
    pub(crate) fn new(inputs: &mut [Input], places: &[Place]) -> Option<Self> {
        let now = Instant::now();
        let (mut shares, mut is_plain) = (Vec::new(), false);
        for (number, (input, place)) in inputs.iter_mut().zip(places).enumerate() {
            let Some(every) = input.composition_interval() else { continue };
            if !place.is_live() {
                is_plain = true;
                input.composition = None;
                continue;
            }
            let (place, latest) = (place.clone(), Latest::default());
            shares.push(Share { number, place, every, due: now, latest });
        }
        if is_plain {
            StartNotice::NoEntries.log();
        }
        if shares.is_empty() {
            return None;
        }
        let mut table = Table::default();
        if let Err(error) = table.load() {
            StartNotice::NoComposition(&error).log();
            log::debug!("{error}");
            if !error.may_pass() {
                inputs.iter_mut().for_each(|input| input.composition = None);
                return None;
            }
            table.failure = Some(without_census(&error));
        }
        Some(Self { table, shares })
    }

    /// Makes the first walk, so that the first rows have its numbers, and starts the thread.
    ///
    /// # Errors
    /// The system's, where the thread cannot be started.
    pub(crate) fn begin(mut self) -> io::Result<Walks> {
        let latest = self.shares.iter().map(|share| (share.number, share.latest.clone())).collect();
        let is_stopped = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&is_stopped);
        let goes_on = self.walk().is_ok();
        let thread = std::thread::Builder::new().name("composition".into());
        let thread = thread.spawn(move || {
            if goes_on {
                self.run(&stop);
            }
        })?;
        Ok(Walks { is_stopped, thread: thread.thread().clone(), latest })
    }

    /// Walks over the table when a share is due, until it is stopped.
    fn run(mut self, is_stopped: &AtomicBool) {
        let (mut earliest, mut has_told) = (Instant::now(), false);
        while !is_stopped.load(Ordering::Acquire) {
            let due = self.shares.iter().map(|share| share.due).min().unwrap_or(earliest);
            let left = due.max(earliest).saturating_duration_since(Instant::now());
            if !left.is_zero() {
                std::thread::park_timeout(left);
                continue;
            }
            let (began, was_loaded) = (Instant::now(), self.table.census.is_some());
            if self.walk().is_err() {
                return;
            }
            // Loading the program is no walk.
            let is_new = !was_loaded && self.table.census.is_some();
            let took = began.elapsed();
            let pause = if is_new { Duration::ZERO } else { took * PAUSE };
            earliest = Instant::now() + pause;
            let is_slow = self.shares.iter().any(|share| share.every < took + pause);
            if is_slow && !std::mem::replace(&mut has_told, true) {
                log::info!(
                    "{}: a walk over the table took {took:.1?}, so there is one every {:.0?} at most",
                    ENTRIES_BY_STATE.name,
                    took + pause
                );
            }
        }
    }

    /// One walk, for the shares that are due.
    fn walk(&mut self) -> Result<(), Lasting> {
        let now = Instant::now();
        let due = self.shares.iter_mut().filter(|share| share.due <= now);
        // Held, so that a number does not become another namespace's meanwhile.
        let due: Vec<_> = due
            .map(|share| {
                share.due = next_due(share.due, share.every, now);
                (share.place.namespace(), &share.latest, &mut share.due)
            })
            .collect();
        let inodes: Vec<u32> = due.iter().flat_map(|(it, ..)| it).map(|it| it.inode).collect();
        let counted = match inodes.as_slice() {
            // No namespace is there.
            [] => Ok(HashMap::new()),
            inodes => self.table.count(inodes),
        };
        for (namespace, latest, next) in due {
            let groups = counted.as_ref().ok().zip(namespace.as_ref());
            let groups = groups.and_then(|(counted, it)| counted.get(&it.inode).cloned());
            if groups.is_none() {
                *next = (*next).min(now + RETRY);
            }
            latest.put(groups.map_or(Update::Unknown, Update::Counted));
        }
        counted.map(|_| ())
    }
}

impl Walks {
    /// The place where updates of the input with this number are.
    pub(crate) fn latest(&self, input: usize) -> Option<Latest> {
        self.latest.get(&input).cloned()
    }

    /// Ends the thread, behind the walk that it makes now.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Drop for Walks {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The first of the moments `every` apart that is behind `now`.
fn next_due(due: Instant, every: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos();
    let missed = late / every.as_nanos().max(1);
    due + every * u32::try_from(missed + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_that_were_missed_are_left_out() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let next = |now| next_due(at(10), Duration::from_secs(10), now);
        assert_eq!(
            [next(at(10)), next(at(19)), next(at(20)), next(at(35))],
            [20, 20, 30, 40].map(at)
        );
    }

    #[test]
    fn the_latest_update_is_taken_once() {
        let (latest, sink) = (Latest::default(), Latest::default());
        assert_eq!(latest.take(), None);
        let of_sink = latest.clone();
        latest.put(Update::Unknown);
        latest.put(Update::Counted(Groups::new(250)));
        assert_eq!(of_sink.take(), Some(Update::Counted(Groups::new(250))));
        assert_eq!((of_sink.take(), sink.take()), (None, None));
    }

    #[test]
    fn inputs_of_plain_files_have_no_entries() {
        let roots =
            crate::settings::Roots { proc_root: Some("/plain".into()), ..Default::default() };
        let mut inputs = [Input::new(Duration::from_secs(1))];
        inputs[0].composition = Some(Duration::from_secs(1));
        let places = [Place::resolve(&roots, &inputs[0].netns)];
        assert!(Prepared::new(&mut inputs, &places).is_none());
        assert_eq!(inputs[0].composition, None);
    }
}
