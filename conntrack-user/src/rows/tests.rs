//! Tests of `rows`: the schema's promises, on the texts of real kernels.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::accumulate::{Accumulator, Extremes};
use crate::schema::fields::DOCUMENTED;
use crate::schema::raw::{EVENTS, StatTable};
use crate::settings::Collect;
use crate::source::{cpu_mask, stat_text::StatParser};

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

fn input(compat: bool) -> Input {
    let mut input = Input::new(Duration::from_secs(10));
    input.collect = Collect { all: true, percpu: true };
    input.compat_telegraf = compat;
    input
}

/// The rows of one fixture, read `reads` times a second apart.
fn rows(name: &str, file: &str, input: Input, reads: u32) -> Vec<Metric> {
    let root = fixture(name);
    let text = std::fs::read(root.join("proc/net/stat").join(file)).unwrap();
    let mut table = StatTable::default();
    StatParser::default().parse(&text, &mut table).unwrap();
    let mut accumulator = Accumulator::new(input.sample_interval, input.percpu_rates);
    let mut window = Window::default();
    for read in 0..reads {
        accumulator.handed_over();
        accumulator.add(&table, Duration::from_secs(u64::from(read)));
        accumulator.fill(&mut window);
    }
    let cpus = cpu_mask::read(&root.join("sys")).unwrap();
    let release = crate::source::release::read(&root.join("proc/sys/kernel/osrelease"));
    RowBuilder::new(input, cpus, release, vec!["ip_conntrack_count".into()]).rows(&window)
}

/// While calls are missed, what is left of the kernel's counters is not known; on kernels that do not
/// count misses the field is not there.
#[test]
fn missed_calls_are_in_the_row_and_derived_drops_are_unknown() {
    let text = std::fs::read(fixture("5.15/proc/net/stat/nf_conntrack")).unwrap();
    let mut table = StatTable::default();
    StatParser::default().parse(&text, &mut table).unwrap();
    let mut builder = RowBuilder::new(input(false), vec![0, 1, 2, 3], Some((6, 12)), Vec::new());
    let mut accumulator = Accumulator::new(Duration::from_secs(1), false);
    accumulator.expect_events([true; EVENTS]);
    let mut window = Window::default();
    let mut at = 0;
    let mut row = |missed, names: &[&str]| {
        at += 1;
        accumulator.add_events(&[0; 4 * EVENTS], &[0; 4 * EVENTS]);
        accumulator.add(&table, Duration::from_secs(at));
        accumulator.note_missed(missed);
        accumulator.fill(&mut window);
        let rows = builder.rows(&window);
        accumulator.handed_over();
        assert_eq!(rows[1].field("events_missed"), None, "it is of no single CPU");
        let values: Vec<Value> = names.iter().map(|name| rows[0].field(name).unwrap()).collect();
        (values, builder.take_notice())
    };
    let names = ["events_missed", "drop_other", "drop_dying_rate"];
    let zero = Value::Integer(0);
    let missed = |count| Value::Integer(count);
    let unknown = |count| vec![missed(count), Value::Unknown, Value::Unknown];
    // Two samples are compared from the third one on.
    assert_eq!(row(Some(0), &names).0, unknown(0));
    assert_eq!(row(Some(0), &names).0, unknown(0));
    assert_eq!(row(Some(0), &names).0, [zero, zero, Value::Float(0.0)]);
    let (values, notice) = row(Some(7), &names);
    assert_eq!(values, unknown(7));
    assert!(notice.unwrap().contains("missed 7 calls"));
    assert_eq!(row(Some(7), &names), (unknown(7), None));
    assert_eq!(row(Some(7), &names), (unknown(7), None));
    assert_eq!(row(Some(7), &names).0, [missed(7), zero, Value::Float(0.0)]);
    // Attached again on a kernel that does not count.
    assert_eq!(row(None, &names).0, [Value::Unknown, zero, Value::Float(0.0)]);
}

/// A warning of missed calls was replaced by one of the same row.
#[test]
fn two_warnings_of_one_row_are_both_kept() {
    let text = std::fs::read(fixture("5.15/proc/net/stat/nf_conntrack")).unwrap();
    let mut table = StatTable::default();
    StatParser::default().parse(&text, &mut table).unwrap();
    let mut builder = RowBuilder::new(input(false), vec![0], None, Vec::new());
    let mut accumulator = Accumulator::new(Duration::from_secs(1), false);
    accumulator.add(&table, Duration::ZERO);
    accumulator.note_missed(Some(7));
    let mut window = Window::default();
    accumulator.fill(&mut window);
    builder.rows(&window);
    assert!(builder.take_notice().unwrap().contains("missed 7 calls"));
    assert!(builder.take_notice().unwrap().contains("4 rows of statistics"));
    assert_eq!(builder.take_notice(), None);
}

fn cpus(rows: &[Metric]) -> Vec<&str> {
    rows.iter().filter_map(|row| row.tag("cpu")).collect()
}

#[test]
fn entries_is_never_summed_and_all_documented_counters_are_there() {
    for (name, file) in [
        ("2.6.18", "ip_conntrack"),
        ("2.6.32-rhel6", "nf_conntrack"),
        ("3.10-rhel7", "nf_conntrack"),
        ("4.4", "nf_conntrack"),
        ("4.19", "nf_conntrack"),
        ("5.4", "nf_conntrack"),
        ("5.10", "nf_conntrack"),
        ("5.15", "nf_conntrack"),
        ("cpus-128", "nf_conntrack"),
    ] {
        let rows = rows(name, file, input(false), 1);
        let entries = rows[0].field("entries").unwrap();
        for row in &rows[..rows.len() - 1] {
            assert_eq!(row.field("entries"), Some(entries), "{name}");
            for counter in DOCUMENTED {
                assert!(row.field(counter).is_some(), "{name} lacks {counter}");
            }
        }
    }
}

#[test]
fn renamed_columns_are_filed_under_their_own_names() {
    let rows = rows("5.15", "nf_conntrack", input(false), 1);
    assert_eq!(rows[0].field("clash_resolve"), Some(Value::Integer(275)));
    assert_eq!(rows[0].field("chaintoolong"), Some(Value::Integer(4)));
    assert_eq!(rows[0].field("searched"), Some(Value::NotMaintained));
    assert_eq!(rows[0].field("delete_list"), Some(Value::NotMaintained));
}

#[test]
fn rows_carry_the_numbers_of_possible_cpus() {
    let rows = rows("cpu-holes", "nf_conntrack", input(false), 1);
    assert_eq!(cpus(&rows), ["all", "cpu0", "cpu1", "cpu4", "cpu6", "cpu7"]);
}

#[test]
fn rates_come_with_the_second_window_and_only_for_maintained_counters() {
    let first = rows("5.15", "nf_conntrack", input(false), 1);
    assert_eq!(first[0].field("drop_rate"), Some(Value::Unknown));
    let second = rows("5.15", "nf_conntrack", input(false), 2);
    assert_eq!(second[0].field("drop_rate"), Some(Value::Float(0.0)));
    assert_eq!(second[0].field("drop_rate_max"), Some(Value::Float(0.0)));
    assert_eq!(second[0].field("new_rate"), Some(Value::Unknown));
    assert_eq!(second[0].field("entries_rate"), None);
    assert_eq!(second[1].field("drop_rate"), None);
    let mut with_rates = input(false);
    with_rates.percpu_rates = true;
    let percpu = rows("5.15", "nf_conntrack", with_rates, 2);
    assert_eq!(percpu[1].field("drop_rate"), Some(Value::Float(0.0)));
}

#[test]
fn telegrafs_documented_example_is_reproduced_only_in_compat() {
    let compat = rows("telegraf-example", "nf_conntrack", input(true), 1);
    assert_eq!(compat[0].field("entries"), Some(Value::Integer(5568)));
    assert_eq!(compat[0].field("ignore"), Some(Value::Integer(2_586_413_402)));
    assert_eq!(compat[0].fields.len(), 17);
    let correct = rows("telegraf-example", "nf_conntrack", input(false), 1);
    assert_eq!(correct[0].field("entries"), Some(Value::Integer(464)));
}

#[test]
fn compat_has_the_numbers_of_telegraf() {
    // By position: clashres under `searched`, chainlength under `delete_list`.
    let positional = rows("5.15", "nf_conntrack", input(true), 1);
    assert_eq!(positional[0].field("searched"), Some(Value::Integer(275)));
    assert_eq!(positional[0].field("delete_list"), Some(Value::Integer(4)));
    // By row: holes in the mask shift the numbers.
    let holes = rows("cpu-holes", "nf_conntrack", input(true), 1);
    assert_eq!(cpus(&holes), ["all", "cpu0", "cpu1", "cpu2", "cpu3", "cpu4"]);
    // Rows of 16 columns are skipped, and the sum of no rows is 0.
    let old = rows("2.6.32-rhel6", "nf_conntrack", input(true), 1);
    assert_eq!(cpus(&old), ["all"]);
    assert_eq!(old[0].field("entries"), Some(Value::Integer(0)));
}

#[test]
fn an_unknown_column_is_kept_under_its_own_name() {
    let mut table = StatTable::default();
    let text = b"entries  clashres shiny found\n0000000a  1 2 3\n";
    StatParser::default().parse(text, &mut table).unwrap();
    let mut accumulator = Accumulator::new(Duration::from_secs(1), false);
    accumulator.add(&table, Duration::ZERO);
    let mut window = Window::default();
    accumulator.fill(&mut window);
    let rows = RowBuilder::new(input(false), vec![0], None, vec![]).rows(&window);
    assert_eq!(rows[0].field("shiny"), Some(Value::Integer(2)));
    assert_eq!(rows[0].field("found"), Some(Value::Integer(3)));
    assert!(rows[0].fields.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted");
}

/// `collect` unset, as Telegraf has it: the burst between two rows left no trace.
#[test]
fn a_burst_between_two_rows_is_in_the_extremes_of_the_table_row() {
    let extremes = |change: fn(&mut Input), count: Option<(f64, f64)>| {
        let mut input = Input::new(Duration::from_secs(10));
        change(&mut input);
        let entries = Extremes { last: 7, min: 6, max: 800 };
        let window = Window {
            count: count.map(|(min, max)| Range { min, max }),
            entries: input.collect.percpu.then_some(entries),
            sysctls: vec![Some(5.0)],
            ..Window::default()
        };
        let keys = vec!["ip_conntrack_count".into()];
        let rows = RowBuilder::new(input, vec![0], None, keys).rows(&window);
        let field = |end| rows.last().unwrap().field(&format!("ip_conntrack_count_{end}"));
        (field("min"), field("max"))
    };
    let floats = |min, max| (Some(Value::Float(min)), Some(Value::Float(max)));
    assert_eq!(extremes(|_| (), Some((3.0, 900.0))), floats(3.0, 900.0));
    assert_eq!(extremes(|_| (), Some((6.0, 900.0))), floats(5.0, 900.0));
    assert_eq!(extremes(|_| (), None), floats(5.0, 5.0));
    // By the statistics, where no row `cpu=all` has them.
    assert_eq!(extremes(|input| input.collect.percpu = true, None), floats(5.0, 800.0));
    for change in [
        |input: &mut Input| input.collect.all = true,
        |input: &mut Input| input.compat_telegraf = true,
        |input: &mut Input| input.sample_interval = input.interval,
    ] {
        assert_eq!(extremes(change, Some((3.0, 900.0))), (None, None));
    }
}

#[test]
fn the_busiest_sample_is_a_rate_and_a_count() {
    let mut input = input(false);
    input.sample_interval = Duration::from_millis(10);
    input.percpu_rates = true;
    let mut accumulator = Accumulator::new(input.sample_interval, true);
    for (ms, drops) in [(0, 0u32), (10, 1), (20, 1), (30, 4)] {
        let text = format!("entries  clashres drop\n0000000a  1 {drops:x}\n");
        let mut table = StatTable::default();
        StatParser::default().parse(text.as_bytes(), &mut table).unwrap();
        accumulator.add(&table, Duration::from_millis(ms));
    }
    let mut window = Window::default();
    accumulator.fill(&mut window);
    let fields = |input: Input| RowBuilder::new(input, vec![0], None, vec![]).rows(&window);
    let rows = fields(input.clone());
    for row in &rows[..2] {
        assert_eq!(row.field("drop_sample_max"), Some(Value::Integer(3)), "{row:?}");
        let Some(Value::Float(rate)) = row.field("drop_rate_max") else { panic!("{row:?}") };
        assert!((rate - 300.0).abs() < 1e-6, "{rate}");
    }
    assert_eq!(rows[0].field("sample_seconds"), Some(Value::Float(0.01)));
    assert_eq!(rows[1].field("sample_seconds"), None);

    input.sample_interval = input.interval;
    for row in fields(input.clone()) {
        assert_eq!((row.field("drop_sample_max"), row.field("sample_seconds")), (None, None));
    }
    input.compat_telegraf = true;
    input.sample_interval = Duration::from_millis(10);
    let rows = fields(input);
    assert!(rows.iter().all(|row| row.field("sample_seconds").is_none()));
}
