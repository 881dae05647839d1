//! The latest rows of each input, and how old they may be.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::watch;

use crate::confine::Rewrites;
use crate::format::{Collisions, Dialect, exposition};
use crate::metric::{Metric, Value};
use crate::output::text::Text;
use crate::output::{Destination, Emission, WriteOutcome};
use crate::rows::self_metrics;
use crate::settings::Input;
use crate::text::sanitize::shown;

/// The tolerance beyond the intervals for a late sampler or a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// The beginning of every exposition.
const OWN_MEASUREMENT: &str = "ctpulse";

/// The latest rows of all inputs, as one scrape sees them.
#[derive(Debug)]
pub struct Snapshot {
    inputs: Vec<Latest>,
    text: OnceLock<Bytes>,
    open_metrics: OnceLock<Bytes>,
}

/// The latest rows of one input.
#[derive(Debug, Clone)]
struct Latest {
    name: Arc<str>,
    /// How old rows may be.
    patience: Duration,
    rows: Arc<Vec<Metric>>,
    /// When rows came, or the beginning.
    emitted: Instant,
    /// When rows came that had a value.
    sampled: Option<Instant>,
}

impl Snapshot {
    /// Nothing yet of `inputs`, at `now`.
    #[must_use]
    pub fn new(inputs: &[Input], now: Instant) -> Self {
        let latest = |input: &Input| Latest {
            name: input.name().into(),
            patience: input.interval * 3 + input.collection_jitter + SLACK,
            rows: Arc::default(),
            emitted: now,
            sampled: None,
        };
        Self::of(inputs.iter().map(latest).collect())
    }

    fn of(inputs: Vec<Latest>) -> Self {
        Self { inputs, text: OnceLock::new(), open_metrics: OnceLock::new() }
    }

    /// The same with other rows of the input with this number; `standing` are of an earlier reading, and
    /// no sign that anything was read now.
    #[must_use]
    pub fn with(
        &self,
        input: usize,
        mut rows: Vec<Metric>,
        standing: &[Metric],
        now: Instant,
    ) -> Self {
        let mut inputs = self.inputs.clone();
        if let Some(latest) = inputs.get_mut(input) {
            latest.emitted = now;
            if rows.iter().any(|row| row.name != self_metrics::MEASUREMENT && row.has_values()) {
                latest.sampled = Some(now);
            }
            rows.extend_from_slice(standing);
            latest.rows = Arc::new(rows);
        }
        Self::of(inputs)
    }

    /// Why the rows are not served any more at `now`: no new ones came for some intervals.
    #[must_use]
    pub fn stale(&self, now: Instant) -> Option<String> {
        self.inputs.iter().find_map(|latest| {
            let age = latest.older(now, latest.emitted)?;
            Some(format!("{}: no row for {age} s", shown(&latest.name)))
        })
    }

    /// Why this is not healthy at `now`: no sample yet, or none for some intervals.
    #[must_use]
    pub fn unhealthy(&self, now: Instant) -> Option<String> {
        self.stale(now).or_else(|| {
            self.inputs.iter().find_map(|latest| {
                let name = shown(&latest.name);
                match latest.sampled {
                    None => Some(format!("{name}: no sample yet")),
                    Some(sampled) => latest.older(now, sampled).map(|age| {
                        format!(
                            "{name}: nothing could be read for {age} s (ctpulse doctor says why)"
                        )
                    }),
                }
            })
        })
    }

    /// The rows as text; made once.
    pub fn exposition(&self, dialect: Dialect) -> Bytes {
        let cell = match dialect {
            Dialect::Text => &self.text,
            Dialect::OpenMetrics => &self.open_metrics,
        };
        let make = || {
            let about = about_this_program();
            let rows = self.inputs.iter().flat_map(|latest| latest.rows.iter());
            let mut text = Vec::new();
            exposition(rows.chain([&about]), dialect, &mut text);
            Bytes::from(text)
        };
        cell.get_or_init(make).clone()
    }
}

impl Latest {
    /// How many seconds `then` is ago, where that is too long.
    fn older(&self, now: Instant, then: Instant) -> Option<u64> {
        let age = now.saturating_duration_since(then);
        (age > self.patience).then_some(age.as_secs())
    }
}

/// `ctpulse_build_info`, which is exposed even without rows.
fn about_this_program() -> Metric {
    Metric {
        name: OWN_MEASUREMENT.to_owned(),
        tags: vec![("version".into(), env!("CARGO_PKG_VERSION").to_owned())],
        fields: vec![("build_info".into(), Value::Float(1.0))],
        timestamp_ns: 0,
    }
}

/// Takes the sink's rows for scrapes, and passes them on to a text where there is one.
pub struct Published {
    latest: watch::Sender<Arc<Snapshot>>,
    text: Option<Text>,
    /// Names that were reported.
    collisions: Collisions,
}

impl Published {
    /// Rows of `inputs` for the receiver, and for `text`.
    #[must_use]
    pub fn new(inputs: &[Input], text: Option<Text>) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let (latest, receiver) = watch::channel(Arc::new(Snapshot::new(inputs, Instant::now())));
        (Self { latest, text, collisions: Collisions::default() }, receiver)
    }
}

impl Destination for Published {
    fn wants_whole_batches(&self) -> bool {
        self.text.wants_whole_batches()
    }

    fn rewrites(&self) -> Option<Rewrites<'_>> {
        self.text.rewrites()
    }

    fn is_served(&self) -> bool {
        true
    }

    fn begin(&mut self, inputs: &[Input]) {
        self.latest.send_replace(Arc::new(Snapshot::new(inputs, Instant::now())));
    }

    fn reopen(&mut self) {
        self.text.reopen();
    }

    fn write(&mut self, emissions: Vec<Emission<'_>>) -> io::Result<WriteOutcome> {
        // Before the text, whose reader may be stuck.
        for Emission { input, rows, standing, .. } in &emissions {
            if let Some(notice) = self.collisions.take(rows) {
                log::warn!("{notice}");
            }
            let new = self.latest.borrow().with(*input, rows.clone(), standing, Instant::now());
            self.latest.send_replace(Arc::new(new));
        }
        self.text.write(emissions)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.text.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: Value) -> Metric {
        let fields = vec![("entries".into(), value)];
        Metric { name: "conntrack".into(), tags: Vec::new(), fields, timestamp_ns: 1 }
    }

    #[test]
    fn health_is_that_of_each_input() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut odd = Input::new(Duration::from_secs(10));
        odd.alias = Some("e\x1b[2J".into());
        let inputs = [Input::new(Duration::from_secs(1)), odd];
        let none = Snapshot::new(&inputs, start);
        assert_eq!(none.stale(at(5)), None);
        assert_eq!(none.stale(at(6)).unwrap(), "conntrack: no row for 6 s");
        assert_eq!(none.unhealthy(start).unwrap(), "conntrack: no sample yet");
        let one = none.with(0, vec![row(Value::Integer(1))], &[], start);
        assert_eq!(one.unhealthy(start).unwrap(), r"e\u{1b}[2J: no sample yet");
        let both = one.with(1, vec![row(Value::Integer(1))], &[], start);
        assert_eq!(both.unhealthy(at(5)), None);
        assert_eq!(both.unhealthy(at(6)).unwrap(), "conntrack: no row for 6 s");
        // Rows without a value come on, and are no samples.
        // Numbers of an earlier walk over the table are no sample.
        let standing = [row(Value::Integer(5))];
        let walked = both.with(0, vec![row(Value::Unknown)], &standing, at(6));
        assert_eq!(walked.inputs[0].sampled, both.inputs[0].sampled);
        assert_eq!(walked.inputs[0].rows.len(), 2);
        let empty = both.with(0, vec![row(Value::Unknown)], &[], at(6));
        assert_eq!(empty.stale(at(7)), None);
        assert!(
            empty.unhealthy(at(7)).unwrap().starts_with("conntrack: nothing could be read for 7 s")
        );
    }

    #[test]
    fn a_text_is_made_once_and_of_the_latest_rows() {
        let now = Instant::now();
        let none = Snapshot::new(&[Input::new(Duration::from_secs(1))], now);
        let text = |snapshot: &Snapshot| {
            String::from_utf8(snapshot.exposition(Dialect::Text).to_vec()).unwrap()
        };
        assert!(text(&none).starts_with("# HELP ctpulse_build_info "));
        let one = none.with(0, vec![row(Value::Integer(7))], &[], now);
        assert!(text(&one).contains("\nconntrack_entries 7\n"), "{}", text(&one));
        let same = [one.exposition(Dialect::OpenMetrics), one.exposition(Dialect::OpenMetrics)];
        assert_eq!(same[0].as_ptr(), same[1].as_ptr());
        assert!(same[0].ends_with(b"# EOF\n"));
    }
}
