//! Prometheus text exposition format 0.0.4 of one emission.
//!
//! Each emission is a whole exposition: `# HELP` and `# TYPE` once for each family, families
//! sorted, the samples of a family together. A file that the textfile collector or a scraper
//! reads must therefore be replaced with each emission, never appended to. Counters are named
//! `<measurement>_<counter>_total`, gauges `<measurement>_<field>`.
//!
//! There are no timestamps: `node_exporter`'s textfile collector refuses a file with one, and a
//! scrape sets its own. A field that is unknown or that the kernel does not maintain is left
//! out, because absence is how Prometheus says "unknown".

use std::collections::{BTreeMap, HashMap};

use super::prometheus_help::help;
use super::{Encoder, Number, append};
use crate::metric::{Metric, Name};

/// Encodes one emission as one exposition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prometheus;

/// Integer fields that go up and down; all others are counters.
const GAUGES: [&str; 3] = ["entries", "entries_max", "entries_min"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

struct Family {
    kind: Kind,
    help: String,
    /// The value for each label set, by the label set's number.
    samples: BTreeMap<usize, Number>,
}

impl Encoder for Prometheus {
    fn wants_whole_batches(&self) -> bool {
        true
    }

    fn encode(&mut self, batch: &[Metric], out: &mut Vec<u8>) {
        let mut label_sets = LabelSets::default();
        let mut families = BTreeMap::new();
        for metric in batch {
            let labels = label_sets.number_of(&metric.tags);
            for (field, value) in &metric.fields {
                if let Some(number) = Number::known(*value) {
                    add_sample(&mut families, metric, field, labels, number);
                }
            }
        }
        for (name, family) in &families {
            write_family(name, family, &label_sets, out);
        }
    }
}

/// Files a sample under its family. Names that only differ in characters which Prometheus does
/// not allow can meet here; then the first type and the first value of a series stand, since a
/// second would make the exposition invalid.
fn add_sample(
    families: &mut BTreeMap<String, Family>,
    metric: &Metric,
    field: &str,
    labels: usize,
    number: Number,
) {
    let kind = match number {
        Number::Integer(_) if !GAUGES.contains(&field) => Kind::Counter,
        Number::Integer(_) | Number::Float(_) => Kind::Gauge,
    };
    let suffix = if kind == Kind::Counter { "_total" } else { "" };
    let name = sanitized(&format!("{}_{field}{suffix}", metric.name));
    let family = families.entry(name).or_insert_with(|| Family {
        kind,
        help: help(field),
        samples: BTreeMap::new(),
    });
    if family.kind == kind {
        family.samples.entry(labels).or_insert(number);
    }
}

fn write_family(name: &str, family: &Family, label_sets: &LabelSets, out: &mut Vec<u8>) {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    append(out, format_args!("# HELP {name} {}\n", escaped(&family.help, false)));
    append(out, format_args!("# TYPE {name} {kind}\n"));
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
    fn number_of(&mut self, tags: &[(Name, String)]) -> usize {
        // An empty value is the same as no label at all. Of two names that become the same
        // label the first stands.
        let mut labels = BTreeMap::new();
        for (key, value) in tags.iter().filter(|(key, value)| !key.is_empty() && !value.is_empty())
        {
            labels.entry(label_name(key)).or_insert_with(|| escaped(value, true));
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

/// A label name; two leading underscores belong to Prometheus itself.
fn label_name(key: &str) -> String {
    let name = sanitized(key);
    if name.starts_with("__") { format!("tag{name}") } else { name }
}

/// A name of letters, digits and underscores that does not begin with a digit. The colon, which
/// metric names may have, is for recording rules.
fn sanitized(name: &str) -> String {
    let lead = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
    let rest = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    lead.chars().chain(rest).collect()
}

/// A label value, or a help text, in which quotes need no escape.
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
