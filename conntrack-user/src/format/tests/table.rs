//! The table: golden text, alignment, grouping and colours.

use super::super::Table;
use super::*;

const HEADING: &str = "                                 \
new inval insrt  drop  drop early clash chain
UTC        count     max  fill    /s    /s  fail    /s  peak  drop    /s  long
";

fn table() -> Table {
    Table::new(EncoderOptions::default())
}

fn in_netns(mut row: Metric, name: &str) -> Metric {
    row.add_tag(&"netns".into(), name);
    row
}

#[test]
fn a_first_emission_then_one_with_rates() {
    let mut table = table();
    assert_eq!(
        encode(&mut table, &[first_row(), table_row()]),
        HEADING.to_owned()
            + "17:12:22 201,330 262,144 76.8%"
            + "     -     -     -     -     -     -     -     -\n"
    );
    assert_eq!(
        encode(&mut table, &[all_row(), table_row()]),
        "17:12:22 201,330 262,144 76.8%     - 48.1k  12.6  12.5 1,240  0.10  3.30     0\n"
    );
}

#[test]
fn milliseconds_still_fit() {
    let mut row = with(all_row(), &[("new", Integer(9)), ("new_rate", Float(21_000.0))]);
    row.timestamp_ns += 50_000_000;
    let text = encode(
        &mut Table::new(EncoderOptions { subsecond: true, ..EncoderOptions::default() }),
        &[row, table_row()],
    );
    assert_eq!(
        text,
        "                                   new inval insrt  drop  drop early clash chain\n\
         UTC            count   max  fill    /s    /s  fail    /s  peak  drop    /s  long\n\
         17:12:22.050 201,330  262k 76.8% 21.0k 48.1k  12.6  12.5 1,240  0.10  3.30     0\n"
    );
    assert!(text.lines().all(|line| line.len() == 80));
}

#[test]
fn rows_of_cpus_stand_below_if_they_have_rates() {
    let without_rates = metric(&[("cpu", "cpu2"), ("host", "fw1")], &[("entries", Integer(1))]);
    let rows =
        [all_row(), cpu_row("cpu0", 12.5), cpu_row("cpu127", 0.0), without_rates, table_row()];
    assert_eq!(
        encode(&mut table(), &rows),
        HEADING.to_owned()
            + "17:12:22 201,330 262,144 76.8%     - 48.1k  12.6  12.5 1,240  0.10  3.30     0\n"
            + "  cpu0                             -     -     -  12.5     -     -     -     -\n"
            + "  cpu127                           -     -     -     0     -     -     -     -\n"
    );
}

#[test]
fn namespaces_get_a_column_from_their_first_row_on() {
    let mut table = table();
    encode(&mut table, &[all_row(), table_row()]);
    let rows = [
        in_netns(all_row(), "self"),
        in_netns(cpu_row("cpu0", 1.0), "self"),
        in_netns(table_row(), "self"),
        in_netns(table_row(), "cni-7f\x1b[2Jabc0123"),
    ];
    assert_eq!(
        encode(&mut table, &rows),
        "                                     new inval insrt  drop  drop early chain\n\
         UTC      netns         count  fill    /s    /s  fail    /s  peak  drop  long\n\
         17:12:22 self        201,330 76.8%     - 48.1k  12.6  12.5 1,240  0.10     0\n\
         \x20 cpu0                                 -     -     -     1     -     -     -\n\
         17:12:22 cni-7f?[2J… 201,330 76.8%     -     -     -     -     -     -     -\n"
    );
    assert!(encode(&mut table, &[table_row()]).starts_with("17:12:22             201,330"));
}

#[test]
fn sources_with_the_same_tags_keep_their_own_lines() {
    let small = with(table_row(), &[("ip_conntrack_count", Float(5.0))]);
    let text = encode(&mut table(), &[all_row(), table_row(), all_row(), small]);
    let counts: Vec<_> = text.lines().skip(2).map(|line| line[9..16].trim()).collect();
    assert_eq!(counts, ["201,330", "5"]);
}

#[test]
fn the_level_falls_back_to_entries_and_no_limit_has_no_fill() {
    let text = encode(&mut table(), &[all_row()]);
    assert!(text.contains("17:12:22 201,330       -     -"), "{text}");
    let unlimited = with(table_row(), &[("ip_conntrack_max", Float(0.0))]);
    let text = encode(&mut table(), &[unlimited]);
    assert!(text.contains("17:12:22 201,330       0     -"), "{text}");
}

#[test]
fn new_is_insert_where_filters_left_only_that() {
    let of = |fields: &[(&str, Value)]| {
        let text = encode(&mut table(), &[metric(&[("cpu", "all")], fields)]);
        text.lines().last().unwrap()[31..36].trim().to_owned()
    };
    assert_eq!(of(&[("insert_rate", Float(7.0))]), "7");
    assert_eq!(of(&[("insert_rate", Float(7.0)), ("new_rate", Float(8.0))]), "8");
    assert_eq!(of(&[("insert_rate", Float(0.0)), ("new_rate", Unknown)]), "-");
    assert_eq!(of(&[("insert_rate", Float(0.0)), ("new", NotMaintained)]), "-");
}

#[test]
fn the_heading_comes_back_every_twenty_lines() {
    let mut table = table();
    let text: String = (0..41).map(|_| encode(&mut table, &[table_row()])).collect();
    let headings: Vec<_> =
        text.lines().enumerate().filter(|(_, l)| l.starts_with("UTC")).map(|(at, _)| at).collect();
    assert_eq!(headings, [1, 23, 45]);
}

#[test]
fn what_the_table_does_not_show_is_printed_as_pairs() {
    let mut rows = [
        metric(
            &[("cpu", "all"), ("town", "a\x1b[31m\nb")],
            &[("found", Integer(7)), ("rate", Float(0.5)), ("new", NotMaintained), ("x", Unknown)],
        ),
        metric(&[], &[("ip_conntrack_buckets", Float(65536.0))]),
        metric(&[("host", "nothing")], &[]),
    ];
    rows[1].name = "ct\r".to_owned();
    assert_eq!(
        encode(&mut table(), &rows),
        "17:12:22Z conntrack cpu=all town=a\\u{1b}[31m\\nb found=7 new=- rate=0.5 x=-\n\
         17:12:22Z ct\\r ip_conntrack_buckets=65536\n"
    );
}

#[test]
fn colours_say_what_is_wrong() {
    let mut coloured = Table::new(EncoderOptions { colour: true, ..EncoderOptions::default() });
    let dim = |text: &str| format!("\x1b[2m{text}\x1b[0m");
    let red = |text: &str| format!("\x1b[31m{text}\x1b[0m");
    let yellow = |text: &str| format!("\x1b[33m{text}\x1b[0m");
    let text = encode(&mut coloured, &[all_row(), table_row()]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("\x1b[1m") && lines[0].ends_with("\x1b[0m"));
    assert_eq!(
        lines[2],
        format!(
            "17:12:22 201,330 262,144 {}     {} 48.1k  {}  {} {}  {}  3.30     {}",
            yellow("76.8%"),
            dim("-"),
            red("12.6"),
            red("12.5"),
            red("1,240"),
            yellow("0.10"),
            dim("0"),
        )
    );
    let full = with(table_row(), &[("ip_conntrack_count", Float(262_144.0))]);
    assert!(encode(&mut coloured, &[full]).contains(&red("100%")));
}

/// A packet in a sample of 10 ms read `100`, as if there had been 100 a second.
#[test]
fn a_few_packets_in_the_busiest_sample_are_no_rate() {
    let peak = |packets| {
        let fields = [("drop_rate", Float(0.1)), ("drop_rate_max", Float(100.0 * packets as f64))];
        let row = metric(&[("cpu", "all")], &fields);
        let row = with(row, &[("drop_sample_max", Integer(packets))]);
        let text = encode(&mut Table::new(EncoderOptions::default()), &[row]);
        text.lines().nth(2).unwrap().to_owned()
    };
    for (packets, shown) in [(1, "1 pkt"), (9, "9 pkt"), (10, "1,000"), (0, "    0")] {
        assert!(peak(packets).contains(&format!("  0.10 {shown}     -")), "{}", peak(packets));
    }
}

proptest! {
    #[test]
    fn every_line_is_as_wide_as_the_heading_and_at_most_80_columns(
        values in prop::collection::vec(any_value(), 12),
        netns in prop::option::of(any::<String>()),
        cpu: u32,
        subsecond: bool,
    ) {
        let keys = [
            "ip_conntrack_count", "ip_conntrack_max", "new_rate", "invalid_rate",
            "insert_failed_rate", "drop_rate", "drop_rate_max", "early_drop_rate",
            "clash_resolve_rate", "chaintoolong_rate", "insert_rate",
            "drop_sample_max",
        ];
        let fields: Vec<_> = keys.into_iter().zip(values).collect();
        let mut rows = vec![
            metric(&[("cpu", "all")], &fields[2..]),
            metric(&[("cpu", &format!("cpu{cpu}"))], &fields[2..]),
            metric(&[], &fields[..2]),
        ];
        if let Some(netns) = &netns {
            rows = rows.into_iter().map(|row| in_netns(row, netns)).collect();
        }
        let text = encode(&mut Table::new(EncoderOptions { subsecond, ..EncoderOptions::default() }), &rows);
        let widths: Vec<_> = text.lines().map(|line| line.chars().count()).collect();
        prop_assert_eq!(widths.len(), 4, "{}", text);
        prop_assert!(widths[0] <= 80 && widths.iter().all(|w| *w == widths[0]), "{}", text);
    }
}

#[test]
fn rows_with_labels_are_no_lines() {
    let fields = [("packets", Integer(7)), ("packets_rate", Float(1.5))];
    let mut labelled = metric(&[("protocol", "tcp"), ("reason", "checksum")], &fields);
    labelled.name = "conntrack_invalid".to_owned();
    let rows = [all_row(), table_row(), labelled];
    assert_eq!(encode(&mut table(), &rows), encode(&mut table(), &rows[..2]));
    let mut once = Table::new(EncoderOptions { totals: true, ..EncoderOptions::default() });
    let text = encode(&mut once, &rows);
    assert!(text.contains("conntrack_invalid protocol=tcp reason=checksum\n  packets "), "{text}");
}
