//! One truth, and its rows in every form that programs write.

use std::collections::{BTreeMap, BTreeSet};

/// 2026-11-25 07:10:00 UTC.
pub const START_NS: i64 = 1_795_590_600_000_000_000;
pub const SECOND_NS: i64 = 1_000_000_000;
const COUNTERS: [&str; 6] =
    ["drop", "early_drop", "found", "insert_failed", "invalid", "search_restart"];

/// Rows of a kind.
pub type Kind = fn(&Row) -> bool;
pub const ONLY_ALL: Kind = |row| row.tag("cpu") == Some("all");
pub const ONLY_CPUS: Kind = |row| row.tag("cpu").is_some_and(|cpu| cpu != "all");
pub const ONLY_TABLE: Kind = |row| row.tag("cpu").is_none();

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: String,
    pub tags: Vec<(&'static str, String)>,
    pub fields: Vec<(&'static str, u64)>,
    pub time_ns: i64,
}

impl Row {
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    /// The row as rows of one field each.
    pub fn fields_apart(&self) -> Vec<Self> {
        let one = |field: &(&'static str, u64)| Self { fields: vec![*field], ..self.clone() };
        self.fields.iter().map(one).collect()
    }

    /// The second of the truth that the row belongs to.
    pub fn second(&self) -> i64 {
        (self.time_ns - START_NS) / SECOND_NS
    }

    pub fn later(mut self, by_ns: i64) -> Self {
        self.time_ns += by_ns;
        self
    }
}

/// What happened: events of each CPU in each second, some seconds without a gather, and at most
/// one time at which all counters started again.
#[derive(Debug)]
pub struct Truth {
    cpus: usize,
    /// By second, CPU and counter.
    events: Vec<Vec<[u64; COUNTERS.len()]>>,
    missing: BTreeSet<usize>,
    reset: Option<usize>,
}

impl Truth {
    pub fn new(random: &mut fastrand::Rng) -> Self {
        let cpus = random.usize(1..5);
        let seconds = random.usize(60..120);
        let event = |random: &mut fastrand::Rng| {
            // The last counter stands still.
            std::array::from_fn(|at| if at == 5 { 0 } else { random.u64(1..20) })
        };
        let events = (0..seconds).map(|_| (0..cpus).map(|_| event(random)).collect()).collect();
        // A gap late enough for the interval to be known, and apart from the reset.
        let missing = if random.bool() { (30..33).collect() } else { BTreeSet::new() };
        let reset = random.bool().then(|| random.usize(40..55));
        Self { cpus, events, missing, reset }
    }

    /// The events that `events` gives for each second and CPU, in the order of [`COUNTERS`].
    pub fn of(
        cpus: usize,
        seconds: usize,
        mut events: impl FnMut(usize, usize) -> [u64; COUNTERS.len()],
    ) -> Self {
        let second = |second| (0..cpus).map(|cpu| events(second, cpu)).collect();
        let events = (0..seconds).map(second).collect();
        Self { cpus, events, missing: BTreeSet::new(), reset: None }
    }

    /// The same, with all counters beginning again at 0 in a second.
    pub fn with_reset(self, second: usize) -> Self {
        Self { reset: Some(second), ..self }
    }

    /// The most events of a counter in one second.
    pub fn most(&self, counter: &str) -> u64 {
        let at = COUNTERS.iter().position(|name| *name == counter).unwrap();
        let seconds = self.events[1..].iter();
        seconds.map(|cpus| cpus.iter().map(|cpu| cpu[at]).sum()).max().unwrap_or(0)
    }

    pub fn emissions(&self) -> u64 {
        (self.events.len() - self.missing.len()) as u64
    }

    /// Gaps, and the emissions that are missing in them.
    pub fn gaps(&self) -> (u64, u64) {
        (u64::from(!self.missing.is_empty()), self.missing.len() as u64)
    }

    pub fn resets(&self) -> u64 {
        u64::from(self.reset.is_some())
    }

    /// The events behind the first second, of the counters that moved.
    pub fn totals(&self) -> BTreeMap<String, f64> {
        let sum = |at: usize| self.events[1..].iter().flatten().map(|cpu| cpu[at]).sum::<u64>();
        let all = COUNTERS.iter().enumerate().map(|(at, name)| ((*name).to_owned(), sum(at)));
        all.filter(|(_, sum)| *sum > 0).map(|(name, sum)| (name, sum as f64)).collect()
    }

    /// All rows in order, those of one gather some time apart.
    pub fn rows(&self, apart_ns: i64) -> Vec<Row> {
        let mut values = vec![[1000u64; COUNTERS.len()]; self.cpus];
        let mut rows = Vec::new();
        for (second, events) in self.events.iter().enumerate() {
            if self.reset == Some(second) {
                values = vec![[0; COUNTERS.len()]; self.cpus];
            }
            for (value, event) in values.iter_mut().flatten().zip(events.iter().flatten()) {
                *value += event;
            }
            if self.missing.contains(&second) {
                continue;
            }
            let mut time_ns = START_NS + second as i64 * SECOND_NS;
            let mut row = |cpu: Option<String>, fields: Vec<(&'static str, u64)>| {
                let host = ("host", "gw".to_owned());
                let tags = cpu.map(|cpu| ("cpu", cpu)).into_iter().chain([host]).collect();
                rows.push(Row { name: "conntrack".to_owned(), tags, fields, time_ns });
                time_ns += apart_ns;
            };
            let entries = 100 + second as u64 % 7;
            let fields = |of: &dyn Fn(usize) -> u64| {
                let counters = COUNTERS.iter().enumerate().map(|(at, name)| (*name, of(at)));
                counters.chain([("entries", entries)]).collect()
            };
            row(Some("all".to_owned()), fields(&|at| values.iter().map(|cpu| cpu[at]).sum()));
            for (cpu, values) in values.iter().enumerate() {
                row(Some(format!("cpu{cpu}")), fields(&|at| values[at]));
            }
            row(None, vec![("ip_conntrack_count", entries), ("ip_conntrack_max", 4000)]);
        }
        rows
    }
}

/// A form that programs write rows in.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    Lines,
    Unsigned,
    Floats,
    Milliseconds,
    Microseconds,
    Json,
    JsonMilliseconds,
    JsonFraction,
    JsonRfc3339,
    JsonText,
    JsonPretty,
    Batches,
    BatchPretty,
    OneBatch,
    Array,
    ArrayPretty,
    Csv,
    CsvOfBatches,
    CsvSpreadsheet,
    CsvAnnotated,
    Export,
}

impl Form {
    pub const ALL: [Self; 21] = [
        Self::Lines,
        Self::Unsigned,
        Self::Floats,
        Self::Milliseconds,
        Self::Microseconds,
        Self::Json,
        Self::JsonMilliseconds,
        Self::JsonFraction,
        Self::JsonRfc3339,
        Self::JsonText,
        Self::JsonPretty,
        Self::Batches,
        Self::BatchPretty,
        Self::OneBatch,
        Self::Array,
        Self::ArrayPretty,
        Self::Csv,
        Self::CsvOfBatches,
        Self::CsvSpreadsheet,
        Self::CsvAnnotated,
        Self::Export,
    ];

    pub fn write(self, rows: &[Row]) -> Vec<u8> {
        let lines = |suffix: &str, unit: i64| {
            rows.iter().map(|row| line(row, suffix, unit) + "\n").collect::<String>()
        };
        let json = |time: &dyn Fn(i64) -> serde_json::Value| {
            rows.iter().map(|row| json(row, &time(row.time_ns))).collect::<Vec<_>>()
        };
        let ns = json(&|ns| ns.into());
        let each_line = |values: &[serde_json::Value]| {
            values.iter().map(|value| format!("{value}\n")).collect::<String>()
        };
        let batch = |metrics: &[serde_json::Value]| serde_json::json!({ "metrics": metrics });
        let pretty = |value| serde_json::to_string_pretty(value).unwrap() + "\n";
        match self {
            Self::Lines => lines("i", 1),
            Self::Unsigned => lines("u", 1),
            Self::Floats => lines("", 1),
            Self::Milliseconds => lines("i", 1_000_000),
            Self::Microseconds => lines("i", 1000),
            Self::Json => each_line(&ns),
            Self::JsonMilliseconds => each_line(&json(&|ns| (ns / 1_000_000).into())),
            Self::JsonFraction => each_line(&json(&|ns| (ns as f64 / 1e9).into())),
            Self::JsonRfc3339 => each_line(&json(&|ns| rfc3339(ns).into())),
            Self::JsonText => each_line(&ns.iter().map(in_quotes).collect::<Vec<_>>()),
            Self::JsonPretty => ns.iter().map(pretty).collect(),
            Self::Batches => {
                ns.chunks(7).map(|part| format!("{}\n", batch(part))).collect::<String>()
            }
            Self::BatchPretty => pretty(&batch(&ns)),
            Self::OneBatch => batch(&ns).to_string(),
            Self::Array => format!("{}\n", serde_json::Value::from(ns)),
            Self::ArrayPretty => pretty(&ns.into()),
            Self::Csv => csv(rows, rows.len(), ","),
            Self::CsvOfBatches => csv(rows, 1, ","),
            Self::CsvSpreadsheet => {
                format!("\u{feff}{}", csv(rows, rows.len(), ";").replace('\n', "\r\n"))
            }
            Self::CsvAnnotated => annotated(rows),
            Self::Export => {
                "# INFLUXDB EXPORT: 2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z\n# DDL\n\
                 CREATE DATABASE telegraf WITH NAME autogen\n# DML\n# CONTEXT-DATABASE:telegraf\n\
                 # CONTEXT-RETENTION-POLICY:autogen\n# writing tsm data\n"
                    .to_owned()
                    + &lines("i", 1)
            }
        }
        .into_bytes()
    }
}

fn line(row: &Row, suffix: &str, unit: i64) -> String {
    let tags: String = row.tags.iter().map(|(key, value)| format!(",{key}={value}")).collect();
    let field = |(name, value): &(&str, u64)| format!("{name}={value}{suffix}");
    let fields: Vec<_> = row.fields.iter().map(field).collect();
    format!("{}{tags} {} {}", row.name, fields.join(","), row.time_ns / unit)
}

fn json(row: &Row, time: &serde_json::Value) -> serde_json::Value {
    let fields: BTreeMap<_, _> = row.fields.iter().copied().collect();
    let tags: BTreeMap<_, _> = row.tags.iter().map(|(key, value)| (*key, value)).collect();
    serde_json::json!({ "fields": fields, "name": row.name, "tags": tags, "timestamp": time })
}

/// The row with its numbers in quotes, as tools for tables write them.
fn in_quotes(row: &serde_json::Value) -> serde_json::Value {
    let mut row = row.clone();
    for value in row["fields"].as_object_mut().unwrap().values_mut() {
        *value = value.to_string().into();
    }
    row["timestamp"] = row["timestamp"].to_string().into();
    row
}

fn rfc3339(ns: i64) -> String {
    // All times of a truth are within one hour of its start.
    let after = ns - START_NS;
    let (seconds, fraction) = (after / SECOND_NS, after % SECOND_NS);
    format!("2026-11-25T07:{:02}:{:02}.{fraction:09}Z", 10 + seconds / 60, seconds % 60)
}

/// Rows under a header for so many of them, or for each series as Telegraf's batches have.
fn csv(rows: &[Row], batch: usize, delimiter: &str) -> String {
    let mut text = String::new();
    for part in rows.chunks(batch) {
        let tags: BTreeSet<_> = part.iter().flat_map(|r| r.tags.iter().map(|(k, _)| *k)).collect();
        let fields: BTreeSet<_> =
            part.iter().flat_map(|r| r.fields.iter().map(|(k, _)| *k)).collect();
        let header: Vec<_> = ["timestamp", "measurement"]
            .into_iter()
            .chain(tags.iter().copied())
            .chain(fields.iter().copied())
            .collect();
        text += &(header.join(delimiter) + "\n");
        for row in part {
            let mut cells = vec![row.time_ns.to_string(), row.name.clone()];
            cells.extend(tags.iter().map(|key| row.tag(key).unwrap_or_default().to_owned()));
            cells.extend(fields.iter().map(|key| {
                let value = row.fields.iter().find(|(name, _)| name == key);
                value.map_or(String::new(), |(_, value)| value.to_string())
            }));
            text += &(cells.join(delimiter) + "\n");
        }
    }
    text
}

/// The output of `influx query --raw`: a table each for statistics and table rows.
fn annotated(rows: &[Row]) -> String {
    let mut text = String::new();
    for (table, has_cpu) in [(0, true), (1, false)] {
        let cpu = if has_cpu { ",cpu" } else { "" };
        text += "#group,false,false,true,true,false,false,true,true\n#datatype,string,long\n";
        text += "#default,_result,,,,,,,\n";
        text +=
            &format!(",result,table,_start,_stop,_time,_value,_field,_measurement{cpu},host\r\n");
        for row in rows.iter().filter(|row| row.tag("cpu").is_some() == has_cpu) {
            for (field, value) in &row.fields {
                let cpu = row.tag("cpu").map_or(String::new(), |cpu| format!(",{cpu}"));
                text += &format!(
                    ",,{table},2026-01-01T00:00:00Z,2027-01-01T00:00:00Z,{},{value},{field},{}{cpu},gw\r\n",
                    rfc3339(row.time_ns),
                    row.name
                );
            }
        }
        text += "\r\n";
    }
    text
}
