//! The consumer's side: windows become rows, rows are filtered and given to what takes them.
//!
//! One thread serves all inputs. It is the only one that writes to the output, so a line is
//! never torn by another, and the only one that may block there.

mod descriptor;
mod fifo;
pub mod suffix;
mod target;
pub mod text;
mod textfile;

pub use self::descriptor::StandardOutput;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use log::Level;

use crate::accumulate::Loss;
use crate::composition::walks::Latest;
use crate::confine::Rewrites;
use crate::logging::INPUT_TARGET;
use crate::metric::Metric;
use crate::metric::filter::Filter;
use crate::rows::RowBuilder;
use crate::rows::self_metrics;
use crate::sampling::channel::{Notice, Outbox};
use crate::settings::Input;

/// One input's way from windows to rows.
#[derive(Debug)]
pub struct InputState {
    /// What log lines call the input.
    pub name: String,
    /// The lowest level that the input logs.
    pub log_level: log::LevelFilter,
    /// The sampler's hand-over.
    pub outbox: Outbox,
    /// Makes the rows.
    pub rows: RowBuilder,
    /// Changes and drops them.
    pub filter: Filter,
    /// Rows that were made and not yet written.
    pub rows_waiting: Option<Vec<Metric>>,
    /// The composition of the table, where there are rows of it.
    pub composition: Option<Latest>,
    /// The latest of these rows, unless they are among those that wait.
    pub standing: Standing,
    /// What has been said of what was missed.
    pub told_loss: Loss,
    /// Emissions that found the disk full.
    pub not_written: u64,
    /// Emissions written so far.
    pub written: u64,
    /// Nothing more comes from the sampler.
    pub has_ended: bool,
    /// An emission had a value, also where filters left it out.
    pub has_read: bool,
    /// Emissions do not count before one with a value: the namespace is waited for.
    pub waits: bool,
    /// Whether a row was made yet, or a warning gave the reason for none.
    pub silence: Silence,
    /// Whether a warning gave a reason for values that are missing.
    pub is_explained: bool,
}

/// How long an input has made no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Silence {
    /// No emission yet.
    #[default]
    New,
    /// One emission without a row; rates come with the second.
    Empty,
    /// A row was made, or a warning explained why not.
    Over,
}

impl Silence {
    /// The state after an emission, and whether to give the reason for the silence.
    fn after(self, has_row: bool) -> (Self, bool) {
        match self {
            Self::Over => (Self::Over, false),
            _ if has_row => (Self::Over, false),
            Self::New => (Self::Empty, false),
            Self::Empty => (Self::Over, true),
        }
    }
}

/// Rows that stand until they are replaced.
#[derive(Debug, Default)]
pub struct Standing {
    rows: Vec<Metric>,
    /// The next emission has them itself.
    are_new: bool,
}

impl Standing {
    /// Those that the next emission does not have.
    fn beside(&self) -> &[Metric] {
        if self.are_new { &[] } else { &self.rows }
    }
}

/// How a sink ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything was written.
    Drained,
    /// The reader of the output has exited.
    ReaderGone,
}

/// What a sink leaves when it ends.
pub struct Ended {
    /// How it ended.
    pub ending: Ending,
    /// Emissions that were written of each input.
    pub written: u64,
    /// What took the rows, and may take those of another sink.
    pub destination: Box<dyn Destination>,
}

/// The rows of one emission on their way out.
pub struct Emission<'a> {
    /// The number of the input among the run's.
    pub input: usize,
    /// The rows, which share a timestamp.
    pub rows: Vec<Metric>,
    /// Rows of earlier emissions that stand until they are replaced, for a format that has no time.
    pub standing: &'a [Metric],
    /// What made them, which knows where their numbers come from.
    pub builder: &'a RowBuilder,
}

/// What takes rows.
pub trait Destination: Send {
    /// Whether the rows of all inputs must come together.
    fn wants_whole_batches(&self) -> bool {
        false
    }

    /// The file that it creates again while it runs, if there is one.
    fn rewrites(&self) -> Option<Rewrites<'_>> {
        None
    }

    /// Whether others come and get the rows, over connections.
    fn is_served(&self) -> bool {
        false
    }

    /// The rows that come next are those of `inputs`, by their numbers.
    fn begin(&mut self, _inputs: &[Input]) {}

    /// Looks for the file that its name means now.
    fn reopen(&mut self) {}

    /// Takes the rows of one emission, or of one for each input.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] when the output has no reader any more; otherwise the error.
    fn write(&mut self, emissions: Vec<Emission<'_>>) -> io::Result<WriteOutcome>;

    /// Nothing more comes.
    ///
    /// # Errors
    /// What went wrong at the end, or still is.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nowhere, or there.
impl<T: Destination> Destination for Option<T> {
    fn wants_whole_batches(&self) -> bool {
        self.as_ref().is_some_and(Destination::wants_whole_batches)
    }

    fn rewrites(&self) -> Option<Rewrites<'_>> {
        self.as_ref().and_then(Destination::rewrites)
    }

    fn begin(&mut self, inputs: &[Input]) {
        self.iter_mut().for_each(|some| some.begin(inputs));
    }

    fn reopen(&mut self) {
        self.iter_mut().for_each(Destination::reopen);
    }

    fn write(&mut self, emissions: Vec<Emission<'_>>) -> io::Result<WriteOutcome> {
        self.as_mut().map_or(Ok(WriteOutcome::Written), |some| some.write(emissions))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), Destination::finish)
    }
}

/// What became of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// They were taken.
    Written,
    /// There is no room for them, which was said; there may be for later ones.
    Lost,
}

/// The state of the sink while it runs.
pub struct Sink {
    /// The inputs.
    pub inputs: Vec<InputState>,
    /// Where the rows go.
    pub destination: Box<dyn Destination>,
    /// Emissions to write per input; `None` for no end.
    pub count: Option<u64>,
    /// Whether the run ends when every input has ended by itself.
    pub ends_with_inputs: bool,
    /// Set when the samplers have ended: write what is left and end.
    pub draining: Arc<AtomicBool>,
    /// Set when the output is to be opened again.
    pub reopening: Arc<AtomicBool>,
    /// Rows with a value written so far.
    pub rows: Arc<AtomicU64>,
    /// Whether a value was read, also where filters left it out.
    pub has_read: Arc<AtomicBool>,
    /// Called when the run has come to its end: every input has written as many emissions as were
    /// asked for or has ended, the output has no reader any more, or it cannot be written.
    pub on_end: Box<dyn Fn() + Send>,
}

impl Sink {
    /// Serves the inputs until draining is asked for and nothing is left.
    ///
    /// # Errors
    /// The output's error; an output without a reader is not an error.
    pub fn run(mut self) -> io::Result<Ended> {
        let mut end_told = false;
        loop {
            let draining = self.draining.load(Ordering::Acquire);
            if self.reopening.swap(false, Ordering::AcqRel) {
                self.destination.reopen();
            }
            let mut idle = true;
            for at in 0..self.inputs.len() {
                self.inputs[at].log_notices();
                while self.count.is_none_or(|count| self.inputs[at].written < count)
                    && self.inputs[at].take_rows()
                {
                    idle = false;
                    if self.inputs[at].has_read {
                        self.has_read.store(true, Ordering::Relaxed);
                    }
                    if let Err(error) = self.write(at) {
                        (self.on_end)();
                        if error.kind() == io::ErrorKind::BrokenPipe {
                            return Ok(self.ended(Ending::ReaderGone));
                        }
                        return Err(error);
                    }
                }
            }
            if !end_told && self.inputs.iter().all(|input| self.is_over(input)) {
                (self.on_end)();
                end_told = true;
            }
            if draining && idle {
                return Ok(self.ended(Ending::Drained));
            }
            if idle {
                std::thread::park();
            }
        }
    }

    fn ended(self, ending: Ending) -> Ended {
        let written = self.inputs.iter().map(|input| input.written).min().unwrap_or(0);
        Ended { ending, written, destination: self.destination }
    }

    fn is_over(&self, input: &InputState) -> bool {
        let has_ended = input.has_ended && self.ends_with_inputs;
        has_ended || self.count.is_some_and(|count| input.written >= count)
    }

    /// Writes the rows of one input, or those of all inputs once each of them has some. What is lost
    /// since there is no room is counted in later rows.
    fn write(&mut self, at: usize) -> io::Result<()> {
        // An input that has written its emissions has none for a batch with another one, which waited.
        let is_there = |input: &InputState| {
            input.rows_waiting.is_some()
                || input.has_ended
                || self.count.is_some_and(|count| input.written >= count)
        };
        let (first, inputs) = if !self.destination.wants_whole_batches() {
            (at, &mut self.inputs[at..=at])
        } else if self.inputs.iter().all(is_there) {
            (0, &mut self.inputs[..])
        } else {
            return Ok(());
        };
        let mut emissions = Vec::new();
        for (number, input) in (first..).zip(&mut *inputs) {
            let rows = input.rows_waiting.take().unwrap_or_default();
            let (standing, builder) = (input.standing.beside(), &input.rows);
            emissions.push(Emission { input: number, rows, standing, builder });
            input.written += u64::from(input.has_read || !input.waits);
        }
        let rows = emissions.iter().flat_map(|emission| &emission.rows);
        let valued = rows.filter(|row| counts_as_written(row)).count();
        if let WriteOutcome::Lost = self.destination.write(emissions)? {
            inputs.iter_mut().for_each(|input| input.not_written += 1);
            return Ok(());
        }
        self.rows.fetch_add(valued as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether a row has values of conntrack, and not only of this program.
fn counts_as_written(row: &Metric) -> bool {
    row.has_values() && row.name != self_metrics::MEASUREMENT
}

impl InputState {
    /// Makes rows of the next window, if there is one.
    fn take_rows(&mut self) -> bool {
        let Ok(mut window) = self.outbox.windows.pop() else { return false };
        let loss = window.loss;
        window.loss.rows_lost += self.not_written;
        let rows = self.rows.rows(&window);
        let has_values = rows.iter().any(Metric::has_values);
        self.has_read |= has_values;
        if !has_values {
            // The table may be gone, too.
            self.standing.rows.clear();
        }
        let rows = rows.into_iter();
        let mut rows: Vec<Metric> = rows.filter_map(|row| self.filter.apply(row)).collect();
        rows.extend(self.composition_rows(window.timestamp_ns));
        rows.extend(self.rows.internal_row(&window).map(|row| self.filter.tag(row)));
        rows.iter_mut().for_each(Metric::make_plain);
        self.end_silence(has_values, rows.iter().any(counts_as_written));
        self.rows_waiting = Some(rows);
        // The ring has room for every window there is.
        let _ = self.outbox.spent.push(window);
        while let Some(notice) = self.rows.take_notice() {
            self.log(Level::Warn, format_args!("{notice}"));
        }
        if loss.rows_lost > self.told_loss.rows_lost {
            let lost = loss.rows_lost - self.told_loss.rows_lost;
            let what = "emissions found no room because the output was stuck; their events are \
                        in the rates of the next row";
            self.log(Level::Warn, format_args!("{lost} {what}"));
        }
        if loss.samples_missed > self.told_loss.samples_missed {
            let missed = loss.samples_missed - self.told_loss.samples_missed;
            self.log(
                Level::Debug,
                format_args!(
                    "{missed} ticks without a sample: one before ran late, or ctnetlink gave no whole \
                     answer"
                ),
            );
        }
        self.told_loss = loss;
        true
    }

    /// Warns once of an input that reads and writes nothing, for which there may be no other message.
    fn end_silence(&mut self, has_values: bool, has_row: bool) {
        if self.waits && !has_values {
            // Its namespace may still come.
            return;
        }
        let (after, is_reason_due) = self.silence.after(has_row);
        self.silence = after;
        if !is_reason_due {
            return;
        }
        if has_values {
            let filters = "its filters (namepass, fieldexclude, tagpass ...) leave no row";
            self.log(Level::Warn, format_args!("nothing is written: {filters}"));
        } else if !self.is_explained {
            let place = "nothing that it collects is there; `ctpulse doctor` has the reason";
            self.log(Level::Warn, format_args!("nothing is written: {place}"));
        }
    }

    /// Makes the rows of the table's composition, where there are new ones, and keeps them.
    fn composition_rows(&mut self, timestamp_ns: i64) -> Vec<Metric> {
        let update = self.composition.as_ref().and_then(Latest::take);
        let rows = self.rows.composition_rows(update.as_ref(), timestamp_ns).into_iter();
        let mut rows: Vec<Metric> = rows.filter_map(|row| self.filter.apply(row)).collect();
        self.standing.are_new = update.is_some();
        if update.is_some() {
            rows.iter_mut().for_each(Metric::make_plain);
            self.standing.rows.clone_from(&rows);
        }
        rows
    }

    fn log(&self, level: Level, text: std::fmt::Arguments<'_>) {
        if level <= self.log_level {
            log::log!(target: INPUT_TARGET, level, "[{}] {text}", self.name);
        }
    }

    fn log_notices(&mut self) {
        while let Ok(notice) = self.outbox.notices.pop() {
            if matches!(notice, Notice::Lost(_) | Notice::Ended(_)) {
                self.silence = Silence::Over;
            }
            self.is_explained |= notice.level() <= Level::Warn;
            self.has_ended |= matches!(notice, Notice::Ended(_));
            self.log(notice.level(), format_args!("{notice}"));
            let details = match &notice {
                Notice::Lost(error) | Notice::Ended(error) => error.to_string(),
                Notice::Sysctl(error) => error.to_string(),
                Notice::NotAttached(error) => error.to_string(),
                _ => continue,
            };
            self.log(Level::Debug, format_args!("{details}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rtrb::{Producer, RingBuffer};

    use super::*;
    use crate::accumulate::Window;
    use crate::composition::Groups;
    use crate::composition::walks::Update;

    /// An input with rows of the table's composition, and the sampler's end of its windows.
    fn input() -> (InputState, Producer<Box<Window>>) {
        let mut input = Input::new(Duration::from_secs(1));
        input.composition = Some(Duration::from_secs(1));
        let (to_sink, windows) = RingBuffer::new(8);
        let (spent, _) = RingBuffer::new(8);
        let (_, notices) = RingBuffer::new(8);
        let state = InputState {
            name: input.name(),
            log_level: log::LevelFilter::Info,
            outbox: Outbox { windows, spent, notices },
            filter: Filter::default(),
            rows: RowBuilder::new(input, Vec::new(), None, vec!["ip_conntrack_count".to_owned()]),
            rows_waiting: None,
            composition: Some(Latest::default()),
            standing: Standing::default(),
            told_loss: Loss::default(),
            not_written: 0,
            written: 0,
            has_ended: false,
            has_read: false,
            waits: false,
            silence: Silence::default(),
            is_explained: false,
        };
        (state, to_sink)
    }

    #[test]
    fn an_input_that_writes_nothing_gives_the_reason_once() {
        let said = |rows: &[bool]| {
            let mut silence = Silence::default();
            let mut times = 0;
            for has_row in rows {
                let (after, is_due) = silence.after(*has_row);
                (silence, times) = (after, times + u32::from(is_due));
            }
            times
        };
        assert_eq!(said(&[false]), 0);
        assert_eq!(said(&[false, true, false, false]), 0);
        assert_eq!(said(&[true, false, false]), 0);
        assert_eq!(said(&[false, false, false, true, false, false]), 1);
    }

    /// Line protocol has each number once. An exposition has no time, and shows the latest.
    #[test]
    fn rows_of_a_walk_are_in_one_emission_and_stand_beside_the_later_ones() {
        let (mut input, mut windows) = input();
        let latest = input.composition.clone().unwrap();
        let mut emit_with = |count, update| {
            windows.push(Box::new(Window { sysctls: vec![count], ..Window::default() })).unwrap();
            if let Some(update) = update {
                latest.put(update);
            }
            assert!(input.take_rows());
            let of_entries = |row: &&Metric| row.name == "conntrack_entries" && row.has_values();
            let rows = input.rows_waiting.take().unwrap();
            let new = rows.iter().filter(of_entries).count();
            (new, input.standing.beside().len())
        };
        let mut emit = |update| emit_with(Some(7.0), update);
        assert_eq!(emit(None), (0, 0));
        let counted = || Some(Update::Counted(Groups::new(250)));
        assert_eq!(emit(counted()), (2, 0));
        assert_eq!(emit(None), (0, 2));
        assert_eq!(emit(None), (0, 2));
        assert_eq!(emit(counted()), (2, 0));
        assert_eq!(emit(Some(Update::Unknown)), (0, 0));
        assert_eq!(emit(None), (0, 0));
        // Nothing is read any more: the table may be gone.
        assert_eq!(emit(counted()), (2, 0));
        assert_eq!(emit_with(None, None), (0, 0));
    }
}
