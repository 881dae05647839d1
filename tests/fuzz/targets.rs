//! What is done with each parser's bytes: by the fuzzer (`cargo xtask fuzz`), and by the ordinary
//! test `tests/host/corpus.rs` with the inputs that were found worth keeping (`corpus/TARGET/*`).
//!
//! A target panics when a property does not hold. Not crashing is the least of them: where there
//! is a slower and simpler way to the same answer, or a way back, the two are compared.

#![allow(clippy::unwrap_used, reason = "a property that does not hold is to end the run")]
#![allow(missing_docs, reason = "names say it; this is no library")]

use ctpulse::config;
use ctpulse::drops::line;
use ctpulse::format::{Csv, Encoder, Influx};
use ctpulse::metric::{Metric, Value};
use ctpulse::recording::{Catalog, ReadCounts, RecordingReader, frames};
use ctpulse::schema::fields::FIELDS;
use ctpulse::schema::raw::StatTable;
use ctpulse::source::ebpf::btf::Btf;
use ctpulse::source::ebpf::drops::{DropReport, decode};
use ctpulse::source::ebpf::offsets::{Offsets, TupleLayout};
use ctpulse::source::ebpf::symbols::{Found, Symbols, TABLE};
use ctpulse::source::netlink::decode::{self, Answer, Progress};
use ctpulse::source::netlink::request::Request;
use ctpulse::source::stat_text::{Oddities, StatParser};
use ctpulse::source::{cpu_mask, sysctl};

/// A target: its name, which its corpus and its fuzzer share, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 11] = [
    ("stat_text", stat_text),
    ("sysctl", sysctl_text),
    ("cpu_mask", cpu_mask_text),
    ("config", config_text),
    ("recording", recording),
    ("zstd_frames", zstd_frames),
    ("csv_header", csv_header),
    ("drop_record", drop_record),
    ("btf", btf),
    ("kallsyms", kallsyms),
    ("netlink", netlink),
];

/// Checks that a message cannot act on a terminal.
fn assert_printable(text: &str) {
    let bad = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(bad, None, "a control character in a message: {text:?}");
}

/// The statistics file: as a parser says that goes word by word, and as it itself says that has
/// parsed another text before.
pub fn stat_text(bytes: &[u8]) {
    let mut table = StatTable::default();
    let mut parser = StatParser::default();
    let printed = parser.parse(bytes, &mut table);
    let (values, filled) = (table.values.clone(), table.filled.clone());
    let oddities = match &printed {
        Ok(oddities) => *oddities,
        Err(error) => {
            assert_printable(&error.to_string());
            assert!(values.is_empty() && filled.is_empty());
            return;
        }
    };
    assert_eq!(slowly(bytes, table.columns()), (values.clone(), filled.clone(), oddities));
    assert_eq!(values.len(), filled.len() * table.columns());

    let again = parser.parse(bytes, &mut table).unwrap();
    assert_eq!((&table.values, &table.filled, again), (&values, &filled, oddities));
    let other = b"entries searched drop\n00000001 00000002 00000003\n";
    parser.parse(other, &mut table).unwrap();
    assert_eq!(table.values, [1, 2, 3]);
    parser.parse(bytes, &mut table).unwrap();
    assert_eq!((&table.values, &table.filled), (&values, &filled));

    // No name stands twice, and those of the kernel that mislead do not stand at all.
    let mut names = table.layout.names.clone();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), table.columns());
    let mut renamed = FIELDS.iter().filter_map(|field| field.header);
    assert!(renamed.all(|column| !names.iter().any(|name| name == column)));
}

/// The rows of a statistics text, with no thought of speed.
fn slowly(text: &[u8], columns: usize) -> (Vec<u32>, Vec<u16>, Oddities) {
    let (mut values, mut filled, mut oddities) = (Vec::new(), Vec::new(), Oddities::default());
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    for (number, line) in lines.iter().enumerate().skip(1) {
        let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let mut words: Vec<&[u8]> = words.collect();
        // The end of a text that does not end in a newline may have been cut within a word.
        let torn = number + 1 == lines.len() && !line.last().is_some_and(u8::is_ascii_whitespace);
        if torn && words.last().is_some_and(|word| word.len() < 8) {
            words.pop();
        }
        if words.is_empty() {
            continue;
        }
        let row: Option<Vec<u32>> = words.iter().map(|word| number_in(word)).collect();
        let start = values.len();
        let had = row.as_ref().map_or(0, Vec::len);
        values.extend(row.iter().flatten().take(columns));
        values.resize(start + columns, 0);
        filled.push(u16::try_from(had.min(columns)).unwrap());
        match row {
            None => {
                oddities.bad_rows += 1;
                if oddities.first_bad_line == 0 {
                    oddities.first_bad_line = u32::try_from(number + 1).unwrap();
                }
            }
            Some(_) if had < columns => oddities.short_rows += 1,
            Some(_) if had > columns => oddities.long_rows += 1,
            Some(_) => {}
        }
    }
    (values, filled, oddities)
}

fn number_in(word: &[u8]) -> Option<u32> {
    let digits = (1..=8).contains(&word.len()) && word.iter().all(u8::is_ascii_hexdigit);
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap();
    digits.then(|| word.iter().fold(0, |number, byte| number << 4 | digit(byte)))
}

/// A number in a sysctl file: what is printed of it reads as the same.
pub fn sysctl_text(bytes: &[u8]) {
    if let Some(number) = sysctl::parse(bytes) {
        assert!(number.is_finite());
        assert_eq!(sysctl::parse(format!("{number}\n").as_bytes()), Some(number));
    }
}

/// The mask of CPUs: it ascends, and one range for each reads as the same.
pub fn cpu_mask_text(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match cpu_mask::parse(text) {
        Ok(cpus) => {
            assert!(!cpus.is_empty() && cpus.len() <= 65_536);
            assert!(cpus.is_sorted_by(|a, b| a < b));
            let one_by_one: Vec<String> = cpus.iter().map(ToString::to_string).collect();
            assert_eq!(cpu_mask::parse(&one_by_one.join(",")).unwrap(), cpus);
        }
        Err(error) => assert_printable(&error.to_string()),
    }
}

/// A configuration, with some variables: its errors and warnings can be printed, and it means the
/// same a second time.
pub fn config_text(bytes: &[u8]) {
    let text = &*String::from_utf8_lossy(bytes);
    let environment = |name: &str| match name {
        "A" => Some("10s".to_owned()),
        "B" => Some("x\"y'\n\u{1b}[2J\\".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    match config::parse("t.conf", text, &environment) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| assert_printable(warning));
            assert!(!loaded.settings.inputs.is_empty());
            for input in &loaded.settings.inputs {
                assert!(!input.interval.is_zero() && input.sample_interval <= input.interval);
            }
            let again = config::parse("t.conf", text, &environment).unwrap();
            assert_eq!(format!("{loaded:?}"), format!("{again:?}"));
        }
        Err(error) => error.lines().iter().for_each(|line| assert_printable(line)),
    }
}

/// Measurement and tags, fields and time of each row, in words.
type Rows = Vec<(String, Vec<(String, f64)>, i64)>;

/// Gives a few bytes at a time.
struct Slow(std::io::Cursor<Vec<u8>>, usize);

impl std::io::Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

fn rows_of(bytes: &[u8], at_once: usize) -> (Rows, ReadCounts) {
    let (mut catalog, mut tally, mut rows) =
        (Catalog::default(), ReadCounts::default(), Vec::new());
    let input = Slow(std::io::Cursor::new(bytes.to_vec()), at_once);
    let mut reader = RecordingReader::of_stream("t", Box::new(input)).unwrap();
    while let Some(row) = reader.next_row(&mut catalog, &mut tally) {
        let values = row.values.iter();
        let values: Vec<_> =
            values.map(|(id, value)| (catalog.fields()[id.0].clone(), *value)).collect();
        rows.push((format!("{:?}", catalog.series(row.series)), values, row.time_ns));
    }
    (rows, tally)
}

/// A recording: the same however its bytes arrive, every value a number, every fault printable;
/// and its rows, written again by ourselves, read as the same.
pub fn recording(bytes: &[u8]) {
    let (rows, tally) = rows_of(bytes, 1 << 20);
    let (slowly, slow_tally) = rows_of(bytes, 3);
    // Of a zstd file that is damaged more is decoded where less is asked for at once.
    if tally.unreadable.is_empty() || slow_tally.unreadable.is_empty() {
        assert_eq!((&rows, &tally), (&slowly, &slow_tally));
    }
    assert_eq!(rows.len() as u64, tally.rows);
    assert!(rows.iter().flat_map(|(_, values, _)| values).all(|(_, value)| value.is_finite()));
    let printed = tally.first_bad_line.iter().chain(&tally.unreadable).chain(&tally.unfinished);
    printed.for_each(|printed| assert_printable(printed));

    let mut written = Vec::new();
    let (mut catalog, mut tally) = (Catalog::default(), ReadCounts::default());
    let mut reader =
        RecordingReader::of_stream("t", Box::new(std::io::Cursor::new(bytes.to_vec()))).unwrap();
    let mut kept = Vec::new();
    while let Some(row) = reader.next_row(&mut catalog, &mut tally) {
        let series = catalog.series(row.series);
        let fields = row.values.iter().map(|(id, value)| (catalog.fields()[id.0].clone(), *value));
        let fields: Vec<_> = fields.collect();
        let names = series.tags.iter().flat_map(|(key, value)| [key, value]);
        let names = names.chain(fields.iter().map(|(name, _)| name)).chain([&series.name]);
        // Rows that we would not write: line protocol has no way to say them, or several.
        let sayable = |name: &String| {
            !name.is_empty()
                && !name.contains(['\\', '"', '#', '{'])
                && name.trim() == name
                && !name.contains(char::is_control)
        };
        let mut keys: Vec<_> = fields.iter().map(|(name, _)| name).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut tags: Vec<_> = series.tags.iter().map(|(key, _)| key).collect();
        tags.dedup();
        let twice = keys.len() < fields.len() || tags.len() < series.tags.len();
        if fields.is_empty() || twice || !{ names }.all(sayable) || row.time_ns < 1 << 60 {
            continue;
        }
        let of = |(name, value): &(String, f64)| (name.clone().into(), Value::Float(*value));
        let metric = Metric {
            name: series.name.clone(),
            tags: series.tags.iter().map(|(k, v)| (k.clone().into(), v.clone())).collect(),
            fields: fields.iter().map(of).collect(),
            timestamp_ns: row.time_ns,
        };
        Influx.encode(&[metric], &mut written);
        kept.push((format!("{series:?}"), fields, row.time_ns));
    }
    let (again, tally) = rows_of(&written, 1 << 20);
    assert_eq!(tally.bad_lines, 0, "{}", String::from_utf8_lossy(&written));
    let sorted = |mut rows: Rows| {
        rows.iter_mut().for_each(|(_, fields, _)| fields.sort_by(|a, b| a.0.cmp(&b.0)));
        rows
    };
    assert_eq!(sorted(again), sorted(kept));
}

/// What is whole in a zstd file: within it, and all of what a decoder takes as a whole; mended,
/// it can be gone on with.
pub fn zstd_frames(bytes: &[u8]) {
    let whole = frames::whole_part(std::io::Cursor::new(bytes));
    let Ok(whole) = whole else { return };
    let length = usize::try_from(whole.length).unwrap();
    assert!(length <= bytes.len());
    // A decoder of the whole is bounded: a few bytes may say that they are gigabytes.
    let decoded = |bytes: &[u8]| {
        let mut decoder = zstd::stream::read::Decoder::new(bytes).ok()?;
        decoder.window_log_max(20).ok()?;
        let mut text = Vec::new();
        let limited = std::io::Read::take(&mut decoder, 1 << 22);
        std::io::Read::read_to_end(&mut { limited }, &mut text).ok()?;
        (text.len() < 1 << 22).then_some(text)
    };
    let Some(before) = decoded(bytes).filter(|_| !bytes.is_empty()) else { return };
    assert_eq!((length, whole.open), (bytes.len(), false), "a whole file is cut");
    let more = zstd::encode_all(&b"more\n"[..], 1).unwrap();
    let after = decoded(&[bytes, &more].concat()).unwrap();
    assert_eq!(after, [&before[..], b"more\n"].concat());
}

/// The header of a CSV file that is there already.
pub fn csv_header(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Some(mut csv) = Csv::under(text) else { return };
    let field = |name: &'static str, value| (name.into(), Value::Integer(value));
    let metric = Metric {
        name: "conntrack".into(),
        tags: vec![("cpu".into(), "all".into())],
        fields: vec![field("drop", 1), field("insert", 2)],
        timestamp_ns: 1_700_000_000_000_000_000,
    };
    let mut out = Vec::new();
    csv.encode(&[metric], &mut out);
    let printed = csv.take_notice();
    printed.iter().for_each(|printed| assert_printable(&printed.to_string()));
    // Under a header without any of its fields a row has no value, which is reported.
    let lines = out.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines == 1 || lines == 0 && printed.is_some(), "{lines} lines");
}

/// A record of the ring, by any layout of the kernel's: a report or none, whose lines are one
/// line each.
pub fn drop_record(bytes: &[u8]) {
    let Some((layout, record)) = bytes.split_first_chunk::<6>() else { return };
    let [source, source_port, family, destination, destination_port, protocol] =
        layout.map(u32::from);
    let layout =
        TupleLayout { source, source_port, family, destination, destination_port, protocol };
    let Some(report) = decode(record, &layout) else { return };
    let DropReport { cpu, inode, .. } = report;
    assert!(record.len() >= 24 && u64::from(cpu) + u64::from(inode) < 1 << 33);
    for netns in [None, Some("router1")] {
        let time = report.time_ns as i64;
        let human = line::human(&report, time, netns);
        assert_printable(&human);
        assert!(!human.contains('\n'));
        let json = line::json(&report, time, netns);
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed["cpu"], cpu);
        assert!(!json.contains('\n'));
    }
}

/// The kernel's types, and a module's that go on from them: an answer in bounded time, whatever
/// refers to what.
pub fn btf(bytes: &[u8]) {
    let (kernel, module) = bytes.split_at(bytes.len() / 2);
    for bytes in [bytes, kernel] {
        let Ok(kernel) = Btf::parse(bytes, None) else { continue };
        let ask = |btf: &Btf<'_>| {
            for (structure, path) in
                [("s", &["a"][..]), ("s", &["c", "d"]), ("t", &["x", "y", "z"])]
            {
                if let Err(error) = btf.offset(structure, path) {
                    assert_printable(&error.to_string());
                }
                let _ = btf.size(structure);
            }
            let _ = Offsets::find(btf);
            for function in ["s", "f"] {
                let _ = btf.function(function);
            }
        };
        ask(&kernel);
        if let Ok(module) = Btf::parse(module, Some(&kernel)) {
            ask(&module);
        }
    }
}

/// The kernel's symbols: a name that is found stands in the text.
pub fn kallsyms(bytes: &[u8]) {
    let symbols = Symbols::parse(bytes);
    for renamed_too in [false, true] {
        let functions =
            ["init_conntrack", "nf_ct_delete_from_lists", "early_drop", "destroy_conntrack"];
        let names = match symbols.find(&functions, renamed_too) {
            Found::One(name) => vec![name],
            Found::Several(names) => names,
            Found::None => Vec::new(),
        };
        for name in names {
            assert!(memchr::memmem::find(bytes, name.as_bytes()).is_some());
            assert!(functions.iter().any(|function| name.starts_with(function)));
        }
    }
    let _ = symbols.address(TABLE);
}

/// ctnetlink's answers: datagrams, each behind a byte that says which question it answers and two
/// that say its length. The table that they fill has whole rows and no name twice, and whoever
/// fills it again gets the same.
pub fn netlink(mut bytes: &[u8]) {
    const QUESTIONS: [Request; 4] =
        [Request::Table, Request::Counters, Request::Expectations, Request::Entries];
    let mut answer = Answer::default();
    while let Some(([question, low, high], rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let datagram = &rest[..length];
        bytes = &rest[length..];
        let question = QUESTIONS[usize::from(*question) % QUESTIONS.len()];
        match decode::decode(datagram, 1, question, &mut answer) {
            Ok(Progress::More | Progress::Done) => {}
            Err(error) => assert_printable(&error.to_string()),
        }
    }
    let seen = answer.seen();
    assert!(seen.unreplied <= seen.seen && seen.evictable <= seen.seen);
    let mut table = StatTable::default();
    let printed = answer.fill(&mut table);
    assert_eq!(table.values.len(), table.filled.len() * table.columns());
    assert_eq!(table.cpus.len(), table.filled.len());
    assert!(table.cpus.is_sorted_by(|a, b| a < b));
    if let Err(error) = &printed {
        assert_printable(&error.to_string());
        assert!(table.values.is_empty());
    }
    let mut names = table.layout.names.clone();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), table.columns());

    let (values, filled) = (table.values.clone(), table.filled.clone());
    assert_eq!(answer.fill(&mut table), printed);
    assert_eq!((table.values, table.filled), (values, filled));
    answer.clear();
    assert!(answer.fill(&mut StatTable::default()).is_err());
}
