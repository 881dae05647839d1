//! The cost of the dashboard: CPU time of `ctpulse live` at ten pictures a second on a screen of
//! 200x60, against `ctpulse run` at the same sampling.
//!
//! The pseudo-terminal is read as fast as it is written, as a good connection does. At 1,000
//! samples a second the bar holds; at the default of ten, `run` takes almost no time, and the
//! figure is mostly the cost of the pictures.

use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pty_process::Size;

use super::measure::{children_cpu, run_to_end};
use super::table::Figure;

/// The last bytes of ratatui after each picture: the cursor stays hidden.
const END_OF_PICTURE: &[u8] = b"\x1b[?25l";

/// CPU time in milliseconds per second, and pictures per second.
struct Watched {
    cpu_ms: f64,
    pictures: f64,
}

/// Measures each of both for `time`.
pub(super) fn figures(ctpulse: &Path, time: Duration) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (sample, text, has_bar) in [("1ms", "1,000/s", true), ("100ms", "10/s", false)] {
        eprintln!("bench: live and run sampling {text}, {} s each", time.as_secs());
        let live = watch(ctpulse, sample, time)?;
        let run = stream(ctpulse, sample, time)?;
        let name = format!("CPU of live, sampling {text}");
        let figure = Figure::ratio(&name, "ms/s", live.cpu_ms, run);
        figures.push(if has_bar { figure.at_most_times(3.0) } else { figure });
        let name = format!("its pictures, sampling {text}");
        figures.push(Figure::value(&name, "/s", live.pictures));
    }
    Ok(figures)
}

fn watch(ctpulse: &Path, sample: &str, time: Duration) -> anyhow::Result<Watched> {
    let before = children_cpu()?;
    let (mut pty, pts) = pty_process::blocking::open().context("no pseudo-terminal")?;
    pty.resize(Size::new(60, 200)).context("no size")?;
    let mut child = pty_process::blocking::Command::new(ctpulse)
        .args(["live", "--interval", "100ms", "--sample-interval", sample])
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8")
        .spawn(pts)
        .with_context(|| format!("cannot start {}", ctpulse.display()))?;
    let reader = std::thread::spawn(move || {
        let (mut all, mut buffer) = (Vec::new(), [0; 1 << 16]);
        // It hangs up at the end, which reads as an error.
        while let Ok(length @ 1..) = pty.read(&mut buffer) {
            all.extend_from_slice(&buffer[..length]);
        }
        all
    });
    sleep(time);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).context("it has ended")?;
    let status = child.wait()?;
    let Ok(written) = reader.join() else { bail!("the reader panicked") };
    if !status.success() {
        bail!("`ctpulse live` failed ({status}): {}", String::from_utf8_lossy(&written).trim());
    }
    let cpu = children_cpu()?.saturating_sub(before);
    let pictures = written.windows(END_OF_PICTURE.len()).filter(|w| *w == END_OF_PICTURE).count();
    let seconds = time.as_secs_f64();
    Ok(Watched { cpu_ms: cpu.as_secs_f64() * 1e3 / seconds, pictures: pictures as f64 / seconds })
}

fn stream(ctpulse: &Path, sample: &str, time: Duration) -> anyhow::Result<f64> {
    let mut run = Command::new(ctpulse);
    run.args(["run", "--interval", "1s", "--sample-interval", sample, "--format", "influx"]);
    run.args(["--stats", "--output", "/dev/null", "--duration", &format!("{}s", time.as_secs())]);
    Ok(run_to_end(&mut run)?.cpu.as_secs_f64() * 1e3 / time.as_secs_f64())
}
