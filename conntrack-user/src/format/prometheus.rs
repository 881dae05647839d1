//! Prometheus text exposition format 0.0.4 and OpenMetrics 1.0 of one emission.
//!
//! Each emission is a whole exposition: help and type once for each family, families sorted, the
//! samples of a family together. A file that the textfile collector or a scraper reads must
//! therefore be replaced with each emission, never appended to. Names are the measurement's, an
//! underscore, and what `prometheus_names` makes of the field's.
//!
//! There are no timestamps: `node_exporter`'s textfile collector refuses a file with one, and a
//! scrape sets its own. A field that is unknown or that the kernel does not maintain is left
//! out, because Prometheus shows an unknown value by its absence.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::prometheus_help::help;
use super::prometheus_names::{Kind, Sample, sample};
use super::{Encoder, Number, append};
use crate::metric::{Metric, Name};
use crate::rows::self_metrics;
use crate::schema::labelled;

/// The most names that need a number of which a message lists each.
const MOST_NAMED: usize = 16;

/// The label of what is known of one probe.
const PROGRAM: &str = "program";

/// Encodes one emission as one exposition in the text format.
#[derive(Debug, Clone, Default)]
pub struct Prometheus {
    collisions: Collisions,
    notice: Option<String>,
}

/// Follows which tags and measurements have names that Prometheus can write in one form only, such
/// as `a-b` and `a.b`. A number distinguishes them.
#[derive(Debug, Clone, Default)]
pub struct Collisions {
    tags: BTreeSet<String>,
    measurements: BTreeSet<String>,
    /// The last report.
    renamed: Vec<(String, String)>,
}

impl Collisions {
    /// Takes the names of `rows`; returns the message when new ones need a number.
    pub fn take(&mut self, rows: &[Metric]) -> Option<String> {
        let before = self.tags.len() + self.measurements.len();
        for row in rows {
            let tags = row.tags.iter().filter(|(_, value)| !value.is_empty());
            let add = |known: &mut BTreeSet<String>, name: &str| {
                if !known.contains(name) {
                    known.insert(name.to_owned());
                }
            };
            tags.for_each(|(key, _)| add(&mut self.tags, key));
            add(&mut self.measurements, &row.name);
        }
        if before == self.tags.len() + self.measurements.len() {
            return None;
        }
        let mut renamed = Names::labels(self.tags.iter().map(String::as_str), &[]).renamed();
        renamed.extend(Names::measurements(self.measurements.iter().map(String::as_str)).renamed());
        if renamed == self.renamed {
            return None;
        }
        self.renamed.clone_from(&renamed);
        if renamed.is_empty() {
            return None;
        }
        let named = renamed.iter().take(MOST_NAMED);
        let named: Vec<_> = named.map(|(name, written)| format!("{name:?} as {written}")).collect();
        let more = match renamed.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let named = named.join(", ");
        // The names may have a line of their own.
        Some(format!("names that are one in Prometheus are kept apart; {named}{more}"))
    }
}

/// The two ways to write an exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The text exposition format 0.0.4, which everything reads.
    Text,
    /// `OpenMetrics` 1.0: families have units, and the end is marked.
    OpenMetrics,
}

impl Dialect {
    /// The media type, with version and character set.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

struct Family {
    kind: Kind,
    help: String,
    /// The value for each label set, by the label set's number.
    samples: BTreeMap<usize, Number>,
}

/// Families by the names of their samples.
type Families = BTreeMap<String, Family>;

impl Encoder for Prometheus {
    fn wants_whole_batches(&self) -> bool {
        true
    }

    fn encode(&mut self, batch: &[Metric], out: &mut Vec<u8>) {
        exposition(batch, Dialect::Text, out);
        self.notice = self.collisions.take(batch).or(self.notice.take());
    }

    fn take_notice(&mut self) -> Option<String> {
        self.notice.take()
    }
}

/// Appends one exposition of all `rows`.
pub fn exposition<'a>(
    rows: impl IntoIterator<Item = &'a Metric>,
    dialect: Dialect,
    out: &mut Vec<u8>,
) {
    let rows: Vec<&Metric> = rows.into_iter().collect();
    let mut label_sets = LabelSets::of(&rows);
    let measurements = Names::measurements(rows.iter().map(|row| row.name.as_str()));
    let mut families = Families::new();
    for metric in rows {
        let measurement = measurements.written(&metric.name);
        let labels = label_sets.number_of(&metric.tags, None);
        let has_field = |name: &str| metric.field(name).is_some();
        let labelled = labelled::find(|tag| metric.tag(tag).is_some(), has_field);
        for (field, value) in &metric.fields {
            if let Some(number) = Number::known(*value) {
                let sample = sample(&metric.name, labelled, field, number);
                let labels = match sample.program {
                    None => labels,
                    program => label_sets.number_of(&metric.tags, program),
                };
                add_sample(&mut families, measurement, &sample, labels);
            }
        }
    }
    for (name, family) in &families {
        write_family(name, family, &label_sets, dialect, out);
    }
    if dialect == Dialect::OpenMetrics {
        append(out, format_args!("# EOF\n"));
    }
}

/// Files a sample under its family. Names of fields that only differ in characters which Prometheus does
/// not allow can meet here, and in `OpenMetrics` a gauge with a counter of the same name before
/// `_total`; then the first type and the first value of a series stand, since a second would make
/// the exposition invalid.
fn add_sample(families: &mut Families, measurement: &str, sample: &Sample<'_>, labels: usize) {
    let family = sanitized(&format!("{measurement}_{}", sample.name));
    let name = format!("{family}{}", sample.kind.suffix());
    let (rival, kind) = match sample.kind {
        Kind::Counter => (family, Kind::Gauge),
        Kind::Gauge => (format!("{family}_total"), Kind::Counter),
    };
    if families.get(&rival).is_some_and(|rival| rival.kind == kind) {
        return;
    }
    let family = families.entry(name).or_insert_with(|| Family {
        kind: sample.kind,
        help: help(sample.name),
        samples: BTreeMap::new(),
    });
    if family.kind == sample.kind {
        family.samples.entry(labels).or_insert(sample.number);
    }
}

fn write_family(
    name: &str,
    family: &Family,
    label_sets: &LabelSets,
    dialect: Dialect,
    out: &mut Vec<u8>,
) {
    let open_metrics = dialect == Dialect::OpenMetrics;
    let bare = name.strip_suffix(family.kind.suffix()).unwrap_or(name);
    let described = if open_metrics { bare } else { name };
    let help = escaped(&family.help, open_metrics);
    append(out, format_args!("# HELP {described} {help}\n"));
    append(out, format_args!("# TYPE {described} {}\n", family.kind.word()));
    if open_metrics && bare.ends_with("_seconds") {
        append(out, format_args!("# UNIT {described} seconds\n"));
    }
    for (labels, number) in &family.samples {
        append(out, format_args!("{name}{} {number}\n", label_sets.texts[*labels]));
    }
}

/// Every distinct label set of an emission as text, `{a="b"}` or nothing.
struct LabelSets {
    names: Names,
    texts: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl LabelSets {
    fn of(rows: &[&Metric]) -> Self {
        let has_programs = rows.iter().any(|row| row.name == self_metrics::MEASUREMENT);
        let reserved: &[&str] = if has_programs { &[PROGRAM] } else { &[] };
        let keys = rows.iter().flat_map(|row| set_tags(&row.tags)).map(|(key, _)| &**key);
        Self { names: Names::labels(keys, reserved), texts: Vec::new(), numbers: HashMap::new() }
    }

    fn number_of(&mut self, tags: &[(Name, String)], program: Option<&str>) -> usize {
        let program = program.map(|program| (PROGRAM, escaped(program, true)));
        let mut labels: BTreeMap<&str, String> = program.into_iter().collect();
        for (key, value) in set_tags(tags) {
            labels.insert(self.names.written(key), escaped(value, true));
        }
        let pairs: Vec<_> =
            labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let text =
            if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        *self.numbers.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            self.texts.len() - 1
        })
    }
}

/// The tags that are labels: an empty value is the same as no label at all.
fn set_tags(tags: &[(Name, String)]) -> impl Iterator<Item = &(Name, String)> {
    tags.iter().filter(|(key, value)| !key.is_empty() && !value.is_empty())
}

/// How names are written, those of all rows of an exposition together: a name is the same on every
/// row, and two names never become one.
struct Names(BTreeMap<String, String>);

impl Names {
    /// The labels of the tags `keys`; the labels `reserved` are not for tags.
    fn labels<'a>(keys: impl Iterator<Item = &'a str>, reserved: &[&str]) -> Self {
        Self::of(keys, reserved, label_name)
    }

    fn measurements<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self::of(names, &[], sanitized)
    }

    fn of<'a>(
        names: impl Iterator<Item = &'a str>,
        reserved: &[&str],
        write: fn(&str) -> String,
    ) -> Self {
        let mut names: Vec<(String, &str)> =
            names.collect::<BTreeSet<_>>().into_iter().map(|name| (write(name), name)).collect();
        // Names that need no change come first, so that no other name takes theirs.
        names.sort_by(|a, b| (a.0 != a.1, a.1).cmp(&(b.0 != b.1, b.1)));
        let mut used: BTreeSet<String> = reserved.iter().map(|name| (*name).to_owned()).collect();
        let mut written = BTreeMap::new();
        for (wanted, name) in names {
            let numbered = (2..).map(|number| unreserved(format!("{wanted}_{number}")));
            let free =
                std::iter::once(wanted.clone()).chain(numbered).find(|it| !used.contains(it));
            let free = free.unwrap_or_default();
            used.insert(free.clone());
            written.insert(name.to_owned(), free);
        }
        Self(written)
    }

    /// How `name`, one of those that this was made of, is written.
    fn written<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.get(name).map_or(name, String::as_str)
    }

    /// The names that got a number, and how they are written.
    fn renamed(self) -> Vec<(String, String)> {
        let is_renamed = |(name, written): &(String, String)| {
            *written != label_name(name) && *written != sanitized(name)
        };
        self.0.into_iter().filter(is_renamed).collect()
    }
}

fn label_name(key: &str) -> String {
    unreserved(sanitized(key))
}

/// A label name; two leading underscores belong to Prometheus itself.
fn unreserved(name: String) -> String {
    if name.starts_with("__") { format!("tag{name}") } else { name }
}

/// A name of letters, digits and underscores that does not begin with a digit. The colon, which
/// metric names may have, is for recording rules.
fn sanitized(name: &str) -> String {
    let lead = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
    let rest = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    lead.chars().chain(rest).collect()
}

/// A label value, or a help text, in which the text format does not escape quotes.
fn escaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str(r"\\"),
            '\n' => out.push_str(r"\n"),
            '"' if quotes => out.push_str(r#"\""#),
            _ => out.push(c),
        }
    }
    out
}
