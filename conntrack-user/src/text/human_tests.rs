//! Short numbers, times and names.

use proptest::prelude::*;

use super::{
    cut, date, duration, latency, number, percent, share, short_duration, time_of_day,
    time_with_decimals,
};

#[test]
fn numbers_of_five_columns() {
    let expected = [
        (0.0, "0"),
        (-0.0, "0"),
        (0.004, "<0.01"),
        (0.1, "0.10"),
        (3.333, "3.33"),
        (5.0, "5"),
        (9.996, "10.0"),
        (33.33, "33.3"),
        (99.96, "100"),
        (999.4, "999"),
        (999.6, "1,000"),
        (1234.5, "1,234"),
        (9999.0, "9,999"),
        (10_000.0, "10.0k"),
        (48_123.0, "48.1k"),
        (999_499.0, "999k"),
        (999_500.0, "1.00M"),
        (12_345_678.0, "12.3M"),
        (u64::MAX as f64, "18.4E"),
        (1e300, ">999E"),
        (-3.0, "<0"),
        (f64::NAN, "-"),
    ];
    for (value, text) in expected {
        assert_eq!(number(value, 5), text, "{value}");
    }
}

#[test]
fn numbers_of_seven_columns() {
    assert_eq!(number(262_144.0, 7), "262,144");
    assert_eq!(number(999_999.0, 7), "999,999");
    assert_eq!(number(1_048_576.0, 7), "1.05M");
}

#[test]
fn percentages() {
    let expected = [
        (0.0, "0.0%"),
        (0.01, "<0.1%"),
        (0.177, "0.2%"),
        (76.83, "76.8%"),
        (99.97, "100%"),
        (110.0, "110%"),
        (1e9, ">999%"),
        (-1.0, "<0%"),
    ];
    for (value, text) in expected {
        assert_eq!(percent(value), text, "{value}");
    }
}

#[test]
fn shares_have_one_decimal() {
    assert_eq!(share(0, 0), "0.0%");
    assert_eq!(share(1, 3), "33.3%");
    assert_eq!(share(7, 7), "100.0%");
}

#[test]
fn times() {
    /// 2021-03-08 17:12:22 UTC.
    const TIME: i64 = 1_615_223_542_000_000_000;
    assert_eq!(time_of_day(TIME + 7_999_999, false), "17:12:22");
    assert_eq!(time_of_day(TIME + 7_999_999, true), "17:12:22.007");
    assert_eq!(time_of_day(-1, true), "23:59:59.999");
    assert_eq!(time_with_decimals(TIME + 7_000_001, 6), "17:12:22.007000");
    assert_eq!(time_with_decimals(TIME + 7_000_001, 9), "17:12:22.007000001");
}

#[test]
fn names() {
    assert_eq!(cut("blue", 4), "blue");
    assert_eq!(cut("bluegreen", 4), "blu…");
    assert_eq!(cut("a\x1b東\n", 9), "a???");
}

proptest! {
    #[test]
    fn a_number_never_widens_its_cell(value: f64, small in 0.0..2e6, width in 5_usize..9) {
        for value in [value, small] {
            prop_assert!(number(value, width).len() <= width, "{}", number(value, width));
            prop_assert!(percent(value).len() <= 5, "{}", percent(value));
            prop_assert_eq!(number(value, width) == "0", value == 0.0);
        }
    }
}

#[test]
fn days_have_dates() {
    const DAY: i64 = 86_400_000_000_000;
    for (days, expected) in [
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (11_016, "2000-02-29"),
        (11_017, "2000-03-01"),
        (20_782, "2026-11-25"),
        (47_540, "2100-02-28"),
        (47_541, "2100-03-01"),
        (106_750, "2262-04-10"),
    ] {
        assert_eq!(date(days * DAY), expected);
        assert_eq!(date(days * DAY + DAY - 1), expected);
    }
}

#[test]
fn durations_have_one_unit_or_two() {
    for (seconds, expected) in [
        (0.0, "0 ms"),
        (0.001, "1 ms"),
        (0.02, "20 ms"),
        (0.9996, "1 s"),
        (1.5, "1.5 s"),
        (10.0, "10 s"),
        (59.7, "1 min"),
        (90.0, "1 min 30 s"),
        (3600.0, "1 h"),
        (5400.0, "1 h 30 min"),
        (200_000.0, "2 d 7 h"),
    ] {
        assert_eq!(duration(seconds), expected, "{seconds}");
    }
}

#[test]
fn short_durations_have_at_most_six_characters() {
    let expected = [
        (0.25, "250 ms"),
        (1.0, "1 s"),
        (2.5, "2.5 s"),
        (9.96, "10 s"),
        (84.0, "84 s"),
        (300.0, "5 min"),
        (10_000.0, "3 h"),
        (1e6, "12 d"),
        (1e12, "years"),
    ];
    for (seconds, text) in expected {
        assert_eq!(short_duration(seconds), text, "{seconds}");
    }
}

#[test]
fn latencies_have_one_decimal_from_microseconds_on() {
    let expected = [(999, "999 ns"), (1_024, "1.0 µs"), (536_870_912, "536.9 ms")];
    for (nanoseconds, text) in expected {
        assert_eq!(latency(nanoseconds), text);
    }
}
