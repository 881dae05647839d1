//! `parse_bench FILE...`: what parsing a statistics file costs, against scanning its bytes.
//!
//! For each file one line: its length, the nanoseconds that [`StatParser`] takes for it, and
//! those that finding every newline takes. The scan is the standard library's `skip_until`,
//! which is the C library's `memchr`: about the least that a parser of lines can do. Both take
//! turns within one run and the median of the turns counts.

use std::error::Error;
use std::hint::black_box;
use std::io::BufRead;
use std::time::{Duration, Instant};

use ctpulse::schema::raw::StatTable;
use ctpulse::source::stat_text::StatParser;

const TURNS: usize = 31;
const TURN: Duration = Duration::from_millis(5);

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args_os().skip(1) {
        let text = std::fs::read(&path)?;
        let (mut parser, mut table) = (StatParser::default(), StatTable::default());
        parser.parse(&text, &mut table)?;
        let (mut parses, mut scans) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            parses.push(turn(|| {
                let _ = black_box(parser.parse(black_box(&text), &mut table));
            }));
            scans.push(turn(|| {
                black_box(count_lines(black_box(&text)));
            }));
        }
        println!(
            "rows={} bytes={} parse_ns={:.1} scan_ns={:.1}",
            table.rows(),
            text.len(),
            median(&mut parses),
            median(&mut scans),
        );
    }
    Ok(())
}

/// Nanoseconds per call of `work`, over one turn.
fn turn(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 0;
    while start.elapsed() < TURN {
        for _ in 0..100 {
            work();
        }
        calls += 100;
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

fn count_lines(mut text: &[u8]) -> usize {
    let mut lines = 0;
    while text.skip_until(b'\n').is_ok_and(|length| length > 0) {
        lines += 1;
    }
    lines
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
