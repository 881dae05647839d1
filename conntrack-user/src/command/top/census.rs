//! The thread that reads the table for the screen, so that a long look delays no key.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::notices::CannotBegin;
use crate::schema::fields::{COUNT, LIMIT};
use crate::settings::{DEFAULT_INTERVAL, Input};
use crate::source::ebpf::census::{Census, CensusError, Pass};
use crate::source::procfs::Procfs;
use crate::source::roots::Place;
use crate::top::look::{Look, Past, Query};
use crate::top::screen::app::{Answer, Fill, Question};
use crate::top::tally::Tally;
use crate::tui::ui::Event;

/// The kernel's table.
pub(super) trait Table {
    /// Counts entries in one pass.
    fn count(&mut self, query: &Query) -> Result<(Tally, Pass), CensusError>;
}

impl Table for Census {
    fn count(&mut self, query: &Query) -> Result<(Tally, Pass), CensusError> {
        let add = |tally: &mut Tally, entry: &_| tally.add(&query.selection, entry);
        let counted = self.pass(query.sample, Tally::default, add)?;
        log::debug!("{:?}", counted.1);
        Ok(counted)
    }
}

/// Answers questions until one of the two channels is closed.
pub(super) fn answer<T, L>(
    mut reader: Reader<T, L>,
    questions: Receiver<Question>,
    to: SyncSender<Event<Answer>>,
) -> io::Result<()>
where
    T: Table + Send + 'static,
    L: FnMut() -> Result<T, CensusError> + Send + 'static,
{
    std::thread::Builder::new().name("census".into()).spawn(move || {
        while let Ok(question) = questions.recv() {
            let answer = reader.answer(question);
            if to.send(Event::News(answer)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Reads the table again and again.
pub(super) struct Reader<T, L> {
    table: Option<T>,
    /// Loads the program again after the table was lost, with its module or a privilege.
    load: L,
    level: Option<Level>,
    past: Option<Past>,
}

impl<T: Table, L: FnMut() -> Result<T, CensusError>> Reader<T, L> {
    /// A reader of a loaded table, and of how full it is.
    pub(super) fn new(table: T, load: L, level: Option<Level>) -> Self {
        Self { table: Some(table), load, level, past: None }
    }

    fn answer(&mut self, question: Question) -> Answer {
        let look = self.look(question.query).map_err(|error| CannotBegin::top(&error));
        let fill = self.level.as_mut().and_then(Level::read);
        Answer { number: question.number, look: look.map(Box::new), fill }
    }

    fn look(&mut self, query: Query) -> Result<Look, CensusError> {
        let (at, time) = (Instant::now(), SystemTime::now());
        let (tally, pass) = self.count(&query)?;
        let time = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = Past::new(at, query, tally, pass);
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        let look = now.look(self.past.as_ref(), time, at.elapsed());
        self.past = Some(now.kept());
        Ok(look)
    }

    /// Counts entries; where the table was lost, the program is loaded again.
    fn count(&mut self, query: &Query) -> Result<(Tally, Pass), CensusError> {
        match self.table.as_mut().map(|table| table.count(query)) {
            Some(Ok(counted)) => return Ok(counted),
            // The next look may succeed.
            Some(Err(error @ (CensusError::Resized | CensusError::NotRun))) => return Err(error),
            Some(Err(_)) | None => {
                self.table = None;
                self.past = None;
            }
        }
        self.table.insert((self.load)()?).count(query)
    }
}

/// The kernel's count of a namespace's entries, and the limit.
pub(super) struct Level {
    files: Procfs,
    /// The namespace was deleted: one with its name has other entries.
    is_gone: bool,
}

impl Level {
    /// The files of a namespace.
    pub(super) fn new(place: Place) -> Self {
        let candidates = place.sysctl_candidates(&Input::new(DEFAULT_INTERVAL));
        Self { files: Procfs::new(place, candidates), is_gone: false }
    }

    fn read(&mut self) -> Option<Fill> {
        self.is_gone |= self.files.check_namespace().is_err();
        if self.is_gone {
            return None;
        }
        // The screen has no level where the files cannot be read.
        let _ = self.files.open_missing(false, &mut |_| {});
        let mut values = Vec::new();
        self.files.read_sysctls(&mut values, &mut |_| {});
        let value = |name: &str| {
            let at = self.files.sysctls().position(|file| file.key == name)?;
            values.get(at).copied().flatten()
        };
        Some(Fill { entries: value(COUNT.name)?, limit: value(LIMIT.name)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ebpf::EventsError;
    use crate::source::ebpf::census::Sample;
    use crate::top::key::Key;
    use crate::top::tally::Selection;

    /// What passes come to, in their order.
    struct Fake(Vec<Result<(), CensusError>>);

    impl Table for Fake {
        fn count(&mut self, _: &Query) -> Result<(Tally, Pass), CensusError> {
            let pass = Pass { buckets: 1, buckets_read: 1, ..Pass::default() };
            self.0.remove(0).map(|()| (Tally::default(), pass))
        }
    }

    fn query() -> Query {
        let selection =
            Selection { namespaces: Vec::new(), conditions: Vec::new(), keys: vec![Key::Port] };
        Query { selection, sample: Sample::Whole }
    }

    #[test]
    fn a_module_that_was_loaded_again_is_read_again() {
        let unloaded = || EventsError::NoFunctions.into();
        let mut loads =
            vec![Err(unloaded()), Ok(Fake(vec![Ok(()), Ok(())])), Ok(Fake(Vec::new()))].into_iter();
        let table = Fake(vec![Ok(()), Ok(()), Err(CensusError::Unloaded)]);
        let mut reader = Reader::new(table, || loads.next().unwrap(), None);
        assert_eq!(reader.look(query()).unwrap().since, None);
        assert!(reader.look(query()).unwrap().since.is_some());
        let error = reader.look(query()).unwrap_err();
        assert!(matches!(error, CensusError::Refused(EventsError::NoFunctions)), "{error}");
        // The table is another one: nothing is subtracted.
        assert_eq!(reader.look(query()).unwrap().since, None);
        assert!(reader.look(query()).unwrap().since.is_some());
    }

    #[test]
    fn a_table_that_is_being_resized_is_read_the_next_time_without_loading() {
        let table = Fake(vec![Err(CensusError::Resized), Err(CensusError::NotRun), Ok(())]);
        let mut reader = Reader::new(table, || panic!("loaded"), None);
        assert!(matches!(reader.look(query()), Err(CensusError::Resized)));
        assert!(matches!(reader.look(query()), Err(CensusError::NotRun)));
        assert!(reader.look(query()).is_ok());
    }

    #[test]
    fn an_answer_names_the_cause_and_the_remedy() {
        let lost = || CensusError::Refused(EventsError::Capability("CAP_BPF".to_owned()));
        let mut reader = Reader::new(Fake(vec![Err(lost())]), || Err::<Fake, _>(lost()), None);
        let answer = reader.answer(Question { number: 7, query: query() });
        let trouble = answer.look.unwrap_err();
        assert_eq!((answer.number, answer.fill), (7, None));
        assert!(trouble.to_string().contains("missing CAP_BPF"), "{trouble}");
    }
}
