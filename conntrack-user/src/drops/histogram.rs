//! How long insertions take, as bars.

use std::fmt::Write;

use crate::source::ebpf::drops::Latencies;
use crate::text::human::{latency, share};

/// The longest bar.
const WIDTH: u64 = 40;

/// A line for each power of two between the shortest and the longest insertion, refused ones too,
/// and their number before them; one line where there was none.
#[must_use]
pub fn histogram(latencies: &Latencies) -> String {
    let sum: u64 = latencies.iter().sum();
    let mut text = format!("time in __nf_conntrack_confirm, {sum} insertions tried\n");
    let highest = latencies.iter().copied().max().unwrap_or(0).max(1);
    let first = latencies.iter().position(|&count| count > 0).unwrap_or(0);
    let last = latencies.iter().rposition(|&count| count > 0).unwrap_or(0);
    for (bucket, &count) in latencies.iter().enumerate().take(last + 1).skip(first) {
        if sum == 0 {
            break;
        }
        let longer = if bucket + 1 == latencies.len() { "or longer" } else { "" };
        let bar = "#".repeat((count * WIDTH).div_ceil(highest) as usize);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:>10} {longer:9} {count:>10}  {:>6}  {bar}",
            latency(1 << bucket),
            share(count, sum),
        );
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_where_insertions_are() {
        let mut latencies = Latencies::default();
        (latencies[8], latencies[10], latencies[29]) = (30, 60, 10);
        let text = histogram(&latencies);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "time in __nf_conntrack_confirm, 100 insertions tried");
        let bar = "#".repeat(20);
        assert_eq!(lines[1], format!("    256 ns                   30   30.0%  {bar}"));
        assert_eq!(lines[2], "    512 ns                    0    0.0%");
        assert_eq!(lines[3], format!("    1.0 µs                   60   60.0%  {bar}{bar}"));
        assert_eq!(*lines.last().unwrap(), "  536.9 ms or longer         10   10.0%  #######");
        assert_eq!(lines.len(), 23);
    }

    #[test]
    fn a_histogram_without_insertions_has_one_line() {
        assert_eq!(
            histogram(&Latencies::default()),
            "time in __nf_conntrack_confirm, 0 insertions tried\n"
        );
    }
}
