//! `bare_loop PERIOD DURATION`: the least that sampling can cost.
//!
//! Waits for an absolute deadline and reads `/proc/net/stat/nf_conntrack` into a buffer on the
//! stack, and does nothing with it. `cargo xtask bench` holds ctpulse against this loop: same
//! file, same rate, same clock, same timer slack, same histogram of lateness. What ctpulse
//! costs beyond it, it costs itself; what this loop costs, the kernel costs.
//!
//! At the end it prints the line on stderr that `ctpulse run --stats` prints. A tick's lateness
//! is the time from its deadline to the first instruction after the wait; deadlines that have
//! passed by then are skipped and counted as missed.

use std::error::Error;
use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ctpulse::sampling::lateness::Lateness;
use rustix::thread::{ClockId, clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::{Timespec, clock_gettime};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(period), Some(duration)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bare_loop PERIOD DURATION, for example: bare_loop 1ms 20s".into());
    };
    let (period, duration) = (parse(&period)?, parse(&duration)?);
    if period.is_zero() {
        return Err("PERIOD must not be 0".into());
    }

    set_current_timer_slack(NonZeroU64::new(1))?;
    let file = File::open("/proc/net/stat/nf_conntrack")?;
    let mut buffer = [0; 64 << 10];
    let whole = read(&file, &mut buffer)?;
    let text = &mut buffer[..whole];

    let mut lateness = Lateness::new();
    let mut missed = 0;
    let mut deadline = now()? + period;
    let end = deadline + duration;
    while deadline < end {
        clock_nanosleep_absolute(ClockId::Monotonic, &Timespec::try_from(deadline)?)?;
        let late = now()?.saturating_sub(deadline);
        read(&file, text)?;
        lateness.record(late);
        let passed = u32::try_from(late.as_nanos() / period.as_nanos())?;
        missed += passed;
        deadline += period * (passed + 1);
    }

    let us = |lateness: Duration| lateness.as_secs_f64() * 1e6;
    eprintln!(
        "ticks={} missed={missed} lateness_p50_us={:.1} lateness_p99_us={:.1} lateness_max_us={:.1}",
        lateness.count(),
        us(lateness.quantile(0.5)),
        us(lateness.quantile(0.99)),
        us(lateness.max()),
    );
    Ok(())
}

/// The monotonic clock, as the time since its start.
fn now() -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::try_from(clock_gettime(ClockId::Monotonic))?)
}

/// Fills `buffer` as far as the file goes: one `pread` for each page of text that the kernel
/// prints, so one on a machine with up to 25 CPUs.
fn read(file: &File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], length as u64)? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

/// A whole number with the unit `ms` or `s`.
fn parse(text: &str) -> Result<Duration, Box<dyn Error>> {
    Ok(match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => Duration::from_millis(number.parse()?),
        (None, Some(number)) => Duration::from_secs(number.parse()?),
        (None, None) => return Err(format!("'{text}' has no unit: write 1ms or 20s").into()),
    })
}
