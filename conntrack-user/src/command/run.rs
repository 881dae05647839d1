//! `ctpulse run`: stream until interrupted, for a person, a file or a pipe.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, bail};
use tokio::signal::unix::SignalKind;

use super::stream::{Happening, finish, happenings, on_signal, standard_output, stream};
use crate::cli::RunArgs;
use crate::format::{EncoderOptions, Format, encoder};
use crate::logging;
use crate::pipeline::Plan;
use crate::sampler::Trigger;
use crate::sink::Output;

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let (mut settings, warnings) = super::settings(&args.collect)?;
    logging::start(logging::Reader::Person, settings.log_level);
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    super::tag_globally(&mut settings, true);

    let terminal = args.output.is_none() && io::stdout().is_terminal();
    let format = args.format.unwrap_or(if terminal { Format::Table } else { Format::Influx });
    if format == Format::Table {
        // A table of per-CPU counters since boot says little; one of rates does.
        settings.inputs.iter_mut().for_each(|input| input.percpu_rates = true);
    }
    let (output, csv_header) = match &args.output {
        None => (standard_output()?, true),
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.with_context(|| format!("cannot write to {}", path.display()))?;
            let empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
            (Output::new(file), empty)
        }
    };
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let options = EncoderOptions {
        colour: terminal && !no_colour,
        subsecond: settings.inputs.iter().any(|i| i.interval.subsec_nanos() != 0),
        csv_header,
    };

    let outcome = super::runtime()?.block_on(async {
        let (to, from) = happenings();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            on_signal(kind, &to, || Happening::End)?;
        }
        if let Some(duration) = args.duration {
            let to = to.clone();
            tokio::spawn(async move {
                tokio::time::sleep(duration).await;
                let _ = to.send(Happening::End);
            });
        }
        let plan = Plan {
            roots: settings.roots.clone(),
            trigger: Trigger::Interval,
            encoder: encoder(format, options),
            output,
            count: if args.once { Some(1) } else { args.count },
            on_event: Box::new(move |event| _ = to.send(Happening::Sink(event))),
        };
        stream(settings, plan, from).await
    })?;
    if args.once && outcome.bytes == 0 {
        bail!("nothing could be read; `ctpulse doctor` tells why");
    }
    Ok(finish(&outcome, args.stats))
}
