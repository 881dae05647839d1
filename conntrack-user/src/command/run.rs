//! `ctpulse run`: stream until interrupted, for a person, a file or a pipe.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::SignalKind;

use super::stream::{Happening, finish, happenings, on_signal, standard_output, stream};
use crate::cli::RunArgs;
use crate::format::{Csv, EncoderOptions, Format, encoder};
use crate::logging;
use crate::output::{Output, Text};
use crate::pipeline::Plan;
use crate::recording::{FileError, RecordingFile, Rotation, is_compressed, lock};
use crate::sampler::Trigger;
use crate::scrape::{Published, Server};
use crate::settings::{Confine, Ebpf};
use crate::sink::Destination;

/// `--interval` with `--listen` where neither the command line nor a configuration says otherwise:
/// what most scrapes are apart.
const SCRAPED_INTERVAL: Duration = Duration::from_secs(15);

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let unless_told = args.listen.map_or(super::WATCHING_INTERVAL, |_| SCRAPED_INTERVAL);
    let (mut settings, warnings) = super::settings_each(unless_told, &args.collect, false)?;
    settings.listen = args.listen.or(settings.listen).filter(|_| !args.once);
    logging::start(logging::Reader::Person, settings.log_level);
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    super::tag_globally(&mut settings, true);

    let terminal = args.output.is_none() && io::stdout().is_terminal();
    let format = args.format.unwrap_or(if terminal { Format::Table } else { Format::Influx });
    if args.once && args.collect.sample.ebpf == Some(Ebpf::On) {
        return Err(super::UsageError(
            "--ebpf on and --once: probes count from when they are attached, and one reading \
             would show 0"
                .to_owned(),
        )
        .into());
    }
    if args.once {
        // Probes count from when they are attached; one reading would show 0.
        settings.inputs.iter_mut().for_each(|input| input.ebpf = Ebpf::Off);
    }
    if format == Format::Table {
        // A table of per-CPU counters since boot says little; one of rates does.
        settings.inputs.iter_mut().for_each(|input| input.percpu_rates = true);
    }
    super::become_user(&settings)?;
    let written = match &args.output {
        Some(path) => Some(append_to(path, format, rotation(args, format)?)?),
        None if settings.listen.is_some() && args.format.is_none() => None,
        None => Some((standard_output()?, None)),
    };
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let options = EncoderOptions {
        colour: terminal && !no_colour,
        totals: args.once,
        subsecond: settings.inputs.iter().any(|i| i.interval.subsec_nanos() != 0),
    };
    let text = written.map(|(output, csv)| {
        let encoder = csv.map_or_else(|| encoder(format, options), |csv| Box::new(csv));
        Text::new(encoder, output)
    });

    let outcome = super::runtime()?.block_on(async {
        let (to, from) = happenings();
        on_signal(SignalKind::terminate(), &to, || Happening::End)?;
        // `nohup` and shells that start a job in the background ignore these for it.
        for kind in [SignalKind::interrupt(), SignalKind::hangup()] {
            if !is_ignored(kind) {
                on_signal(kind, &to, || Happening::End)?;
            }
        }
        if let Some(duration) = args.duration {
            let to = to.clone();
            tokio::spawn(async move {
                tokio::time::sleep(duration).await;
                let _ = to.send(Happening::End);
            });
        }
        let destination: Box<dyn Destination> = match settings.listen {
            Some(address) => {
                let server = Server::bind(address)?;
                log::info!("listening on http://{}/metrics", server.address());
                let (published, latest) = Published::new(&settings.inputs, text);
                tokio::spawn(server.serve(latest));
                Box::new(published)
            }
            None => Box::new(text),
        };
        let plan = Plan {
            roots: settings.roots.clone(),
            trigger: Trigger::Interval,
            log_level: settings.log_level,
            destination,
            count: if args.once { Some(1) } else { args.count },
            ends_with_inputs: true,
            // One reading is over before anybody could misuse it.
            confine: match settings.confine {
                Confine::Auto if args.once => Confine::Off,
                confine => confine,
            },
            on_end: Box::new(move || _ = to.send(Happening::End)),
        };
        stream(settings, plan, from).await
    })?;
    let complete = outcome.flushed && !outcome.reader_gone;
    if complete
        && outcome.rows == 0
        && (args.once || args.count.is_some() || args.duration.is_some())
    {
        bail!(
            "nothing was written: nothing could be read (`ctpulse doctor` tells why), or filters \
             left no row"
        );
    }
    let code = finish(&outcome, args.stats);
    // An input that ended by itself has less than was asked for, and has said so.
    let is_cut_short = outcome.reports.iter().any(|report| report.has_ended);
    Ok(if is_cut_short { ExitCode::FAILURE } else { code })
}

/// `--rotate` and `--keep`, where they can be followed.
fn rotation(args: &RunArgs, format: Format) -> anyhow::Result<Option<Rotation>> {
    let compressed = args.output.as_deref().is_some_and(is_compressed);
    if !is_recorded(format) && (compressed || args.rotate.is_some()) {
        let what = "a recording (FILE.zst, --rotate) is line protocol or JSON";
        return Err(super::UsageError(format!("{what}: --format influx or json")).into());
    }
    Ok(args.rotate.map(|size| Rotation { size, keep: args.keep }))
}

/// Whether `report` reads the format.
fn is_recorded(format: Format) -> bool {
    matches!(format, Format::Influx | Format::Json)
}

/// Opens a file to append to, or to replace by each batch where the format needs that. A CSV
/// file that has a header already goes on under it.
fn append_to(
    path: &Path,
    format: Format,
    rotation: Option<Rotation>,
) -> anyhow::Result<(Output, Option<Csv>)> {
    // A link is followed; a device or a pipe is written to, never replaced.
    let path = &match path.canonicalize() {
        Ok(path) => path,
        Err(_) if path.is_symlink() => bail!("{} is a link to nothing", path.display()),
        Err(_) => path.to_owned(),
    };
    let kind = std::fs::metadata(path).map(|metadata| metadata.file_type());
    if format == Format::Prometheus && kind.as_ref().map_or(true, std::fs::FileType::is_file) {
        let old = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            old => old.with_context(|| format!("cannot read {}", path.display()))?,
        };
        if !old.is_empty() && !old.starts_with(b"# HELP ") {
            bail!(
                "{} is no Prometheus text, and would be replaced; use another file",
                path.display()
            );
        }
        return Ok((Output::replacing(path.clone()), None));
    }
    if is_recorded(format) && kind.as_ref().map_or(true, std::fs::FileType::is_file) {
        let (file, cut) = RecordingFile::append(path.clone(), rotation)?;
        if cut > 0 {
            let name = path.display();
            log::warn!("{name} ended within a record; its {cut} bytes are cut off");
        }
        return Ok((Output::recording(path.display().to_string(), file), None));
    }
    if rotation.is_some() || is_compressed(path) {
        bail!("{} is no file that can be rotated or compressed", path.display());
    }
    let file = OpenOptions::new().create(true).read(true).append(true).open(path);
    let file = file.with_context(|| format!("cannot write to {}", path.display()))?;
    // Others may write to a device or a pipe as well.
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        lock(&file).map_err(|_| FileError::Locked(path.clone()))?;
    }
    let mut csv = None;
    if format == Format::Csv && file.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        let mut header = String::new();
        let read = BufReader::new(&file).read_line(&mut header);
        read.with_context(|| format!("cannot read {}", path.display()))?;
        csv = Csv::under(&header);
        if csv.is_none() {
            bail!(
                "{} does not start with a CSV header of ctpulse; use another file",
                path.display()
            );
        }
    }
    Ok((Output::new(path.display().to_string(), file), csv))
}

/// Whether this process was started with the signal ignored.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}
