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

use std::collections::{BTreeMap, HashMap};

use super::prometheus_help::help;
use super::prometheus_names::{Kind, Sample, sample};
use super::{Encoder, Number, append};
use crate::metric::{Metric, Name};

/// Encodes one emission as one exposition in the text format.
#[derive(Debug, Clone, Default)]
pub struct Prometheus {
    renamed: Vec<(String, String)>,
    /// Of which no notice was taken yet.
    unsaid: bool,
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
        let renamed = renamed_tags(batch);
        self.unsaid |= renamed.iter().any(|pair| !self.renamed.contains(pair));
        self.renamed = renamed;
    }

    fn take_notice(&mut self) -> Option<String> {
        std::mem::take(&mut self.unsaid).then(|| renaming_notice(&self.renamed))
    }
}

/// What to report of [`renamed_tags`].
#[must_use]
pub fn renaming_notice(renamed: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        renamed.iter().map(|(tag, label)| format!("{tag:?} as {label}")).collect();
    format!("tags that would be one Prometheus label are kept apart: {}", pairs.join(", "))
}

/// Appends one exposition of all `rows`.
pub fn exposition<'a>(
    rows: impl IntoIterator<Item = &'a Metric>,
    dialect: Dialect,
    out: &mut Vec<u8>,
) {
    let mut label_sets = LabelSets::default();
    let mut families = Families::new();
    for metric in rows {
        let labels = label_sets.number_of(&metric.tags, None);
        for (field, value) in &metric.fields {
            if let Some(number) = Number::known(*value) {
                let sample = sample(&metric.name, field, number);
                let labels = match sample.program {
                    None => labels,
                    program => label_sets.number_of(&metric.tags, program),
                };
                add_sample(&mut families, &metric.name, &sample, labels);
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

/// Files a sample under its family. Names that only differ in characters which Prometheus does
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
#[derive(Default)]
struct LabelSets {
    texts: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl LabelSets {
    fn number_of(&mut self, tags: &[(Name, String)], program: Option<&str>) -> usize {
        let program = program.map(|program| ("program".to_owned(), escaped(program, true)));
        let mut labels: BTreeMap<String, String> = program.into_iter().collect();
        for (label, _, value) in label_names(tags, labels.len()) {
            labels.insert(label, escaped(value, true));
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

/// The labels of tags, with the tag's own name and value. Two tags whose names Prometheus allows in
/// one form only, such as `a-b` and `a.b`, are kept apart by a number; so is a tag that is called
/// as the label `program`, where that `is taken`. An empty value is the same as no label at all.
fn label_names(tags: &[(Name, String)], taken: usize) -> Vec<(String, &str, &str)> {
    let set = tags.iter().filter(|(key, value)| !key.is_empty() && !value.is_empty());
    let mut named: Vec<(String, &str, &str)> =
        set.map(|(key, value)| (label_name(key), &**key, value.as_str())).collect();
    // Those first that are called so, so that another tag does not take the name of one.
    named.sort_by(|a, b| (a.0 != a.1, a.1).cmp(&(b.0 != b.1, b.1)));
    let mut used: Vec<String> = vec!["program".to_owned(); taken];
    for (label, _, _) in &mut named {
        let unnumbered = label.clone();
        let mut number = 2;
        while used.contains(label) {
            *label = unreserved(format!("{unnumbered}_{number}"));
            number += 1;
        }
        used.push(label.clone());
    }
    named
}

/// The tags of these rows that are written under a label with a number, and that label.
#[must_use]
pub fn renamed_tags(rows: &[Metric]) -> Vec<(String, String)> {
    let mut renamed: Vec<(String, String)> = rows
        .iter()
        .flat_map(|row| label_names(&row.tags, 0))
        .filter(|(label, key, _)| *label != label_name(key))
        .map(|(label, key, _)| (key.to_owned(), label))
        .collect();
    renamed.sort();
    renamed.dedup();
    renamed
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
